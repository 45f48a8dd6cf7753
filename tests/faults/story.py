"""A history put together: executions with their ends, faults with their victims, promises with their outcomes."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.history import Event, Log

DEADLY = frozenset({"kill", "stop"})
"""Faults that end what their processes run; the others (pause, partition, restart) only disturb it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise."""

    name: str
    id: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.id or '-'}: {self.text}"


@dataclass(slots=True)
class Fault:
    """Something done to the processes on purpose."""

    id: str
    kind: str
    begin: float
    end: float = math.inf
    pids: frozenset[int] = frozenset()
    """Empty: it concerned all."""
    data: dict[str, Any] = field(default_factory=dict)

    def touches(self, execution: Execution, settlement: float) -> bool:
        """Whether the execution's delivery may have been open; it is for a while after the body's end."""
        if self.kind == "stop":  # who is stopped settles what has ended
            return execution.killer is self
        if self.pids and execution.pid not in self.pids:
            return False
        return execution.start <= self.end and execution.until + settlement >= self.begin


@dataclass(slots=True)
class Execution:
    """One run of a body."""

    id: str
    token: str
    pid: int
    start: float
    data: dict[str, Any]
    end: float | None = None
    outcome: str = ""
    """ok, error, retry, ignored; empty where the body never came to its end."""
    value: Any = None
    killer: Fault | None = None

    @property
    def until(self) -> float:
        """When it was over, by its own end or by a kill."""
        if self.end is not None:
            return self.end
        return math.inf if self.killer is None else max(self.killer.begin, self.start)


@dataclass(slots=True)
class Sent:
    """One publication of a task, and what its sender was told."""

    id: str
    invoked: float
    data: dict[str, Any]
    outcome: str = ""
    """ok, fail (certainly not sent), info (unknown); empty: never answered."""
    answered: float = math.inf

    @property
    def ready(self) -> float:
        """From when on it may be run."""
        return max(self.answered, self.data.get("eta") or 0.0)


@dataclass(slots=True)
class Story:
    """All of a history, by subject."""

    log: Log
    sent: dict[str, Sent] = field(default_factory=dict)
    executions: dict[str, list[Execution]] = field(default_factory=lambda: defaultdict(list))
    """By task, in the order of their starts."""
    faults: dict[str, Fault] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    revoked: dict[str, float] = field(default_factory=dict)
    replayed: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    malformed: list[Finding] = field(default_factory=list)

    @property
    def last(self) -> float:
        """When the history ends."""
        return self.log.events[-1].at if self.log.events else 0.0

    def all_executions(self) -> list[Execution]:
        """Every execution, in the order of starts."""
        return sorted((each for runs in self.executions.values() for each in runs), key=lambda each: each.start)

    def completed(self, id: str) -> Execution | None:
        """The first execution that came to a good end; an error that is not retried is an end as well."""
        done = [each for each in self.executions.get(id, ()) if each.outcome in {"ok", "error", "ignored"}]
        return min(done, key=lambda each: each.until) if done else None

    def succeeded(self, id: str) -> list[Execution]:
        """The executions that returned, by their ends."""
        return sorted((each for each in self.executions.get(id, ()) if each.outcome == "ok"), key=lambda e: e.until)

    def expired(self, id: str) -> bool:
        """Whether it may have been dropped for its age."""
        sent = self.sent.get(id)
        return sent is not None and (sent.data.get("expires") or math.inf) <= self.last


def tell(log: Log) -> Story:
    """Put a history together; what makes no sense is in `malformed`."""
    story = Story(log)
    running: dict[str, Execution] = {}
    for event in log.events:
        match event.kind:
            case "enqueue":
                _enqueue(story, event)
            case "start":
                _start(story, running, event)
            case "end":
                _end(story, running, event)
            case "fault":
                _fault(story, event)
            case "dead":
                story.dead.setdefault(event.id, event.at)
            case "revoke":
                story.revoked.setdefault(event.id, event.at)
            case "replay":
                story.replayed[event.id].append(event.at)
                story.dead.pop(event.id, None)
    for fault in story.faults.values():
        if math.isinf(fault.end):
            story.malformed.append(Finding("malformed", fault.id, f"the fault {fault.kind} has no end"))
    _find_killers(story, running)
    boots = {event.boot for event in log.events}
    if len(boots) > 1:
        story.malformed.append(Finding("rebooted", "", f"events of {len(boots)} boots: their times cannot be compared"))
    return story


def _enqueue(story: Story, event: Event) -> None:
    outcome = event.get("outcome")
    sent = story.sent.get(event.id)
    if outcome == "invoke":
        if sent is not None and not sent.outcome:
            story.malformed.append(Finding("malformed", event.id, "sent again before the first sending was answered"))
        elif sent is None or sent.outcome == "fail":
            story.sent[event.id] = Sent(event.id, event.at, event.data)
    elif sent is None:
        story.malformed.append(Finding("malformed", event.id, f"the answer {outcome} to a sending that never was"))
    elif sent.outcome != "ok":  # a retry under the same id may turn an unknown outcome into a known one
        sent.outcome, sent.answered = outcome, event.at


def _start(story: Story, running: dict[str, Execution], event: Event) -> None:
    token = event.get("token", "")
    if any(each.token == token for each in story.executions.get(event.id, ())):
        story.malformed.append(Finding("malformed", event.id, f"the execution {token} started twice"))
        return
    execution = Execution(event.id, token, event.pid, event.at, event.data)
    story.executions[event.id].append(execution)
    running[token] = execution


def _end(story: Story, running: dict[str, Execution], event: Event) -> None:
    execution = running.pop(event.get("token", ""), None)
    if execution is None or execution.id != event.id or execution.pid != event.pid:
        story.malformed.append(Finding("malformed", event.id, f"an end without its start (pid {event.pid})"))
        return
    execution.end = event.at
    execution.outcome = event.get("outcome", "ok")
    execution.value = event.get("value")


def _fault(story: Story, event: Event) -> None:
    phase = event.get("phase")
    if phase == "end":
        if event.id not in story.faults:
            story.malformed.append(Finding("malformed", event.id, "the end of a fault that never began"))
        else:
            story.faults[event.id].end = event.at
            story.faults[event.id].data.update(event.data)
        return
    end = event.at if phase == "point" else math.inf
    pids = frozenset(event.get("pids") or ())
    story.faults[event.id] = Fault(event.id, event.get("kind", ""), event.at, end, pids, dict(event.data))


def _find_killers(story: Story, running: dict[str, Execution]) -> None:
    deadly = [fault for fault in story.faults.values() if fault.kind in DEADLY]
    for execution in running.values():
        for fault in deadly:
            if execution.pid in fault.pids and execution.start <= fault.end:
                execution.killer = fault
                break
