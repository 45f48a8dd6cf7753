"""Promises about time: delays, expiry, order, idleness, recovery, exits."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from tests.faults.story import DEADLY, Execution, Fault, Finding, Story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.checker import Rules

TICK = 0.002
"""Seconds by which a message's times (wall clock) and a history's (boot time) may be apart."""


def check(story: Story, rules: Rules) -> Iterator[Finding]:
    """All findings about time."""
    yield from _delays(story, rules)
    yield from _withdrawn(story)
    if rules.fifo:
        yield from _fifo(story)
    if rules.overtake is not None:
        yield from _priority(story, rules.overtake)
    if rules.children is not None:
        pids = {each.pid for each in story.all_executions()}
        if len(pids) < rules.children:
            yield Finding("unused", "", f"{len(pids)} processes ran tasks, of {rules.children}")
    if rules.idle is not None:
        yield from _idle(story, rules.idle, rules.spawn)
    if rules.recovery is not None:
        yield from _recovery(story, rules.recovery, rules.child_recovery or rules.recovery)
    if rules.exit_within is not None:
        yield from _exits(story, rules.exit_within)


class Recovery(NamedTuple):
    """An execution that a kill interrupted, and when its task started again."""

    id: str
    fault: Fault
    seconds: float
    """From the kill."""
    undisturbed: float
    """From the last kill in between that undid what had been done for it; else the same."""


def recoveries(story: Story) -> list[Recovery]:
    """Every execution that a kill interrupted and that has a successor.

    The harness's last kill may leave one for which there is no next start: the task is lost, or was settled by then.
    """
    kills = [fault for fault in story.faults.values() if fault.kind == "kill"]
    found = []
    for id, runs in story.executions.items():
        for each, following in itertools.pairwise(runs):
            killer = each.killer
            if killer is None or killer.kind != "kill":
                continue
            # A child's tasks come back by the word of its supervisor; those of a whole worker by whoever sees it dead.
            again = [
                other.begin
                for other in kills
                if killer.begin < other.begin < following.start and not (is_child(killer) and is_child(other))
            ]
            since = max([killer.begin, *again])
            found.append(Recovery(id, killer, following.start - killer.begin, following.start - since))
    return found


def is_child(fault: Fault) -> bool:
    """Whether it killed a process whose supervisor lived on."""
    return fault.data.get("target") in {"child", "member"}


def _recovery(story: Story, bound: float, child_bound: float) -> Iterator[Finding]:
    for id, fault, seconds, undisturbed in recoveries(story):
        if undisturbed > (child_bound if is_child(fault) else bound):
            again = "" if seconds == undisturbed else f", {undisturbed:.2f} s after the last one"
            yield Finding("slow-recovery", id, f"started again {seconds:.2f} s after the kill {fault.id}{again}")


def _delays(story: Story, rules: Rules) -> Iterator[Finding]:
    for id, sent in story.sent.items():
        eta = sent.data.get("eta")
        runs = story.executions.get(id, [])
        if not eta or not runs:
            continue
        if runs[0].start < eta - TICK:
            yield Finding("early", id, f"started {eta - runs[0].start:.3f} s before its time")
        elif rules.precision is not None and runs[0].start > sent.ready + rules.precision + TICK:
            yield Finding("late", id, f"started {runs[0].start - sent.ready:.3f} s after its time")


def _withdrawn(story: Story) -> Iterator[Finding]:
    for id, runs in story.executions.items():
        sent = story.sent.get(id)
        expires = sent.data.get("expires") if sent else None
        if expires and any(each.start > expires + TICK for each in runs):
            yield Finding("expired-ran", id, "started after it had expired")
        revoked = story.revoked.get(id)
        if revoked is not None and any(each.start > revoked for each in runs):
            yield Finding("revoked-ran", id, "started after its revocation was confirmed")


def _fifo(story: Story) -> Iterator[Finding]:
    position = {id: index for index, id in enumerate(story.sent)}
    last: dict[tuple[str, int], tuple[int, str]] = {}
    for each in story.all_executions():
        if each is not story.executions[each.id][0] or each.id not in position or story.sent[each.id].data.get("eta"):
            continue
        data = story.sent[each.id].data
        key = (data.get("queue", ""), data.get("priority") or 0)
        before = last.get(key, (-1, ""))
        if position[each.id] < before[0]:
            yield Finding("fifo", each.id, f"was sent before {before[1]}, and started after it")
        last[key] = max(before, (position[each.id], each.id))


def _priority(story: Story, overtake: float) -> Iterator[Finding]:
    firsts = [story.executions[id][0] for id in story.sent if story.executions.get(id)]
    for each in firsts:
        mine = story.sent[each.id].data.get("priority") or 0
        for other in firsts:
            sent = story.sent[other.id]
            waited = each.start - sent.ready
            if (sent.data.get("priority") or 0) > mine and waited > overtake and other.start > each.start:
                yield Finding("priority", other.id, f"had waited {waited:.2f} s when {each.id} of a lower one started")
                break


def idle_intervals(story: Story, spawn: float | None = None) -> dict[int, list[tuple[float, float]]]:
    """When each process that ran tasks ran none, from its beginning to its `down` event or its kill.

    It begins with its `up` event, else `spawn` seconds after the first start of all, and at the latest with its own.
    """
    by_pid: dict[int, list[Execution]] = defaultdict(list)
    for each in story.all_executions():
        by_pid[each.pid].append(each)
    up = {event.pid: event.at for event in story.log.of("up")}
    gone = {event.pid: event.at for event in story.log.of("down")}
    gone |= {pid: fault.begin for fault in story.faults.values() if fault.kind in DEADLY for pid in fault.pids}
    latest_up = math.inf if spawn is None else min((runs[0].start for runs in by_pid.values()), default=0.0) + spawn
    intervals: dict[int, list[tuple[float, float]]] = {}
    for pid in {*by_pid, *up}:
        runs = by_pid.get(pid, [])
        edge = up.get(pid, min(runs[0].start, latest_up) if runs else 0.0)
        free = []
        for each in runs:
            if each.start > edge:
                free.append((edge, each.start))
            edge = max(edge, each.until)
        end = gone.get(pid, math.inf)
        if edge < end:
            free.append((edge, end))
        intervals[pid] = free
    return intervals


def _idle(story: Story, bound: float, spawn: float | None) -> Iterator[Finding]:
    waiting = []
    for id, sent in story.sent.items():
        runs = story.executions.get(id)
        if sent.outcome == "ok" and runs:  # what never starts is lost, and found as that
            waiting.append((sent.ready, runs[0].start, id))
    for pid, free in idle_intervals(story, spawn).items():
        for begin, end in free:
            if end - begin <= bound or not waiting:
                continue
            seconds, id = max((min(end, start) - max(begin, ready), id) for ready, start, id in waiting)
            if seconds > bound:
                yield Finding("idle", id, f"was ready for {seconds:.2f} s while pid {pid} was idle")


def _exits(story: Story, bound: float) -> Iterator[Finding]:
    for fault in story.faults.values():
        if fault.kind == "stop" and fault.end - fault.begin > bound:
            yield Finding("slow-exit", fault.id, f"the worker took {fault.end - fault.begin:.2f} s to exit")
