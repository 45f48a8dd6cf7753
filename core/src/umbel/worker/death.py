"""What became of a child's tasks when it died: worked out by the supervisor, carried out by the agent."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from umbel.worker.page import AGAIN_IF_OVERDUE, EARLY, FAILS_IF_LOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from umbel.worker.page import Started


@dataclass(slots=True, kw_only=True)
class Failed:
    """A task that has failed with its child; it is not delivered again, or finds its failure stored when it is."""

    id: str
    limit: float | None = None
    """The hard time limit that it exceeded; None: it was lost with its child."""
    attempt: int = 1
    generation: int = 0


@dataclass(slots=True, kw_only=True)
class Death:
    """The end of one owner of deliveries."""

    owner: str
    reason: str
    """In words: killed by SIGKILL."""
    charged: list[str] = field(default_factory=list)
    """Ids of the messages that count an attempt; all else that it held goes back uncharged."""
    failed: list[Failed] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Death:
        """What `to_dict` gave."""
        return cls(**{**data, "failed": [Failed(**entry) for entry in data["failed"]]})


def certify(
    owner: str,
    started: Sequence[Started],
    *,
    status: int | None,
    now: float,
    default_limit: float | None,
    stopped: bool,
) -> Death:
    """The verdict on what a dead child was running, `now` being boot time.

    A task past its deadline has failed for that. One that was acknowledged early is lost, as is one that asks for it.
    All others go back to their queues, charged with an attempt, unless the worker was `stopped`, for which they are
    not to blame.
    """
    death = Death(owner=owner, reason=described(status))
    for task in started:
        early = bool(task.policy & EARLY)
        overdue = 0 < task.deadline <= now
        lost = not overdue and not stopped and bool(task.policy & FAILS_IF_LOST)
        if early or lost or (overdue and not task.policy & AGAIN_IF_OVERDUE):
            limit = (task.limit or default_limit or 0.0) if overdue else None
            death.failed.append(Failed(id=task.id, limit=limit, attempt=task.attempt, generation=task.generation))
        if not early and (overdue or not stopped):
            death.charged.append(task.id)
    return death


def described(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "did not end when killed"
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exited with code {status}"
