"""The thread that sends what is due from the delay store to where it belongs."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from umbel.brokers.envelope import disclosed
from umbel.spec import BrokerError, PublishError, Queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.clock import Clock
    from umbel.spec import Broker, Consumer, Delivery, Failure, Message

BATCH = 100
"""Messages moved in one step."""
PATIENCE = 30.0
"""Seconds after which a quiet store is asked anew."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts, at most, while one of the brokers fails."""
REFUSALS = 10
"""Refusals of one message by its own broker after which it is a dead letter of the store."""

logger = logging.getLogger("umbel.broker")


def drain_owner(owner: str) -> str:
    """Under which name the consumer of this owner holds what it takes from the store."""
    return f"{owner}/delays"


class Drainer:
    """Moves under lease: a message leaves the store when its own broker has confirmed it, so never is in no place."""

    def __init__(self, store: Broker, target: Broker, queue: str, owner: str, clock: Clock) -> None:
        self._store = store
        self._target = target
        self._queue = queue
        self._owner = drain_owner(owner)
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._consumer: Consumer | None = None
        self._thread = threading.Thread(target=self._run, name="umbel-delays", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Wake the thread, and wait for its end."""
        with self._lock:
            self._closed.set()
            consumer = self._consumer
        if consumer is not None:
            consumer.close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._closed.wait(pause):
            try:
                consumer = self._connected()
                deliveries = consumer.receive(BATCH, PATIENCE) if consumer else ()
                if consumer and deliveries:
                    self._move(consumer, deliveries)
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - the outermost loop of a thread
                if self._closed.is_set():
                    return
                pause = min(max(2 * pause, 0.1), LONGEST_PAUSE)
                level = logging.WARNING if isinstance(error, BrokerError) else logging.ERROR
                logger.log(level, "delayed messages have to wait, trying again in %.1f s: %s", pause, error)
                self._disconnect()

    def _connected(self) -> Consumer | None:
        if self._consumer is None:
            self._store.declare([Queue(name=self._queue)])
            consumer = self._store.consume([self._queue], owner=self._owner, prefetch=BATCH)
            with self._lock:
                if not self._closed.is_set():
                    self._consumer = consumer
            if self._consumer is None:
                consumer.close()
        return self._consumer

    def _disconnect(self) -> None:
        with self._lock:
            consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close()
            except BrokerError as error:
                logger.warning("closing the delay store's consumer: %s", error)

    def _move(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        now = self._clock.now()
        moving: list[tuple[Delivery, Message]] = []
        for delivery in deliveries:
            try:
                message = disclosed(delivery.message)
            except ValueError as error:
                consumer.dead_letter([delivery], f"not a delayed message: {error}")
                continue
            if message.eta is not None and message.eta > now:
                # The store's clock is ahead of ours.
                consumer.requeue([delivery], delay=message.eta - now, charge=False)
            else:
                moving.append((delivery, message))
        failures: dict[int, Failure] = {}
        try:
            self._target.publish([message for _, message in moving])
        except PublishError as error:
            failures = {id(failure.message): failure for failure in error.failures}
        sent = [delivery for delivery, message in moving if id(message) not in failures]
        if sent:
            consumer.ack(sent)
        for delivery, message in moving:
            failure = failures.get(id(message))
            if failure is not None:
                self._put_off(consumer, delivery, failure)

    def _put_off(self, consumer: Consumer, delivery: Delivery, failure: Failure) -> None:
        if failure.certain and delivery.attempt >= REFUSALS:
            consumer.dead_letter([delivery], f"refused by its own broker: {failure.error}")
        else:
            pause = min(2.0**delivery.attempt, LONGEST_PAUSE)
            consumer.requeue([delivery], delay=pause, charge=failure.certain)
