"""Tasks that will never run fail, so that whoever waits for them is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.canvas.barrier import failure_frame
from umbel.canvas.compiling import kind_of, listed
from umbel.canvas.errbacks import call_errbacks
from umbel.canvas.following import is_again, join_of, marked
from umbel.message.context import Context
from umbel.results.codec import encode_failure
from umbel.spec import Result

if TYPE_CHECKING:
    from umbel.canvas.following import Steps
    from umbel.results.applike import AppLike


class Failing:
    """Adds to `steps` what follows where tasks fail for a reason that lies in another one, `request`."""

    def __init__(
        self, app: AppLike, steps: Steps, request: Context, exc: BaseException, state: str, traceback: str | None
    ) -> None:
        self._app = app
        self._steps = steps
        self._request = request
        self._exc = exc
        self._state = state
        self._traceback = traceback
        self._encoded = encode_failure(app.serializers, exc, app.conf.result_serializer)

    def fail(self, sig: Mapping[str, Any], *, errbacks: bool = False, member: bool = False) -> None:
        """Everything in a signature fails. A `member` answers to a chord that fails as a whole, not by itself."""
        kind = kind_of(sig)
        if kind is None:
            self._fail_task(sig, errbacks=errbacks, member=member)
        elif kind == "chord":
            header = sig["kwargs"]["header"]
            for task in [header] if isinstance(header, Mapping) else header:
                self.fail(task, member=True)
            self.fail(sig["kwargs"]["body"], errbacks=errbacks, member=member)
        else:
            for task in sig["kwargs"]["tasks"]:
                self.fail(task, errbacks=errbacks, member=member)

    def _fail_task(self, sig: Mapping[str, Any], *, errbacks: bool, member: bool) -> None:
        options = sig.get("options") or {}
        id = options.get("task_id")
        if id and self._app.backend is not None:
            self._steps.results.append(self._result(id, options))
        for following in reversed(options.get("chain") or ()):
            self.fail(following, member=member)
        if errbacks and options.get("link_error"):
            self._call_errbacks(sig, options)
        if options.get("chord") is not None and not member:
            frame = failure_frame(self._app, self._exc, id or "")
            group, index = options.get("group_id"), options.get("group_index")
            self._steps.joins.append(join_of(self._request, options["chord"], group, index, id, frame))

    def _result(self, id: str, options: Mapping[str, Any]) -> Result:
        meta: dict[str, Any] = {"date_done": time.time(), "parent_id": self._request.id}
        if self._traceback is not None:
            meta["traceback"] = self._traceback
        if options.get("group_id") is not None:
            meta["group_id"] = options["group_id"]
        body, content_type = self._encoded
        return Result(
            id=id,
            state=self._state,
            body=body,
            content_type=content_type,
            generation=self._request.umbel_generation,
            terminal=True,
            meta=meta,
        )

    def _call_errbacks(self, sig: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Errbacks of a body that does not run are called as if it had failed itself."""
        request = Context(
            task=sig["task"],
            id=options.get("task_id"),
            args=sig.get("args"),
            kwargs=sig.get("kwargs"),
            root_id=self._request.root_id,
            parent_id=self._request.id,
            group=options.get("group_id"),
            errbacks=listed(options["link_error"]),
            umbel_generation=self._request.umbel_generation,
        )
        in_place = not (is_again(self._request) and self._is_stored(request.id))
        calls = call_errbacks(self._app, request, self._exc, None, in_place=in_place)
        self._steps.calls.extend(marked(calls, self._request))

    def _is_stored(self, id: str | None) -> bool:
        """Whether the body's failure was stored before: then its errbacks have been called, too."""
        backend = self._app.backend
        stored = backend.fetch([id]).get(id) if backend is not None and id else None
        return stored is not None and stored.terminal
