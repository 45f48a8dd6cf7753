"""A child: a whole worker, with its own connections, made after the fork."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from umbel import signals
from umbel.pools.loop import Loop
from umbel.pools.ready import Ready, take_and_work
from umbel.pools.threads import Threads
from umbel.spec import BackendError, BrokerError
from umbel.worker.fetcher import Fetcher
from umbel.worker.limits import SoftLimit
from umbel.worker.outcome import Outcome
from umbel.worker.renewer import Renewer
from umbel.worker.revoked import Revoked
from umbel.worker.room import Room
from umbel.worker.running import AsyncRunner
from umbel.worker.settler import Settler
from umbel.worker.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from umbel.results.applike import AppLike
    from umbel.spec import Consumer, Delivery
    from umbel.worker.options import WorkerOptions
    from umbel.worker.page import Slot

logger = logging.getLogger("umbel.worker.child")

LOOK_AT_MEMORY = 0.5
"""Seconds between two looks at the resident memory."""
SETTLE_FIRST = 1.0
"""Seconds for which a task that was begun before waits, at most, until what ended before it is settled."""


class Child:
    """Fetches, runs and settles. `run` blocks; `stop` may be called from any thread or signal handler."""

    def __init__(
        self,
        app: AppLike,
        options: WorkerOptions,
        *,
        owner: str,
        page: Slot | None = None,
        renews: bool = False,
        leaving: Callable[[str], None] | None = None,
    ) -> None:
        self.app = app
        self.options = options
        self.owner = owner
        self.ready: Ready = Ready()
        self.processed = 0
        self._page = page
        self._leaving = leaving
        self._renews = renews
        self._since: dict[int, float] = {}
        """When each busy slot began, monotonic."""
        self._stopped = threading.Event()
        self._grace = options.grace
        self._next_look = 0.0
        self._room = Room(slots=options.slots, prefetch=options.prefetch, horizon=options.horizon)
        self._revoked = Revoked(app)
        self._tracer = Tracer(app, options, page=page, revoked=self._revoked, ack_early=self._ack_early)
        self._loop = Loop()
        self._async = AsyncRunner(self._tracer, self._loop, self._settle)
        self._fetcher: Fetcher = Fetcher(
            self._connect,
            self.ready,
            self._room,
            running=self._since.__len__,
            stuck=self._stuck,
            dispatch=self._async.dispatch,
            async_room=self._async.room,
            blocked=self._settling_fails,
            tick=self._revoked.refresh,
        )
        self._settler = Settler(
            app,
            self._fetcher.consumer,
            idle=self.ready.empty,
            flush_after=options.flush_after,
        )
        self._threads: Threads | None = None
        self._soft: SoftLimit | None = None

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Work until stopped; `ready` is called once it consumes. BrokerError if that can never be."""
        renewer = Renewer(self.app, self.owner) if self._renews else None
        self._settler.start()
        self._fetcher.start()
        self._fetcher.connected.wait()
        if self._fetcher.error is not None:
            self._settler.close(1.0)
            raise self._fetcher.error
        if renewer is not None:
            renewer.start()
        if ready is not None:
            ready()
        signals.worker_process_init.send(sender=self.options.hostname)
        try:
            self._work()
        finally:
            self._shut_down()
            if renewer is not None:
                renewer.close()
            signals.worker_process_shutdown.send(sender=self.options.hostname, pid=os.getpid(), exitcode=0)

    def stop(self, grace: float | None = None) -> None:
        """Fetch no more, finish what runs within `grace` seconds, and leave. Twice is fine."""
        if grace is not None:
            self._grace = grace
        self._stopped.set()
        self._fetcher.stop()
        for _ in range(self.options.slots):
            self.ready.put(None)
        if not self._since and not self._async.active:
            self._settler.close(1.0)
            self._fetcher.close()  # nothing is held: wakes a receive that would block on

    def _connect(self) -> Consumer:
        options = self.options
        # What is finished and not settled yet is held too, and must not stand in the way of the next batch.
        prefetch = 3 * max(options.prefetch, options.slots)
        return self.app.broker.consume(options.queues, owner=self.owner, prefetch=prefetch)

    def _ack_early(self, delivery: Delivery) -> None:
        self._fetcher.consumer().ack([delivery])

    def _settling_fails(self) -> bool:
        return self._settler.failing

    def _stuck(self) -> int:
        before = time.monotonic() - self.options.horizon
        return sum(since < before for since in list(self._since.values()))

    def _work(self) -> None:
        if self.options.pool == "threads":
            self._threads = Threads(self.options.slots, self.ready, self._start)
            self._threads.start()
            self._stopped.wait()
            return
        if threading.current_thread() is threading.main_thread():
            self._soft = SoftLimit()
        try:
            take_and_work(self.ready, self._start, 0)
        finally:
            if self._soft is not None:
                self._soft.close()

    def _start(self, delivery: Delivery, slot: int) -> None:
        """Run one delivery in a slot; whatever goes wrong, it has an outcome."""
        if self._stopped.is_set():
            self._settler.add(Outcome(delivery, action="requeue", charge=False))
            return
        since = time.monotonic()
        self._since[slot] = since
        self._fetcher.taken()
        if delivery.attempt > 1:
            # It may be what killed the process before: what is finished here must not have to run again for it.
            self._settler.flush(SETTLE_FIRST)
            since = time.monotonic()
        try:
            outcome = self._tracer.run(delivery, slot, self._soft)
        except (BrokerError, BackendError) as exc:
            logger.error("message %s goes back, untouched: %s", delivery.message.id, exc)
            outcome = Outcome(delivery, action="requeue", charge=False, delay=1.0)
        except Exception as exc:  # noqa: BLE001 - logged there; the task is failed, never lost
            outcome = self._tracer.internal_error(delivery, exc)
        seconds = time.monotonic() - since
        del self._since[slot]
        if outcome.request is not None and outcome.request.task is not None and outcome.action == "ack":
            self._room.took(outcome.request.task, seconds)
        self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        self._settler.add(outcome)
        self._fetcher.taken()
        self.processed += 1
        options = self.options
        if options.max_tasks_per_child is not None and self.processed >= options.max_tasks_per_child:
            self._leave("max_tasks_per_child")
        elif options.max_memory_per_child is not None:
            self._look_at_memory(options.max_memory_per_child)

    def _look_at_memory(self, limit: int) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_AT_MEMORY
            if resident_memory() > limit:
                self._leave("max_memory_per_child")

    def _leave(self, why: str) -> None:
        if not self._stopped.is_set():
            if self._leaving is not None:
                self._leaving(why)
            # Not from here: `stop` may wait for the very thread that has just finished this task.
            threading.Thread(target=self.stop, name="umbel-leaving", daemon=True).start()
            self._stopped.set()

    def _shut_down(self) -> None:
        deadline = time.monotonic() + self._grace
        self._stopped.set()
        self._fetcher.stop()
        if self._threads is not None:
            self._threads.stop()
            self._threads.join(max(0.0, deadline - time.monotonic()))
        self._loop.close(max(0.0, deadline - time.monotonic()))
        self._fetcher.join(2.0)
        self._settler.close(max(1.0, deadline - time.monotonic()))
        self._fetcher.close()


def resident_memory() -> int:
    """KiB of memory that this process has resident now (Linux), or has had at most (elsewhere)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
    except OSError:
        import resource  # noqa: PLC0415 - not on every platform

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
