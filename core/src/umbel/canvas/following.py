"""What a task's end leads to, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from umbel.spec import Arrival

if TYPE_CHECKING:
    from collections.abc import Mapping

    from umbel.message.call import Call
    from umbel.message.context import Context
    from umbel.spec import Result


@dataclass(slots=True)
class Join:
    """One member's arrival at a chord's barrier."""

    arrival: Arrival
    chord: dict[str, Any]
    """The body, in its wire form."""
    request: Context
    """The task from whose end it follows."""
    gathered: dict[str, bytes] | None = None
    """All members' values, once the set was complete: then this is the claim to send the body."""


@dataclass(slots=True)
class Steps:
    """What has to be done, in this order: join, store and publish; then, with the task settled, forget."""

    calls: list[Call] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    """Barriers that this task's end makes useless: it was their chord's body."""


def join_of(request: Context, chord: Any, group: str | None, index: int | None, id: str | None, value: bytes) -> Join:
    """The arrival of the member `index`, or without an index of the task `id`, at the barrier named as the group."""
    barrier = group or id_of(chord) or ""
    if request.umbel_generation:
        barrier = f"{barrier}.{request.umbel_generation}"  # what is left of an earlier one must not count
    member = str(index) if index is not None else id or ""
    return Join(Arrival(barrier=barrier, member=member, value=value), chord, request)


def id_of(sig: Mapping[str, Any]) -> str | None:
    """The id that a signature is frozen to."""
    id = (sig.get("options") or {}).get("task_id")
    return id if isinstance(id, str) else None


def marked(calls: list[Call], request: Context) -> list[Call]:
    """Calls of a task's children bear its generation, and whether they may have been sent before."""
    again, generation = is_again(request), request.umbel_generation
    if again or generation:
        for call in calls:
            call.resent = again
            call.generation = generation
    return calls


def is_again(request: Context) -> bool:
    """Whether the task may have come to its end before."""
    return request.umbel_resent or (request.delivery is not None and request.delivery.attempt > 1)
