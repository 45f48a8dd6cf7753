"""One watcher of the result store for all who wait in this process."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from umbel.exceptions import BackendError
from umbel.results.watches import CallbackWatch, LoopWatch, ThreadWatch, Watch
from umbel.states import READY_STATES

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from umbel.spec import Result, ResultBackend, Watcher

SLICE = 1.0
"""The most seconds that one look at the watcher takes; whoever drives then sees whether it is still needed."""
LINGER = 2.0
"""Seconds that the helper thread waits for further coroutines before it ends."""
PAUSE = 0.05
"""Seconds after the store's first failure before it is asked again; doubled for each further one, up to SLICE."""


class Waiter:
    """Waits for results on behalf of all threads and loops of this process.

    There is no thread of its own for those who block: the first of them reads the watcher, for itself and the
    others, and hands that over when it leaves. A helper thread does it while only coroutines and callbacks wait.
    A store that fails is asked again until it answers; those who wait see no more of it than the time it takes.
    """

    def __init__(self, backend: ResultBackend) -> None:
        self._backend = backend
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._watcher: Watcher | None = None
        self._watches: dict[str, list[Watch]] = {}
        self._led = False
        """Whether some thread reads the watcher."""
        self._followers: dict[ThreadWatch, None] = {}
        """Threads that sleep until somebody brings them their news, or leaves them the lead; in order."""
        self._posted: deque[tuple[LoopWatch | CallbackWatch, Result]] = deque()
        self._passive: set[Watch] = set()
        """Coroutines and callbacks."""
        self._helper: threading.Thread | None = None
        self._needed = threading.Condition(self._lock)
        """Rung when the helper may have to lead."""
        self._pause = PAUSE
        self._closed = False

    def subscribe(self, ids: Iterable[str]) -> ThreadWatch:
        """Wait for these with `ThreadWatch.next`; what is known of them already comes first."""
        watch = ThreadWatch(self, set(ids))
        self._register(watch)
        return watch

    def subscribe_loop(self, ids: Iterable[str], loop: asyncio.AbstractEventLoop) -> LoopWatch:
        """The same for a coroutine on `loop`."""
        watch = LoopWatch(self, set(ids), loop)
        self._register(watch)
        return watch

    def subscribe_callback(self, ids: Iterable[str], callback: Callable[[Result], Any]) -> CallbackWatch:
        """Have `callback` called with each state of these. It runs on a thread that others wait for: be quick."""
        watch = CallbackWatch(self, set(ids), callback)
        self._register(watch)
        return watch

    def unsubscribe(self, watch: Watch) -> None:
        """Forget a watch."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._passive.discard(watch)
            gone = []
            for id in watch.ids:
                watches = self._watches.get(id)
                if watches is not None and watch in watches:
                    watches.remove(watch)
                    if not watches:
                        del self._watches[id]
                        gone.append(id)
            watch.ids.clear()
            self._unwatch(gone)

    def close(self) -> None:
        """Wake all who wait; they get a BackendError. Twice is fine."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True  # who leads sees it, and each who leaves wakes the next
            watcher, self._watcher = self._watcher, None
            loops = [watch for watch in self._passive if isinstance(watch, LoopWatch)]
            self._needed.notify_all()
            helper = self._helper
        if watcher is not None:
            watcher.close()
        for watch in loops:
            _call_on(watch.loop, watch.arrived, ())
        if helper is not None and helper is not threading.current_thread():
            helper.join()

    def check_open(self) -> None:
        """BackendError once closed."""
        if self._closed:
            raise BackendError("the app was closed while results were awaited")

    def post(self, watch: LoopWatch | CallbackWatch, result: Result) -> None:
        """Note what has to be delivered once the lock is free."""
        self._posted.append((watch, result))

    def drive(self, watch: ThreadWatch, timeout: float | None) -> None:
        """Return when there is news for `watch`, or after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not watch.news:
                with self._lock:
                    if watch.news:
                        return
                    self.check_open()
                    lead = not self._led
                    if lead:
                        self._led = True
                    else:
                        self._followers[watch] = None
                if lead:
                    self._lead(watch, deadline)
                else:
                    self._follow(watch, deadline)
                if deadline is not None and time.monotonic() >= deadline:
                    return
        finally:
            # Who was woken to take the lead may be out of time, or interrupted: then somebody else has to.
            with self._lock:
                if not self._led:
                    self._hand_over()

    def _follow(self, watch: ThreadWatch, deadline: float | None) -> None:
        try:
            watch.rest(None if deadline is None else deadline - time.monotonic())
        finally:
            with self._lock:
                self._followers.pop(watch, None)

    def _lead(self, watch: ThreadWatch, deadline: float | None) -> None:
        try:
            while not watch.news and not self._closed:
                left = SLICE if deadline is None else deadline - time.monotonic()
                self._dispatch(self._look(max(0.0, min(left, SLICE))))
                if left <= 0:
                    return
        finally:
            self._abdicate()

    def _abdicate(self) -> None:
        with self._lock:
            self._led = False
            self._hand_over()

    def _hand_over(self) -> None:
        """Let a sleeping thread take the lead, else the helper. Called with the lock held."""
        if self._followers:
            next(iter(self._followers)).ring()
        elif self._passive:
            self._needed.notify_all()

    def _register(self, watch: Watch) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("a waiter cannot be used after a fork: ask the app for this process's own")
        with self._lock:
            self.check_open()
            new = []
            for id in watch.ids:
                watches = self._watches.get(id)
                if watches is None:
                    self._watches[id] = [watch]
                    new.append(id)
                else:
                    watches.append(watch)
            if not isinstance(watch, ThreadWatch):
                self._passive.add(watch)
                self._help()
            # Of those that somebody watches already the final state is still to come, and will reach both.
            if new and self._watcher is not None:
                try:
                    self._watcher.add(new)
                except BackendError:
                    self._drop_watcher()

    def _unwatch(self, ids: Sequence[str]) -> None:
        """Called with the lock held, so that nobody begins to watch the same ids meanwhile."""
        if ids and self._watcher is not None:
            try:
                self._watcher.remove(ids)
            except BackendError:
                self._drop_watcher()

    def _drop_watcher(self) -> None:
        """It failed: whoever leads will make another. Called with the lock held."""
        broken, self._watcher = self._watcher, None
        if broken is not None:
            broken.close()

    def _look(self, timeout: float) -> Sequence[Result]:
        """What is new, as soon as there is something."""
        try:
            watcher = self._watcher
            if watcher is None:
                watcher = self._begin()
            news = watcher.next(timeout)
            self._pause = PAUSE
            return news
        except BackendError:
            with self._lock:
                self._drop_watcher()
            time.sleep(min(timeout, self._pause))
            self._pause = min(self._pause * 2, SLICE)
            return ()

    def _begin(self) -> Watcher:
        with self._lock:
            self.check_open()
            watcher = self._backend.watch()
            watcher.add(list(self._watches))
            self._watcher = watcher
            return watcher

    def _dispatch(self, news: Sequence[Result]) -> None:
        if not news:
            return
        with self._lock:
            final = []
            for result in news:
                id = result.id
                watches = self._watches.get(id)
                if watches is None:
                    continue
                for watch in watches:
                    watch.put(result)
                if result.terminal or result.state in READY_STATES:
                    final.append(id)
                    del self._watches[id]
                    for watch in watches:
                        watch.ids.discard(id)
                        if not watch.ids:
                            self._passive.discard(watch)
            self._unwatch(final)
            posted, self._posted = self._posted, deque()
        if posted:
            _deliver(posted)

    def _help(self) -> None:
        """Have a helper thread at hand. Called with the lock held."""
        if self._helper is None:
            self._helper = threading.Thread(target=self._run, name="umbel-results", daemon=True)
            self._helper.start()
        else:
            self._needed.notify_all()

    def _run(self) -> None:
        while True:
            with self._lock:
                while self._led or not self._passive:
                    if self._closed or (not self._needed.wait(LINGER) and not self._passive):
                        self._helper = None
                        return
                if self._closed:
                    self._helper = None
                    return
                self._led = True
            try:
                while self._passive and not self._closed:
                    self._dispatch(self._look(SLICE))
            except Exception:
                import logging  # noqa: PLC0415 - heavy, and seldom needed

                logging.getLogger("umbel.results").exception("the watcher of results failed; it is asked again")
                time.sleep(SLICE)
            finally:
                self._abdicate()


def _deliver(posted: Iterable[tuple[LoopWatch | CallbackWatch, Result]]) -> None:
    """Hand out what came, to each loop in one go."""
    loops: dict[asyncio.AbstractEventLoop, dict[LoopWatch, list[Result]]] = {}
    for watch, result in posted:
        if isinstance(watch, CallbackWatch):
            watch.callback(result)
        else:
            loops.setdefault(watch.loop, {}).setdefault(watch, []).append(result)
    for loop, watches in loops.items():
        _call_on(loop, _arrive, watches)


def _arrive(watches: dict[LoopWatch, list[Result]]) -> None:
    for watch, results in watches.items():
        watch.arrived(results)


def _call_on(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], argument: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        pass  # the loop was closed: nobody awaits there any more
