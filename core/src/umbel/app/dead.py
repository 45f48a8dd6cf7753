"""Dead letters: looking at them, and sending them on again."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from umbel.spec import DEATH, Message, Result
from umbel.states import PENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from umbel.spec import Broker, Consumer, Delivery, ResultBackend

BATCH = 100
KEPT = 86_400.0
"""Seconds for which it is remembered that a replayed task is to run."""
ENOUGH = 0.2
"""Seconds without another letter after which a dead-letter queue counts as empty."""


def dead_queue(queue: str) -> str:
    """The name of a queue's dead-letter queue, also if it is one already."""
    return queue if queue.endswith(".dead") else f"{queue}.dead"


def replay(
    broker: Broker, queue: str, ids: Sequence[str] | None = None, backend: ResultBackend | None = None
) -> list[str]:
    """Send dead letters back to where they died, all of them or those of `ids`; the ids of those sent.

    A replay begins the task's next generation: its old failure does not stop it, and is no longer its result. Each is
    published, confirmed, before its letter is deleted, so that a crash in between leaves both.
    """
    sent: list[str] = []

    def revive(deliveries: Sequence[Delivery], consumer: Consumer) -> None:
        messages = [alive(delivery.message) for delivery in deliveries]
        broker.publish(messages)
        if backend is not None:
            waiting = [
                Result(id=message.id, state=PENDING, generation=message.headers["umbel_generation"])
                for message in messages
            ]
            backend.store(waiting, ttl=KEPT)
        consumer.ack(deliveries)
        sent.extend(delivery.message.id for delivery in deliveries)

    _sift(broker, dead_queue(queue), ids, revive)
    return sent


def remove(broker: Broker, queue: str, ids: Sequence[str]) -> list[str]:
    """Delete the dead letters of these ids; the ids of those that were there."""
    gone: list[str] = []

    def drop(deliveries: Sequence[Delivery], consumer: Consumer) -> None:
        consumer.ack(deliveries)
        gone.extend(delivery.message.id for delivery in deliveries)

    _sift(broker, dead_queue(queue), ids, drop)
    return gone


def alive(letter: Message) -> Message:
    """The message as it was before it died, one generation on."""
    headers = dict(letter.headers)
    death = headers.pop(DEATH, None) or {}
    headers["umbel_generation"] = int(headers.get("umbel_generation") or 0) + 1
    queue = death.get("queue") or letter.queue.removesuffix(".dead")
    return replace(letter, queue=queue, headers=headers, eta=None, dedup=None)


def _sift(
    broker: Broker, queue: str, ids: Sequence[str] | None, take: Callable[[Sequence[Delivery], Consumer], None]
) -> None:
    """Go once through a queue: `take` what is wanted, leave the rest where it is."""
    wanted = None if ids is None else set(ids)
    consumer = broker.consume([queue], owner=f"dead-letters/{os.getpid()}.{os.urandom(4).hex()}", prefetch=1_000_000)
    try:
        while wanted is None or wanted:
            deliveries = consumer.receive(BATCH, ENOUGH)
            if not deliveries:
                return
            chosen = [d for d in deliveries if wanted is None or d.message.id in wanted]
            if chosen:
                take(chosen, consumer)
            if wanted is not None:
                wanted.difference_update(delivery.message.id for delivery in chosen)
    finally:
        consumer.close()  # the letters not chosen go back, uncharged, in order
