"""Where one call goes, decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Destination:
    """A queue, or an exchange and a key; many calls share one object, so nobody modifies it."""

    queue: str
    exchange: str = ""
    """Empty: straight to the queue."""
    routing_key: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the route says besides: priority, expires, serializer, ..."""
