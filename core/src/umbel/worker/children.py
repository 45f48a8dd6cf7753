"""The children of a supervisor: started, heard, replaced, stopped. What they ran is certified when they die."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from umbel.clock import boot_time
from umbel.worker.death import certify, described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from umbel.worker.death import Death
    from umbel.worker.options import WorkerOptions
    from umbel.worker.page import Page, Slot
    from umbel.worker.processes import Process

logger = logging.getLogger("umbel.worker")

FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
"""Seconds before a child is replaced that died before it was ready."""
STARTS = 8
"""Children in a row that die in one place before any was ready, until the worker gives up (after about 10 s)."""


@dataclass(slots=True)
class Place:
    """Where one child after another works."""

    index: int
    slot: Slot
    process: Process | None = None
    owner: str = ""
    ready: bool = False
    leaving: str | None = None
    """Why it leaves of itself."""
    error: str | None = None
    """Why it cannot work, in its own words."""
    overdue: bool = False
    """Killed for a task past its hard time limit."""
    due: float = 0.0
    """When to start a child, monotonic."""
    wait: float = FIRST_WAIT
    stillborn: int = 0
    """Children in a row that died before they were ready."""

    def __str__(self) -> str:
        return f"Child {self.index + 1} (pid {self.process.pid if self.process else '-'})"


class Children:
    """Owned by the supervisor's one thread. `start` forks a child for a place, `gone` lets go of one that has ended."""

    def __init__(
        self,
        options: WorkerOptions,
        page: Page,
        *,
        start: Callable[[Place], Process],
        gone: Callable[[Process], None],
    ) -> None:
        self._options = options
        self._start = start
        self._gone = gone
        self.places = [Place(index, page.slot(index)) for index in range(options.children)]
        self.processed = 0
        """Tasks done with by children that are gone."""
        self.worked = False
        """Whether a child has ever been ready."""

    def living(self) -> Iterator[tuple[Place, Process]]:
        """Those that run, or have ended and are not reaped."""
        return ((place, place.process) for place in self.places if place.process is not None)

    @property
    def all_ready(self) -> bool:
        """Whether every place has a child that consumes."""
        return all(place.ready for place in self.places)

    def due(self) -> float | None:
        """When `start_due` has something to do, monotonic; None for never."""
        return min((place.due for place in self.places if place.process is None), default=None)

    def start_due(self, now: float, born: Callable[[str], None]) -> None:
        """Fill the empty places whose time has come; `born` hears each owner before it can hold anything."""
        for place in self.places:
            if place.process is None and place.due <= now:
                place.owner = f"{self._options.hostname}/{place.index}/{os.getpid()}.{os.urandom(4).hex()}"
                place.ready = place.overdue = False
                place.leaving = place.error = None
                born(place.owner)
                place.process = self._start(place)
                logger.debug("%s starts as %s", place, place.owner)

    def hear(self, place: Place) -> None:
        """Take in what a child says."""
        if place.process is None:
            return
        for message in place.process.control.receive():
            if "ready" in message:
                place.ready = self.worked = True
                place.wait, place.stillborn = FIRST_WAIT, 0
                logger.debug("%s is ready", place)
            elif "leaving" in message:
                place.leaving = str(message["leaving"])
            elif "error" in message:
                place.error = str(message["error"])

    def kill_overdue(self) -> None:
        """Kill each child with a task past its hard time limit: no other way ends it for sure."""
        now = boot_time()
        for place, process in self.living():
            deadline = place.slot.next_deadline()
            if deadline is not None and deadline <= now and not place.overdue:
                place.overdue = True
                process.kill()

    def next_deadline(self) -> float | None:
        """The earliest hard deadline of what is running, as monotonic time; None if there is none."""
        deadlines = [
            deadline
            for place, _ in self.living()
            if not place.overdue and (deadline := place.slot.next_deadline()) is not None
        ]
        return min(deadlines) - boot_time() + time.monotonic() if deadlines else None

    def hopeless(self) -> str | None:
        """Why there is no sense in trying on, as long as no child has ever worked; None while there is hope."""
        for place in self.places:
            if place.error is not None:
                return place.error
            if place.stillborn >= STARTS:
                return f"{STARTS} children in a row ended before they were ready; their own words are above"
        return None

    def reap(self, *, stopping: bool, killed: bool) -> list[Death]:
        """Clear the places of those that have ended, and certify what they were running.

        `killed`: all are killed by us, so that no task is to blame.
        """
        deaths = []
        for place, process in self.living():
            if process.poll() is None:
                continue
            self.hear(place)
            self._gone(process)
            death = certify(
                place.owner,
                place.slot.started(),
                status=process.status,
                now=boot_time(),
                default_limit=self._options.time_limit,
                stopped=killed,
            )
            self._clear(place)
            self._report(place, process, death, stopping=stopping)
            deaths.append(death)
        return deaths

    def _clear(self, place: Place) -> None:
        self.processed += place.slot.processed
        place.slot.clear()
        place.process = None
        place.due = 0.0
        if not place.ready:
            place.stillborn += 1
            place.due = time.monotonic() + place.wait
            place.wait = min(2 * place.wait, LONGEST_WAIT)

    def _report(self, place: Place, process: Process, death: Death, *, stopping: bool) -> None:
        child = f"Child {place.index + 1} (pid {process.pid})"
        for failed in death.failed:
            if failed.limit is not None:
                logger.error(
                    "Task %s exceeded its hard time limit of %g s: its child is killed", failed.id, failed.limit
                )
            else:
                logger.error("Task %s is lost with its child, and fails", failed.id)
        if stopping:
            return
        if process.status == 0:
            logger.info("%s left (%s); another takes its place", child, place.leaving or "of itself")
        elif place.error is not None:
            if self.worked:
                logger.error("%s cannot work, another tries in %.1f s: %s", child, place.wait / 2, place.error)
        else:
            known = {failed.id for failed in death.failed}
            tasks = ", ".join(id for id in death.charged if id not in known)
            back = f"; back in the queue, charged with an attempt: {tasks}" if tasks else ""
            level = logging.INFO if place.overdue and not tasks else logging.ERROR
            logger.log(level, "%s %s; another takes its place%s", child, described(process.status), back)
