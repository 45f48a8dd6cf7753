"""What a broker's consumers and settlers have of it: its hub, what it lacks, and where it is told to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.brokers.memory.lane import LEVELS
from umbel.spec import Failure, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from umbel.brokers.memory.hub import Hub
    from umbel.spec import Capabilities, Message


class Session:
    """One broker's terms with the hub."""

    def __init__(self, hub: Hub, capabilities: Capabilities, fault: Callable[[str], None] | None) -> None:
        self.hub = hub
        self.capabilities = capabilities
        self.levels = tuple(priority * capabilities.priorities // LEVELS for priority in range(LEVELS))
        """The level of each priority from 0 to 9; those beyond count as the nearest."""
        self._limits = capabilities.max_delay != float("inf") or capabilities.max_body is not None
        self._fault = fault

    def enter(self, verb: str) -> None:
        """What comes before every verb. Not under the lock: in a forked process nobody would ever release it."""
        self.hub.check_process()
        if self._fault is not None:
            self._fault(verb)

    def leave(self, verb: str) -> None:
        """What comes after a verb that changed something."""
        if self._fault is not None:
            self._fault(f"{verb}: done")

    def refused(self, messages: Sequence[Message]) -> list[Failure]:
        """Those that are too large. Unsupported if one is held back for longer than this broker can."""
        if not self._limits:
            return []
        limit, latest = self.capabilities.max_body, self.hub.clock.now() + self.capabilities.max_delay
        if any(message.eta is not None and message.eta > latest for message in messages):
            raise Unsupported(f"this broker holds a message back for {self.capabilities.max_delay:g} s at most")
        if limit is None:
            return []
        return [
            Failure(message, Unsupported(f"a body of {len(message.body)} bytes; the most is {limit}"), certain=True)
            for message in messages
            if len(message.body) > limit
        ]
