"""One task to be sent: what was asked, before it is routed and serialized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Call:
    """A task's name, arguments and lineage, with its execution options."""

    task: str
    id: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    """What the caller asked: queue, exchange, routing_key, priority, serializer, compression, countdown, eta, expires,
    time_limit, soft_time_limit, ignore_result, headers, shadow, reply_to, key, argsrepr, kwargsrepr. They win over
    routes, routes over the task's own attributes, those over settings."""
    retries: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    callbacks: list[Any] | None = None
    """Signatures or their wire form (dicts), as the next three."""
    errbacks: list[Any] | None = None
    chain: list[Any] | None = None
    """The rest of the chain, reversed: the next step is the last element."""
    chord: Any = None
    """The body of the chord that this task is a member of."""
    replaced_task_nesting: int = 0
    generation: int = 0
    """Larger than 0 for an id that was sent before on purpose (a replay, an id given by the caller)."""
    resent: bool = False
    """The same call may have been sent before, by a worker that died: whoever takes it looks for a result first."""
