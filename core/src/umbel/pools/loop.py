"""The event loop of a process, on a thread of its own, started by the first `async def` task."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Sequence


class Loop:
    """Runs coroutines beside the pool. asyncio is imported with the first one: most children never need it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> int:
        """How many are running."""
        return len(self._running)

    def submit(self, start: Callable[[Any], Coroutine[Any, Any, None]], items: Sequence[Any]) -> None:
        """Run ``start(item)`` for each, all at once; the coroutines must not raise. One wake-up for the lot."""
        loop = self._started()
        loop.call_soon_threadsafe(self._begin, loop, start, items)

    def _begin(
        self, loop: asyncio.AbstractEventLoop, start: Callable[[Any], Coroutine[Any, Any, None]], items: Sequence[Any]
    ) -> None:
        for item in items:
            task = loop.create_task(start(item))
            if not task.done():  # it may be, under an eager task factory
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                import asyncio  # noqa: PLC0415 - 30 ms that a worker of plain functions never pays

                self._loop = asyncio.new_event_loop()
                if hasattr(asyncio, "eager_task_factory"):
                    self._loop.set_task_factory(asyncio.eager_task_factory)
                self._thread = threading.Thread(target=self._loop.run_forever, name="umbel-loop", daemon=True)
                self._thread.start()
            return self._loop

    def close(self, timeout: float) -> bool:
        """Wait for what runs, at most `timeout` seconds, then stop the loop; whether all had ended. Twice is fine."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return True
        done = threading.Event()
        loop.call_soon_threadsafe(lambda: loop.create_task(self._finish(done, timeout)))
        done.wait(timeout + 1.0)
        ended = not self._running
        loop.call_soon_threadsafe(loop.stop)
        thread.join(1.0)
        if not thread.is_alive():
            loop.close()
        return ended

    async def _finish(self, done: threading.Event, patience: float) -> None:
        import asyncio  # noqa: PLC0415 - loaded already, by `_started`

        running = list(self._running)
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=0.5)
        done.set()
