"""The deliveries that have been fetched and not started yet, between the fetcher and a pool."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umbel.spec import Delivery

Ready = SimpleQueue["Delivery | None"]
"""None tells one taker to leave."""
Work = Callable[["Delivery", int], None]
"""Run a delivery in the slot of this number; never raises."""


def drain(ready: Ready) -> list[Delivery]:
    """Take out all that has not been started, in order."""
    taken: list[Delivery] = []
    leave = 0
    while True:
        try:
            delivery = ready.get_nowait()
        except Empty:
            break
        if delivery is None:
            leave += 1
        else:
            taken.append(delivery)
    for _ in range(leave):
        ready.put(None)
    return taken


def take_and_work(ready: Ready, work: Work, slot: int) -> None:
    """Work on what is ready, one delivery at a time, until told to leave."""
    get = ready.get
    while (delivery := get()) is not None:
        work(delivery, slot)
