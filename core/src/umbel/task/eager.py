"""Running a task here and now, with all that a worker would do around it."""

from __future__ import annotations

import traceback
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic

from umbel.canvas.compiling import listed
from umbel.canvas.errbacks import call_errbacks
from umbel.canvas.sending import running
from umbel.canvas.signature import maybe_signature
from umbel.current import current_request
from umbel.exceptions import Ignore, Reject, Retry
from umbel.message.context import Context
from umbel.message.ids import new_id
from umbel.results.eager import EagerResult
from umbel.states import FAILURE, IGNORED, REJECTED, RETRY, SUCCESS
from umbel.task.making import check_containers
from umbel.task.running import P, R, Running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Eager(Running[P, R], Generic[P, R]):
    """A task that can be run here."""

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Run it here and now, as a task: with its request, retries at once, handlers and callbacks.

        A failure is in the result, or raised with `throw` (default: `task_eager_propagates`).
        """
        check_containers(args, kwargs)
        self.app.finalize(auto=True)  # only then it is complete: its retries, and what annotations say
        outer = running()
        id = task_id or new_id()
        request = Context(
            id=id,
            task=self.name,
            args=list(args or ()),
            kwargs=dict(kwargs or {}),
            retries=retries or 0,
            callbacks=listed(link) or None,
            errbacks=listed(link_error) or None,
            root_id=(outer.root_id or outer.id if outer is not None else None) or id,
            parent_id=outer.id if outer is not None else None,
            headers=headers,
            logfile=logfile,
            loglevel=loglevel,
            shadow=options.get("shadow"),
            is_eager=True,
            called_directly=False,
            outer=current_request.get(),
            _task=self,
        )
        state, value = self._run_to_the_end(request)
        text = "".join(traceback.format_exception(value)) if state == FAILURE else None
        if state == FAILURE and (self.app.conf.task_eager_propagates if throw is None else throw):
            raise value
        return EagerResult(id, value, state, traceback=text, name=self.name)

    def _run_to_the_end(self, request: Context) -> tuple[str, Any]:
        """Run it, and again as long as it asks for a retry; its state, and its value or error."""
        while True:
            state, value = self._run_once(request)
            again = value.call if state == RETRY else None
            if again is None:
                return state, value
            request.args, request.kwargs, request.retries = list(again.args), dict(again.kwargs), again.retries

    def _run_once(self, request: Context) -> tuple[str, Any]:
        id, args, kwargs = request.id or "", request.args, request.kwargs
        token = current_request.set(request)
        try:
            self.before_start(id, args, kwargs)
            value = self._finished(self.run(*args, **kwargs))
            self.on_success(value, id, args, kwargs)
            state: str = SUCCESS
        except (Ignore, Reject) as exc:
            state, value = IGNORED if isinstance(exc, Ignore) else REJECTED, exc
        except Retry as exc:
            self.on_retry(exc.exc or exc, id, args, kwargs, _text(exc))  # type: ignore[arg-type]
            return RETRY, exc
        except Exception as exc:  # noqa: BLE001 - whatever it raises is its outcome
            state, value = FAILURE, exc
            self.on_failure(exc, id, args, kwargs, _text(exc))
        finally:
            current_request.reset(token)
        self.after_return(state, value, id, args, kwargs, _text(value) if state == FAILURE else None)
        self._follow(request, state, value)
        return state, value

    def _finished(self, value: Any) -> Any:
        if not self.is_async:
            return value
        import asyncio  # noqa: PLC0415 - heavy, and only needed for a coroutine
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - asyncio has loaded it

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(value)
        # A loop runs here already, and a thread can run but one.
        with ThreadPoolExecutor(1, "umbel-eager") as pool:
            return pool.submit(copy_context().run, asyncio.run, value).result()

    def _follow(self, request: Context, state: str, value: Any) -> None:
        app = self.app
        if state == SUCCESS:
            for callback in request.callbacks or ():
                maybe_signature(callback, app).apply((value,))
        elif state == FAILURE and request.errbacks:
            for call in call_errbacks(app, request, value, _text(value), in_place=True):
                app.tasks[call.task].apply(call.args, call.kwargs, task_id=call.id)


def _text(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc))
