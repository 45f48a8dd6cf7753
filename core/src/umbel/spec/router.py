"""Where a task goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Router(Protocol):
    """Decides the destination of calls. Pure and quick, from any thread, no I/O."""

    def route(
        self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Options such as queue, exchange, routing_key, priority; None: not mine. The caller's own options win."""
