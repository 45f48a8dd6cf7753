"""What became of one delivery, on its way to being settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.canvas.steps import Join
    from umbel.message.context import Context
    from umbel.spec import Delivery, Message, Result
    from umbel.worker.recipe import Recipe


@dataclass(slots=True)
class Running:
    """A task between its start and its end."""

    delivery: Delivery
    request: Context
    recipe: Recipe
    slot: int
    since: float
    """Monotonic."""
    acked: bool = False


@dataclass(slots=True)
class Outcome:
    """All that has to be stored, joined, sent and acknowledged for one delivery, in that order."""

    delivery: Delivery
    request: Context | None = None
    """None where the message could not be decoded."""
    action: Literal["ack", "requeue", "dead"] = "ack"
    result: Result | None = None
    further: Sequence[Result] = ()
    """Results of other tasks that follow from this one: the rest of a failed chain."""
    joins: Sequence[Join] = ()
    messages: Sequence[Message] = ()
    """The children, encoded."""
    joined: Sequence[Message] = ()
    """The bodies of the chords that this one has completed, made anew by each try to settle."""
    joined_results: Sequence[Result] = ()
    forget: Sequence[str] = ()
    """Barriers that are done with."""
    delay: float = 0.0
    charge: bool = True
    reason: str = ""
