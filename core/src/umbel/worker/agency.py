"""The supervisor's side of the agent: keeps one running, and loses no death until the agent has dealt with it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from umbel.worker.death import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from umbel.worker.death import Death
    from umbel.worker.processes import Process

logger = logging.getLogger("umbel.worker")

FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
"""Seconds before a process that died young is started again."""
SILENCE = 30.0
"""Seconds without a word after which the agent is taken for stuck."""
UNCONFIRMED = 1000
"""Deaths kept for the agent; the oldest beyond them are left to their leases."""


class Agency:
    """Owned by the supervisor's one thread."""

    def __init__(self, *, start: Callable[[], Process], gone: Callable[[Process], None]) -> None:
        self._start = start
        self._gone = gone
        self.process: Process | None = None
        self._living: dict[str, None] = {}
        self._dead: dict[str, Death] = {}
        self._due = 0.0
        self._wait = FIRST_WAIT
        self._heard = 0.0

    @property
    def unconfirmed(self) -> int:
        """Dead owners whose deliveries are not known to be back."""
        return len(self._dead)

    def born(self, owner: str) -> None:
        """Renew this owner's leases from now on."""
        self._living[owner] = None
        self._tell({"alive": [owner]})

    def died(self, death: Death) -> None:
        """Give back what this owner held."""
        self._living.pop(death.owner, None)
        self._dead[death.owner] = death
        while len(self._dead) > UNCONFIRMED:
            del self._dead[next(iter(self._dead))]
        self._tell({"dead": death.to_dict()})

    def stop(self) -> None:
        """Ask it to leave."""
        self._tell({"stop": True})

    def turn(self, now: float) -> None:
        """Start an agent where there is none, or none that moves; `now` is monotonic."""
        if self.process is not None and now - self._heard > SILENCE:
            logger.error("The agent (pid %d) has been silent for %g s and is killed", self.process.pid, SILENCE)
            self.process.kill()
            self._heard = now
        elif self.process is None and now >= self._due:
            self.process = self._start()
            self._heard = now
            self._tell({"alive": list(self._living)})
            for death in self._dead.values():
                self._tell({"dead": death.to_dict()})

    def due(self) -> float | None:
        """When `turn` has something to do, monotonic; None while the agent runs."""
        return self._due if self.process is None else None

    def hear(self) -> None:
        """Take in what the agent says."""
        if self.process is None:
            return
        for message in self.process.control.receive():
            self._heard = time.monotonic()
            if "released" in message:
                self._dead.pop(message["released"], None)
                self._wait = FIRST_WAIT
            elif "ready" in message:
                self._wait = FIRST_WAIT
            elif "error" in message:
                logger.error("The agent cannot work: %s", message["error"])

    def reap(self, *, expected: bool) -> None:
        """Notice that the agent has ended, and when to start another."""
        process = self.process
        if process is None or process.poll() is None:
            return
        self.hear()
        self._gone(process)
        self.process = None
        if expected:
            return
        self._due = time.monotonic() + self._wait
        logger.error(
            "The agent (pid %d) %s; another starts in %.1f s", process.pid, described(process.status), self._wait
        )
        self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _tell(self, message: dict[str, object]) -> None:
        if self.process is not None:
            self.process.control.send(message)
