"""Receives deliveries in batches, as many as there is room for, and gives back what cannot start soon."""

from __future__ import annotations

import logging
import random
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from umbel.pools.ready import Ready, drain
from umbel.spec import BrokerError, Fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from umbel.spec import Consumer, Delivery
    from umbel.worker.room import Room

logger = logging.getLogger("umbel.worker.fetcher")

LONGEST_RECEIVE = 1.0
"""Seconds that one receive may block; between two the fetcher looks at what else there is to do."""
LONGEST_PAUSE = 5.0
"""The most seconds between two tries to reach the broker."""


class Fetcher:
    """Owns one thread, the only one that calls `receive`."""

    def __init__(
        self,
        connect: Callable[[], Consumer],
        ready: Ready,
        room: Room,
        *,
        running: Callable[[], int],
        stuck: Callable[[], int],
        dispatch: Callable[[Sequence[Delivery]], Sequence[Delivery]],
        async_room: Callable[[], int],
        blocked: Callable[[], bool],
        tick: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._ready = ready
        self._room = room
        self._running = running
        self._stuck = stuck
        """How many of what runs has run for longer than the horizon."""
        self._dispatch = dispatch
        """Starts the `async def` tasks among these on the loop, and returns the others."""
        self._async_room = async_room
        self._blocked = blocked
        self._tick = tick
        self._consumer: Consumer | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._waiting = False
        self._stopping = False
        self._low = 0
        self.error: BrokerError | None = None
        """What the broker said when it could not be reached at the start and trying again cannot help."""
        self.connected = threading.Event()
        """Set once it consumes, or once `error` is."""
        self._thread = threading.Thread(target=self._run, name="umbel-fetcher", daemon=True)

    def start(self) -> None:
        """Begin to fetch."""
        self._thread.start()

    def consumer(self) -> Consumer:
        """The present one; BrokerError while there is none."""
        consumer = self._consumer
        if consumer is None:
            raise BrokerError("not connected to the broker")
        return consumer

    def taken(self) -> None:
        """A delivery was taken from `ready`, or a task ended: wake up if there is room for more now."""
        if self._waiting and self._ready.qsize() <= self._low:
            self._waiting = False
            self._bell.put(None)

    def stop(self) -> None:
        """Fetch no more, and give back what has not been started. Returns at once; `join` waits."""
        self._stopping = True
        self._bell.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the thread, at most `timeout` seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def close(self) -> None:
        """Close the consumer: to be called last, when all is settled. Twice is fine."""
        consumer = self._consumer
        if consumer is not None:
            try:
                consumer.close()
            except BrokerError as exc:
                logger.warning("the consumer could not be closed well: %s", exc)

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping:
            try:
                if self._consumer is None:
                    self._consumer = self._connect()
                    if pause > 0.1:
                        logger.warning("connected to the broker again")
                    pause = 0.1
                    self.connected.set()
                self._step(self._consumer)
            except BrokerError as exc:
                if isinstance(exc, Fatal) and not self.connected.is_set():
                    self.error = exc
                    self.connected.set()
                    return
                logger.error("the broker failed, trying again in %.1f s: %s", pause, exc)
                self._give_up_consumer()
                self._rest(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception:
                logger.exception("internal error while fetching")
                self._rest(1.0)
        self._give_back(drain(self._ready))

    def _step(self, consumer: Consumer) -> None:
        self._tick()
        if self._blocked():
            self._rest(0.05)
            return
        waiting = self._ready.qsize()
        limit = self._limit(waiting)
        if limit <= 0:
            self._wait_for_room(waiting, full=True)
            return
        deliveries = consumer.receive(limit, 0.0 if waiting else LONGEST_RECEIVE)
        if not deliveries:
            if waiting:
                self._wait_for_room(waiting, full=False)
            return
        deliveries = self._dispatch(deliveries)
        surplus = self._room.surplus(deliveries, self._ready.qsize(), self._running()) if len(deliveries) > 1 else 0
        if surplus:
            self._give_back(deliveries[len(deliveries) - surplus :])
            deliveries = deliveries[: len(deliveries) - surplus]
        for delivery in deliveries:
            self._ready.put(delivery)

    def _limit(self, waiting: int) -> int:
        return self._room.limit(waiting, self._running(), self._stuck()) + self._async_room()

    def _wait_for_room(self, waiting: int, *, full: bool) -> None:
        """Until something was taken or ended; meanwhile what waits behind a long task goes back.

        `full`: there was no room at all, else only nothing to fetch.
        """
        self._low = waiting // 2
        self._waiting = True
        horizon = self._room.horizon
        try:
            # Looked at again now that `taken` rings: what happened a moment before did not.
            left = self._ready.qsize()
            if (full and self._limit(left) > 0) or (waiting and not left):
                return
            self._bell.get(timeout=horizon / 2 if waiting else LONGEST_RECEIVE)
        except Empty:
            if waiting and self._stuck() >= self._room.slots:
                self._give_back(drain(self._ready))
        finally:
            self._waiting = False

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        consumer = self._consumer
        if consumer is not None:
            try:
                consumer.requeue(deliveries, charge=False)
            except BrokerError as exc:
                logger.warning(
                    "%d delivery(ies) could not be given back and wait for their lease: %s", len(deliveries), exc
                )

    def _give_up_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        drain(self._ready)  # the broker gives them out again: they are no longer ours to start
        if consumer is not None:
            try:
                consumer.close()
            except BrokerError:
                pass

    def _rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            try:
                self._bell.get(timeout=left)
            except Empty:
                return
