"""The handle of one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from umbel import exceptions
from umbel.exceptions import IncompleteStream
from umbel.results.base import arriving
from umbel.results.ending import revoke
from umbel.results.guard import assert_will_not_block
from umbel.results.known import TaskHandle
from umbel.results.reading import as_message, backend_of, value_of
from umbel.states import PROPAGATE_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from umbel.spec import Result

R = TypeVar("R")


class AsyncResult(TaskHandle, Generic[R], kind="task"):
    """What became of a task: ask now, wait with `get`, or ``await`` it."""

    __slots__ = ()

    TimeoutError: ClassVar[type[exceptions.TimeoutError]] = exceptions.TimeoutError
    supports_native_join: ClassVar[bool] = True

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, R], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        **states: Any,
    ) -> R:
        """The task's value, as soon as there is one; its error is raised, or returned without `propagate`.

        TimeoutError after `timeout` seconds. `on_message` gets each state as a dictionary, `on_interval` is called
        every `interval` seconds meanwhile. A failed parent's error is raised first, with `follow_parents`.
        """
        if self.ignored:
            return cast("R", None)
        if disable_sync_subtasks:
            assert_will_not_block()
        if self._known is None:
            parents = list(self._parents()) if follow_parents and propagate else []
            self._wait(timeout, interval, on_message, on_interval, parents)
        return cast("R", self.value(propagate, callback))

    wait = get

    def _parents(self) -> Iterator[AsyncResult[Any]]:
        above = self.parent
        while above is not None:
            if isinstance(above, AsyncResult):
                yield above
            above = above.parent

    def _wait(
        self,
        timeout: float | None,
        interval: float,
        on_message: Callable[[dict[str, Any]], Any] | None,
        on_interval: Callable[[], Any] | None,
        parents: list[AsyncResult[Any]],
    ) -> None:
        app = self.app
        backend_of(app)
        above = {parent.id: parent for parent in parents if not parent.known}
        with app.waiter.subscribe([self.id, *above]) as watch:
            try:
                for result in arriving(watch, timeout, interval, on_interval):
                    if result.id == self.id:
                        if on_message is not None:
                            on_message(as_message(app, result))
                        self.note(result)
                        if self._known is not None:
                            return
                    elif result.state in PROPAGATE_STATES:
                        above[result.id].note(result)
                        above[result.id].maybe_throw()
            except exceptions.TimeoutError:
                # The store has the last word, should its news have gone astray.
                if self.look() is None or self._known is None:
                    raise

    def __await__(self) -> Generator[Any, None, R]:
        """Wait on the running loop, without a thread; the value, or the error raised."""
        return self._awaited().__await__()

    async def _awaited(self) -> R:
        if self._known is None and not self.ignored:
            import asyncio  # noqa: PLC0415 - heavy, and only needed where a loop runs

            backend_of(self.app)
            with self.app.waiter.subscribe_loop([self.id], asyncio.get_running_loop()) as watch:
                while self._known is None:
                    self.note(await watch.next())
        return cast("R", self.value(True, None))

    def then(
        self,
        callback: Callable[[AsyncResult[R]], Any],
        on_error: Callable[[BaseException], Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult[R]:
        """Have `callback` called with this handle once the task is done, on a thread of the library's: be quick."""

        def arrived(result: Result) -> None:
            try:
                self.note(result)
                if self._known is not None:
                    callback(self)
            except Exception as exc:
                if on_error is not None:
                    on_error(exc)
                    return
                import logging  # noqa: PLC0415 - heavy, and seldom needed

                logging.getLogger("umbel.results").exception("a callback of task %s failed", self.id)

        if self._known is not None:
            arrived(self._known)
        else:
            backend_of(self.app)
            self.app.waiter.subscribe_callback([self.id], arrived)
        return self

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise the error of a failed or revoked task; else what is known of its value."""
        found = self.look()
        if self._known is None:
            return None if found is None else value_of(self.app, found)
        return self.value(propagate, callback)

    maybe_reraise = maybe_throw

    def value(self, propagate: bool, callback: Callable[[str, Any], Any] | None) -> Any:
        value = self._value
        if propagate and self._known is not None and self._known.state in PROPAGATE_STATES:
            if isinstance(value, BaseException):
                raise value
            raise exceptions.RemoteError(value)
        if callback is not None:
            callback(self.id, value)
        return value

    def forget(self) -> None:
        """Delete what the store keeps of it, and of its parents."""
        handles: list[AsyncResult[Any]] = [self, *self._parents()]
        self.backend.forget([handle.id for handle in handles])
        for handle in handles:
            handle._known = None

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Let the task not start any more; a task that runs already goes on."""
        if terminate:
            raise NotImplementedError("a running task is ended through app.control.revoke(id, terminate=True)")
        revoke(self.app, [self.id])

    def leaves(self) -> Iterator[AsyncResult[Any]]:
        yield self

    def as_tuple(self) -> tuple[Any, ...]:
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self) -> list[str]:
        """Its id, its parent's, and so on."""
        above = self.parent
        return [self.id, *(above.as_list() if isinstance(above, AsyncResult) else [above.id] if above else [])]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Pairs of parent and child: this task with what it sent, and so on. IncompleteStream at what is not done."""
        waiting: list[tuple[Any, Any]] = [(None, self)]
        while waiting:
            parent, node = waiting.pop(0)
            yield parent, node
            if node.ready():
                waiting.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream(f"task {node.id} is not done")

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """Pairs of handle and value: this task, what it sent, and so on; waits for each."""
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**kwargs)
