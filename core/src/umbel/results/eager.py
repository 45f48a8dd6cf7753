"""The handle of a task that has been run here, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from umbel.results.guard import assert_will_not_block
from umbel.results.result import AsyncResult, R
from umbel.spec import Result
from umbel.states import FAILURE, PROPAGATE_STATES, READY_STATES, REVOKED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class EagerResult(AsyncResult[R]):
    """A result that is there already, with an `AsyncResult`'s methods."""

    __slots__ = ("_state", "_traceback")

    def __init__(
        self, id: str, ret_value: R | BaseException, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        super().__init__(id, task_name=name)
        self._state = state
        self._traceback = traceback
        self._value = ret_value
        self._known = Result(id=id, state=state, terminal=True, meta={"traceback": traceback})

    @property
    def state(self) -> str:
        return self._state

    @property
    def result(self) -> Any:
        return self._value

    @property
    def children(self) -> list[Any] | None:
        return []

    def ready(self) -> bool:
        return self._state in READY_STATES

    def get(self, timeout: float | None = None, propagate: bool = True, *args: Any, **kwargs: Any) -> R:
        """The value; the error is raised, or returned without `propagate`."""
        if kwargs.get("disable_sync_subtasks", True):
            assert_will_not_block()
        return cast("R", self.value(propagate, kwargs.get("callback")))

    wait = get

    def value(self, propagate: bool, callback: Callable[[str, Any], Any] | None) -> Any:
        if self._state in PROPAGATE_STATES and propagate and not isinstance(self._value, BaseException):
            raise RuntimeError(f"task {self.id} is {self._state} without an error: {self._value!r}")
        return super().value(propagate, callback)

    def __await__(self) -> Generator[Any, None, R]:
        return self._at_once().__await__()

    async def _at_once(self) -> R:
        return cast("R", self.value(True, None))

    def then(self, callback: Any, on_error: Any = None, weak: bool = False) -> EagerResult[R]:
        callback(self)
        return self

    def forget(self) -> None:
        """Nothing is stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Call it revoked, too late as it is."""
        self._state = REVOKED

    def failed(self) -> bool:
        return self._state == FAILURE

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return EagerResult, (self.id, self._value, self._state, self._traceback, self._name)
