"""Promises about results and about tasks that follow from tasks: chains, chords, waiters."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from tests.faults.story import Finding, Story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.checker import Rules
    from tests.faults.history import Event

TERMINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})


def check(story: Story, rules: Rules) -> Iterator[Finding]:
    """All findings about flows."""
    yield from _results(story, rules)
    yield from _waits(story)
    for event in story.log.of("chain"):
        yield from _chain(story, event.get("ids", []))
    for event in story.log.of("chord"):
        yield from _chord(story, event)


def implied(story: Story) -> set[str]:
    """Ids that may run although nobody enqueued them: what chains and chords lead to."""
    ids: set[str] = set()
    for event in story.log.of("chain"):
        ids.update(event.get("ids", ()))
    for event in story.log.of("chord"):
        ids.update((event.get("body"), *event.get("members", ())))
        if event.get("errback"):
            ids.add(event.get("errback"))
    for event in story.log.of("start"):
        if event.get("chord"):  # a body under a wrong id has a finding of its own
            ids.add(event.id)
    return ids


def _results(story: Story, rules: Rules) -> Iterator[Finding]:
    final: dict[str, tuple[str, Any]] = {}
    seen: dict[str, str] = {}
    for event in story.log.events:
        if event.kind == "replay":
            final.pop(event.id, None)
        if event.kind != "result":
            continue
        state, value = event.get("state"), event.get("value")
        seen[event.id] = state
        known = final.get(event.id)
        if known is None:
            if state in TERMINAL:
                final[event.id] = (state, value)
                yield from _truthful(story, event)
        elif state not in TERMINAL:
            yield Finding("regression", event.id, f"{state} after {known[0]}")
        elif (state, value) != known:
            yield Finding("conflict", event.id, f"{state} {value!r} after {known[0]} {known[1]!r}")
    if rules.results:
        for id in story.sent:
            if story.completed(id) and seen.get(id) not in TERMINAL:
                yield Finding("unresolved", id, f"completed, but its result is {seen.get(id, 'nowhere')}")


def _truthful(story: Story, event: Event) -> Iterator[Finding]:
    if event.get("state") != "SUCCESS":
        return
    # The result may have been read a moment before the body's last line was.
    values = [each.value for each in story.succeeded(event.id)]
    if not values:
        yield Finding("phantom", event.id, "SUCCESS, but no execution came to its end")
    elif event.get("value") not in values:
        yield Finding("wrong-result", event.id, f"{event.get('value')!r}, but its executions returned {values!r}")


def _waits(story: Story) -> Iterator[Finding]:
    open_waits: dict[str, Event] = {}
    for event in story.log.of("wait"):
        token = event.get("token", "")
        if event.get("phase") == "begin":
            open_waits[token] = event
        elif (begin := open_waits.pop(token, None)) is not None:
            took, timeout = event.at - begin.at, begin.get("timeout")
            if timeout is not None and took > timeout + 1.0:
                yield Finding("hung", event.id, f"get() took {took:.1f} s with a timeout of {timeout} s")
    for event in open_waits.values():
        yield Finding("hung", event.id, "get() never returned")


def _chain(story: Story, ids: list[str]) -> Iterator[Finding]:
    for id, following in itertools.pairwise(ids):
        done = story.succeeded(id)
        later = story.executions.get(following, [])
        for each in later:
            if not done or each.start < done[0].until:
                yield Finding("chain-order", following, f"started before {id} had succeeded")
            elif each.data.get("input") not in [run.value for run in done]:
                yield Finding("chain-input", following, f"got {each.data.get('input')!r} of {id}")
        gone = following in story.dead or following in story.revoked
        if done and not gone and story.completed(following) is None:
            yield Finding("chain-stuck", following, f"{id} succeeded, and it never completed")


def _chord(story: Story, event: Event) -> Iterator[Finding]:
    name, body, errback, members = event.id, event.get("body"), event.get("errback"), event.get("members", [])
    bodies = [each for each in story.all_executions() if each.data.get("chord") == name or each.id == body]
    errbacks = story.executions.get(errback, []) if errback else []
    wrong = {each.id for each in bodies} - {body}
    if wrong:
        yield Finding("chord-ids", name, f"its body is {body}, and ran as {sorted(wrong)}")
    if bodies and errbacks:
        yield Finding("chord-both", name, "its body ran, and its errback as well")
    values = [[each.value for each in story.succeeded(member)] for member in members]
    ends = [story.succeeded(member)[0].until if story.succeeded(member) else None for member in members]
    for each in bodies:
        early = [member for member, end in zip(members, ends, strict=True) if end is None or end > each.start]
        if early:
            yield Finding("chord-early", name, f"its body started before {early[0]} had succeeded")
        given = each.data.get("args")
        if given is not None and not _one_of_each(given, values):
            yield Finding("chord-arguments", name, f"its body got {given!r}")
    settled = all(story.completed(member) or member in story.dead or member in story.revoked for member in members)
    answered = any(each.end is not None for each in (*bodies, *errbacks)) or body in story.dead or body in story.revoked
    if settled and not answered and (errback or all(ends)):
        yield Finding("chord-stuck", name, "every member is done, and neither its body nor its errback completed")


def _one_of_each(given: list[Any], values: list[list[Any]]) -> bool:
    return len(given) == len(values) and all(one in some for one, some in zip(given, values, strict=True))
