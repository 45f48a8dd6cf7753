"""Which promises a history breaks. It knows only what task bodies, senders and the harness wrote."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults import flows, timing
from tests.faults.story import DEADLY, Finding, Story, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.history import Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What was promised; None means that nothing was."""

    settlement: float = 1.0
    """Seconds after its end during which an execution may not have been settled, so that a kill repeats it."""
    lease: float | None = None
    """Seconds; a pause or partition that is longer may make two executions of a task overlap."""
    precision: float | None = None
    """Seconds by which a delayed task may start late."""
    fifo: bool = False
    """One worker slot, and a queue that declares its order."""
    overtake: float | None = None
    """One worker slot: seconds within which a task of a higher priority goes first."""
    idle: float | None = None
    """Seconds for which a ready task may wait while a child is idle."""
    spawn: float | None = None
    """Seconds after the first start of all by which every child is up, so that it is idle if it has nothing."""
    children: int | None = None
    """Processes that must all have taken part."""
    recovery: float | None = None
    """Seconds from a kill, the last one if several came meanwhile, to the next start of what it interrupted."""
    child_recovery: float | None = None
    """The same where a child alone was killed, if that is less."""
    delivery_limit: int | None = None
    """Starts after which a task goes to the dead letters."""
    exit_within: float | None = None
    """Seconds that a stopped worker may take to exit."""
    quiescent: bool = False
    """The harness looked into the broker after the end, and found nothing."""
    results: bool = False
    """The harness read every result after the end."""


def check(log: Log, rules: Rules | None = None) -> list[Finding]:
    """All broken promises; none means that the history is good."""
    rules = rules or Rules()
    story = tell(log)
    findings = list(story.malformed)
    for find in (
        _torn,
        _lost,
        _unexpected,
        _answers,
        _duplicated,
        _overlap,
        _vanished,
        _survivors,
        _dead,
        _acks,
        _quiescent,
    ):
        findings += find(story, rules)
    findings += flows.check(story, rules)
    findings += timing.check(story, rules)
    return findings


def _torn(story: Story, rules: Rules) -> Iterator[Finding]:
    kills = sum(max(1, len(fault.pids)) for fault in story.faults.values() if fault.kind in DEADLY)
    if story.log.torn > kills:
        yield Finding("torn", "", f"{story.log.torn} unreadable lines, but only {kills} processes were killed")


def _lost(story: Story, rules: Rules) -> Iterator[Finding]:
    for id, sent in story.sent.items():
        if sent.outcome != "ok" or story.completed(id) or id in story.dead or id in story.revoked or story.expired(id):
            continue
        runs = len(story.executions.get(id, ()))
        yield Finding("lost", id, f"sent and confirmed, started {runs} times, never completed")


def _unexpected(story: Story, rules: Rules) -> Iterator[Finding]:
    known = set(story.sent) | flows.implied(story)
    for id in story.executions:
        if id not in known:
            yield Finding("unexpected", id, "ran, but nobody sent it")
        elif id in story.sent and story.sent[id].outcome == "fail":
            yield Finding("false-failure", id, "ran, though its sender was told that it certainly was not sent")


def _answers(story: Story, rules: Rules) -> Iterator[Finding]:
    for id, sent in story.sent.items():
        if not sent.outcome:
            yield Finding("unanswered", id, "its sending neither succeeded nor failed")
        elif (deadline := sent.data.get("deadline")) and sent.answered > sent.invoked + deadline:
            yield Finding("late-answer", id, f"sending took {sent.answered - sent.invoked:.2f} s of {deadline} s")


def _duplicated(story: Story, rules: Rules) -> Iterator[Finding]:
    for id, runs in story.executions.items():
        again = len(runs) - 1 - sum(each.outcome == "retry" for each in runs) - len(story.replayed.get(id, ()))
        if again <= 0:
            continue
        faults = [
            fault.id for fault in story.faults.values() if any(fault.touches(each, rules.settlement) for each in runs)
        ]
        if again > len(faults):
            yield Finding("duplicated", id, f"ran {len(runs)} times, with {len(faults)} faults while it was delivered")


def _overlap(story: Story, rules: Rules) -> Iterator[Finding]:
    long_faults = [
        fault
        for fault in story.faults.values()
        if fault.kind not in DEADLY and rules.lease is not None and fault.end - fault.begin > rules.lease
    ]
    for id, runs in story.executions.items():
        for first, second in itertools.pairwise(runs):
            excused = any(fault.touches(first, 0.0) for fault in long_faults)
            if second.start < first.until and not excused:
                yield Finding("overlap", id, f"pid {second.pid} started it while pid {first.pid} was running it")


def _vanished(story: Story, rules: Rules) -> Iterator[Finding]:
    for each in story.all_executions():
        if each.end is None and each.killer is None:
            yield Finding("vanished", each.id, f"started in pid {each.pid}, which nobody killed, and never ended")


def _survivors(story: Story, rules: Rules) -> Iterator[Finding]:
    for fault in story.faults.values():
        if fault.data.get("survivors"):
            yield Finding("survived", fault.id, f"still alive after the {fault.kind}: {fault.data['survivors']}")


def _dead(story: Story, rules: Rules) -> Iterator[Finding]:
    limit = rules.delivery_limit
    for id, at in story.dead.items():
        runs = story.executions.get(id, [])
        poison = id in story.sent and story.sent[id].data.get("poison")
        # A dead-lettered task may have completed: killed before it was settled each time.
        if not poison and (limit is None or len(runs) < limit):
            yield Finding("blamed", id, f"is a dead letter after {len(runs)} starts, and was not poison")
        if any(each.start > at for each in runs):
            yield Finding("undead", id, "ran after it went to the dead letters, and nobody replayed it")
    for id, runs in story.executions.items():
        charged = len(runs) - sum(each.outcome == "retry" for each in runs)
        allowed = limit and limit * (1 + len(story.replayed.get(id, ())))
        if allowed and charged > allowed:
            yield Finding("uncapped", id, f"started {charged} times with a limit of {limit}")


def _acks(story: Story, rules: Rules) -> Iterator[Finding]:
    latest: dict[str, str] = {}
    settled: set[str] = set()
    for event in story.log.events:
        token = event.get("token", "")
        if event.kind in {"deliver", "start"}:
            latest[event.id] = token
        elif event.kind == "replay":
            settled.discard(event.id)
        elif event.kind == "ack" and event.get("outcome") == "applied":
            if latest.get(event.id, token) != token:
                yield Finding("stale-accepted", event.id, f"the ack of {token} after it was delivered to another")
            elif event.id in settled:
                yield Finding("stale-accepted", event.id, f"the ack of {token} after it had been settled")
            settled.add(event.id)


def _quiescent(story: Story, rules: Rules) -> Iterator[Finding]:
    looks = story.log.of("quiescence")
    if rules.quiescent and not looks:
        yield Finding("unobserved", "", "nobody looked into the broker after the end")
    if looks:
        left = {name: value for name, value in looks[-1].data.items() if value}
        if left:
            yield Finding("leftover", "", f"still in the broker after the end: {left}")
    for event in story.log.of("integrity"):
        if event.get("answer") != "ok":
            yield Finding("corrupt", event.id, str(event.get("answer")))


CHECKS = (
    *(_torn, _lost, _unexpected, _answers, _duplicated, _overlap),
    *(_vanished, _survivors, _dead, _acks, _quiescent),
    *(flows.check, timing.check),
)
