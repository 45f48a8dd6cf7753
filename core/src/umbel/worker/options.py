"""What a worker was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umbel.worker.ratelimit import RateLimits

HORIZON = 0.05
"""Seconds ahead for which a child fetches; what cannot start within it goes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The command line and the settings, resolved; None means no limit."""

    hostname: str
    """The node name, expanded: ``celery@host``."""
    queues: tuple[str, ...]
    pool: str = "prefork"
    """prefork, threads or solo."""
    concurrency: int = 1
    """Children (prefork) or threads."""
    prefetch: int = 500
    """The most deliveries that one child holds."""
    horizon: float = HORIZON
    soft_time_limit: float | None = None
    time_limit: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    """KiB of resident memory."""
    delivery_limit: int = 3
    """Starts of one message after which it goes to the dead letters."""
    grace: float = 25.0
    """Seconds that running tasks have to finish in a warm shutdown."""
    max_message_size: int = 64 * 1024 * 1024
    """Bytes of a body, inflated; a larger one goes to the dead letters."""
    flush_after: float = 0.002
    """Seconds that a finished task waits for company before its batch is settled."""
    loglevel: int = 30
    show_arguments: bool = False
    """Whether log lines show the arguments and the value of a task."""

    rates: RateLimits | None = field(default=None, compare=False, repr=False)
    """Made before the fork, so that the children share it."""

    @property
    def slots(self) -> int:
        """Tasks that one child runs at once, `async def` tasks aside."""
        return self.concurrency if self.pool == "threads" else 1

    @property
    def children(self) -> int:
        """Processes that run tasks."""
        return self.concurrency if self.pool == "prefork" else 1
