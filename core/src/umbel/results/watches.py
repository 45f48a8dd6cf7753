"""Who waits for results: a thread, a coroutine, or a callback. A `Waiter` feeds them."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from umbel.spec import Result


class Feeder(Protocol):
    """The waiter, as a watch sees it."""

    def unsubscribe(self, watch: Watch) -> None:
        """Forget a watch."""

    def drive(self, watch: ThreadWatch, timeout: float | None) -> None:
        """Return when there is news for `watch`, or after `timeout` seconds."""

    def post(self, watch: LoopWatch | CallbackWatch, result: Result) -> None:
        """Note what has to be delivered once the lock is free."""

    def check_open(self) -> None:
        """BackendError once closed."""


class Watch:
    """One interest in some ids, until all are final or it is closed. A context manager."""

    __slots__ = ("ids", "news", "waiter")

    def __init__(self, waiter: Feeder, ids: set[str]) -> None:
        self.waiter = waiter
        self.ids = ids
        """Those of which the final state has not come yet; the waiter's to change."""
        self.news: deque[Result] = deque()
        """What has come and nobody has taken."""

    def put(self, result: Result) -> None:
        """Take one in. Called with the waiter's lock held, so it only notes it."""
        self.news.append(result)

    def close(self) -> None:
        """Wait for nothing any more. Twice is fine."""
        self.waiter.unsubscribe(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, cls: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class ThreadWatch(Watch):
    """A thread that blocks in `next`; the first of them drives the store's watcher for all."""

    __slots__ = ("_bell",)

    def __init__(self, waiter: Feeder, ids: set[str]) -> None:
        super().__init__(waiter, ids)
        # A bare lock, taken while nothing rings, is the cheapest thing that a thread can wait for with a deadline.
        self._bell = threading.Lock()
        self._bell.acquire()

    def put(self, result: Result) -> None:
        self.news.append(result)
        self.ring()

    def ring(self) -> None:
        """Wake `rest`, now or when it comes. Called with the waiter's lock held."""
        if self._bell.locked():
            self._bell.release()

    def rest(self, timeout: float | None) -> None:
        """Sleep until rung, at most so many seconds."""
        self._bell.acquire(timeout=-1 if timeout is None else max(timeout, 0.0))

    def next(self, timeout: float | None) -> Result | None:
        """The next state of one of the ids; None when it did not come within `timeout` seconds (None: wait on)."""
        if not self.news:
            self.waiter.drive(self, timeout)
        return self.news.popleft() if self.news else None


class LoopWatch(Watch):
    """A coroutine that awaits `next`; the waiter's helper thread drives for it while no other thread does."""

    __slots__ = ("_future", "loop")

    def __init__(self, waiter: Feeder, ids: set[str], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(waiter, ids)
        self.loop = loop
        self._future: asyncio.Future[None] | None = None

    def put(self, result: Result) -> None:
        self.waiter.post(self, result)

    def arrived(self, results: Sequence[Result]) -> None:
        """Take these in, on the loop."""
        self.news.extend(results)
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def next(self) -> Result:
        """The next state of one of the ids."""
        while not self.news:
            self._future = self.loop.create_future()
            try:
                await self._future
            finally:
                self._future = None
            self.waiter.check_open()
        return self.news.popleft()


class CallbackWatch(Watch):
    """A function, called with each state by whichever thread drives."""

    __slots__ = ("callback",)

    def __init__(self, waiter: Feeder, ids: set[str], callback: Callable[[Result], Any]) -> None:
        super().__init__(waiter, ids)
        self.callback = callback

    def put(self, result: Result) -> None:
        self.waiter.post(self, result)
