"""Handles of many tasks at once: all of them are asked, or waited for, in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from umbel import exceptions
from umbel.results.base import ResultBase, arriving
from umbel.results.ending import revoke
from umbel.results.guard import assert_will_not_block
from umbel.results.reading import app_of, as_message, backend_of
from umbel.results.result import AsyncResult
from umbel.states import FAILURE, PENDING, SUCCESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence

    from umbel.results.applike import AppLike
    from umbel.spec import Result, ResultBackend


class ResultSet(ResultBase):
    """Some tasks' handles, in order. Its members may be groups themselves."""

    __slots__ = ("_app", "results")

    TimeoutError: ClassVar[type[exceptions.TimeoutError]] = exceptions.TimeoutError
    supports_native_join: ClassVar[bool] = True

    results: list[Any]

    def __init__(
        self, results: Iterable[Any], app: AppLike | None = None, ready_barrier: Any = None, **kwargs: Any
    ) -> None:
        self.results = list(results)
        self.parent = kwargs.get("parent")
        self._app = app

    @property
    def app(self) -> AppLike:
        """The app given, else that of the members."""
        if self._app is None:
            for leaf in self.leaves():
                return leaf.app
        return app_of(self._app)

    @property
    def backend(self) -> ResultBackend:
        """The result store."""
        return backend_of(self.app)

    def leaves(self) -> Iterator[AsyncResult[Any]]:
        for result in self.results:
            yield from result.leaves()

    # -- membership --------------------------------------------------------------------------------------------------

    def add(self, result: Any) -> None:
        """Take one in, unless it is there."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Leave one out, by handle or id; KeyError if it is not there."""
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Leave one out if it is there."""
        try:
            self.results.remove(result)
        except ValueError:
            pass

    def update(self, results: Iterable[Any]) -> None:
        """Take in those that are not there."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Leave all out."""
        self.results.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    # -- what is known now -------------------------------------------------------------------------------------------

    def _states(self) -> list[str]:
        """The states of all tasks, in one round trip for those that are not known to be final."""
        found = _look(self.app, [leaf for leaf in self.leaves() if not leaf.known])
        return [found.get(leaf.id) or (leaf.state if leaf.known else PENDING) for leaf in self.leaves()]

    def ready(self) -> bool:
        """Whether all are done."""
        self._states()
        return all(leaf.known for leaf in self.leaves())

    def waiting(self) -> bool:
        """Whether some are not done."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all are done and none has failed."""
        return all(state == SUCCESS for state in self._states())

    def failed(self) -> bool:
        """Whether one has failed."""
        return FAILURE in self._states()

    def completed_count(self) -> int:
        """How many have succeeded."""
        return self._states().count(SUCCESS)

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> None:
        """Raise the error of the first one that has failed."""
        _look(self.app, [leaf for leaf in self.leaves() if not leaf.known])
        for leaf in self.leaves():
            if leaf.known:
                leaf.value(propagate, callback)

    maybe_reraise = maybe_throw

    # -- waiting -----------------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """All values, in order, as soon as they are there. The first error to arrive is raised, with `propagate`.

        With a `callback` it gets each task's id and value as it arrives, and the list is empty.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        for leaf in self._arriving(timeout, interval, on_message, on_interval):
            if callback is not None or propagate:
                leaf.value(propagate, callback)
        return [] if callback is not None else self.value(propagate, None)

    join_native = get

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """The same, but errors are raised, and `callback` is called, in the tasks' order."""
        if disable_sync_subtasks:
            assert_will_not_block()
        arrivals = self._arriving(timeout, interval, on_message, on_interval)
        for leaf in self.leaves():
            while not leaf.known:
                next(arrivals)
            if callback is not None or propagate:
                leaf.value(propagate, callback)
        return [] if callback is not None else self.value(propagate, None)

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Pairs of task id and result, as a dictionary, as they arrive."""
        for leaf in self._arriving(timeout, interval, on_message, on_interval):
            found = leaf.look()
            assert found is not None
            yield leaf.id, {**as_message(self.app, found), "result": leaf.value(False, None)}

    def _arriving(
        self,
        timeout: float | None,
        interval: float,
        on_message: Callable[[dict[str, Any]], Any] | None,
        on_interval: Callable[[], Any] | None,
    ) -> Iterator[AsyncResult[Any]]:
        """Every task's handle once it is done: those that are first, then the others as they come."""
        waiting: dict[str, list[AsyncResult[Any]]] = {}
        for leaf in self.leaves():
            if leaf.known:
                yield leaf
            else:
                waiting.setdefault(leaf.id, []).append(leaf)
        if not waiting:
            return
        app = self.app
        backend_of(app)
        with app.waiter.subscribe(waiting) as watch:
            try:
                for result in arriving(watch, timeout, interval, on_interval):
                    if on_message is not None and result.id in waiting:
                        on_message(as_message(app, result))
                    yield from _noted(waiting, result)
                    if not waiting:
                        return
            except exceptions.TimeoutError:
                # The store has the last word, should its news have gone astray.
                for result in backend_of(app).fetch(list(waiting)).values():
                    yield from _noted(waiting, result)
                if waiting:
                    raise

    async def __aiter__(self) -> AsyncIterator[AsyncResult[Any]]:
        """Every task's handle once it is done, in the order of their ends; waits on the running loop."""
        waiting: dict[str, list[AsyncResult[Any]]] = {}
        for leaf in self.leaves():
            if leaf.known:
                yield leaf
            else:
                waiting.setdefault(leaf.id, []).append(leaf)
        if waiting:
            import asyncio  # noqa: PLC0415 - heavy, and only needed where a loop runs

            backend_of(self.app)
            with self.app.waiter.subscribe_loop(waiting, asyncio.get_running_loop()) as watch:
                while waiting:
                    for leaf in _noted(waiting, await watch.next()):
                        yield leaf

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Wait on the running loop, without a thread: all values in order, or the first error to arrive."""
        return self._awaited().__await__()

    async def _awaited(self) -> list[Any]:
        async for leaf in self:
            leaf.value(True, None)
        return self.value(True, None)

    def value(self, propagate: bool, callback: Callable[[str, Any], Any] | None) -> list[Any]:
        return [result.value(propagate, callback) for result in self.results]

    def then(
        self,
        callback: Callable[[Any], Any],
        on_error: Callable[[BaseException], Any] | None = None,
        weak: bool = False,
    ) -> ResultSet:
        """Have `callback` called with this handle once all are done, on a thread of the library's: be quick."""
        left = {leaf.id for leaf in self.leaves()}

        def arrived(leaf: AsyncResult[Any]) -> None:
            left.discard(leaf.id)
            if not left:
                callback(self)

        for leaf in list(self.leaves()):
            leaf.then(arrived, on_error)
        return self

    # -- ending ------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Delete what the store keeps of the tasks."""
        self.backend.forget([leaf.id for leaf in self.leaves()])

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Let those that have not begun not start any more."""
        if terminate:
            raise NotImplementedError("running tasks are ended through app.control.revoke(ids, terminate=True)")
        revoke(self.app, [leaf.id for leaf in self.leaves()])

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # its members change

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result.id) for result in self.results)}]>"


def _look(app: AppLike, leaves: Sequence[AsyncResult[Any]]) -> dict[str, str]:
    """Ask the store about all of these at once; the states of those it knows."""
    if not leaves:
        return {}
    found = backend_of(app).fetch([leaf.id for leaf in leaves])
    for leaf in leaves:
        if leaf.id in found:
            leaf.note(found[leaf.id])
    return {id: result.state for id, result in found.items()}


def _noted(waiting: dict[str, list[AsyncResult[Any]]], result: Result) -> list[AsyncResult[Any]]:
    """The handles that this result has made final; they wait no more."""
    leaves = waiting.get(result.id, [])
    for leaf in leaves:
        leaf.note(result)
    done = [leaf for leaf in leaves if leaf.known]
    if done:
        del waiting[result.id]
    return done
