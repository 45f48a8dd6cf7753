"""What a task can do while it runs: know its call, say how far it is, and run as a function."""

from __future__ import annotations

import time
from typing import Any, Generic, ParamSpec, TypeVar, cast

from umbel.canvas.sending import add_child
from umbel.current import current_request
from umbel.message.context import Context
from umbel.results.codec import encode_failure, encode_value
from umbel.spec import Result
from umbel.states import READY_STATES
from umbel.task.resolving import Resolving

P = ParamSpec("P")
R = TypeVar("R")


class Running(Resolving, Generic[P, R]):
    """A task while it runs. `P` are its parameters, `R` what it returns."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here, as the function it is; of an ``async def`` task, a coroutine."""
        if self.is_async:
            return cast("R", self._await(args, kwargs))
        token = current_request.set(self._called_directly(args, kwargs))
        try:
            return cast("R", self.run(*args, **kwargs))
        finally:
            current_request.reset(token)

    async def _await(self, args: Any, kwargs: Any) -> Any:
        token = current_request.set(self._called_directly(args, kwargs))
        try:
            return await self.run(*args, **kwargs)
        finally:
            current_request.reset(token)

    def _called_directly(self, args: Any, kwargs: Any) -> Context:
        return Context(args=args, kwargs=kwargs, outer=current_request.get(), _task=self)

    @property
    def request(self) -> Context:
        """The call that is running here, of this task; an empty one where there is none."""
        request: Context | None = current_request.get()
        while request is not None and request._task is not self:
            request = request.outer
        return Context() if request is None else request

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Begin a call by hand; `pop_request` ends it."""
        current_request.set(Context(*args, **{"outer": current_request.get(), "_task": self, **kwargs}))

    def pop_request(self) -> Context:
        """End the innermost call that was begun by hand; what it was."""
        request: Context | None = current_request.get()
        if request is None or request._task is not self:
            raise RuntimeError(f"{self!r} has no request to pop")
        current_request.set(request.outer)
        return request

    def add_trail(self, result: Any) -> Any:
        """Note a result as that of a child, unless the task leaves no trail; the result."""
        request = self.request
        if request._task is self:
            add_child(request, result)
        return result

    def update_state(
        self,
        task_id: str | None = None,
        state: str | None = None,
        meta: Any = None,
        traceback: str | None = None,
        request: Context | None = None,
    ) -> None:
        """Store a state of one's own, such as PROGRESS, with what there is to know; nothing where results are disabled.

        A final state (SUCCESS, FAILURE, REVOKED) stays: what the task returns does not replace it.
        """
        request = request or self.request
        id = task_id or request.id
        if not id:
            raise RuntimeError("update_state: no task is running here; give it a task_id")
        if not state:
            raise ValueError("update_state needs a state")
        backend = self.app.backend
        if backend is None:
            return
        serializers, name = self.app.serializers, self.app.conf.result_serializer
        encode = encode_failure if isinstance(meta, BaseException) else encode_value
        body, content_type = encode(serializers, meta, name)
        own = id == request.id
        known = {"traceback": traceback, "group_id": own and request.group, "parent_id": own and request.parent_id}
        terminal = state in READY_STATES
        result = Result(
            id=id,
            state=state,
            body=body,
            content_type=content_type,
            attempt=attempt_order(request) if own else 1,
            generation=request.umbel_generation if own else 0,
            terminal=terminal,
            meta={name: value for name, value in known.items() if value},
        )
        if terminal:
            result.meta["date_done"] = time.time()
        backend.store([result], ttl=self.app.conf.result_expires)


def attempt_order(request: Context) -> int:
    """The place of this start among all starts of the task, for the result store's order.

    A retry is a new message whose attempts begin at 1 again, and must not look older than what it follows.
    """
    return (request.retries << 16) + (request.delivery.attempt if request.delivery is not None else 1)
