"""What the tests of brokers share."""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any

from umbel.spec import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from umbel.clock import ManualClock
    from umbel.spec import Broker, Consumer, Delivery

PATIENCE = 10.0
"""Seconds after which a test that waits for something has failed."""
_numbers = count(1)


def message(body: bytes | str = b"{}", queue: str = "q", **fields: Any) -> Message:
    """A message with an id of its own; its body is its id where that helps to recognise it."""
    number = next(_numbers)
    fields.setdefault("id", f"m{number}")
    return Message(queue=queue, body=body.encode() if isinstance(body, str) else body, **fields)


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    """What the deliveries say."""
    return [delivery.message.body.decode() for delivery in deliveries]


def receive_all(consumer: Consumer, limit: int = 100) -> list[Delivery]:
    """Everything that can be received now."""
    received: list[Delivery] = []
    while batch := consumer.receive(limit, 0.0):
        received += batch
    return received


def consume(broker: Broker, *queues: str, owner: str = "owner", prefetch: int = 1000) -> Consumer:
    """A consumer of `q`, or of these."""
    return broker.consume(queues or ("q",), owner=owner, prefetch=prefetch)


def until(true: Callable[[], object], *, clock: ManualClock | None = None) -> None:
    """Wait for something that another thread does; waiters of a manual clock are woken to look again."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        if clock is not None:
            clock.advance(0.0)
        time.sleep(0.001)


class Background:
    """A call on a thread of its own, and what came of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, clock: ManualClock | None = None) -> Any:
        """The result, once it is there."""
        until(lambda: self.done, clock=clock)
        if self.error is not None:
            raise self.error
        return self.result
