"""Random workflows, what they must come to, and the signatures that say the same to Umbel.

A workflow is a tuple: ("task", name, fails), ("chain", parts), ("group", parts) or ("chord", header, body).
A task's value is its name with the value that it was called with, so that a value shows the way it took.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import strategies as st

from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.group import group

Tree: TypeAlias = tuple[Any, ...]


class Failed(Exception):
    """What the oracle raises where a workflow fails: the names of those that may be blamed."""


def workflows() -> st.SearchStrategy[tuple[bool, Tree]]:
    """Whether to fold it, and a workflow. Folded, a group of one stays a group where it comes first, as in Celery."""
    return st.one_of(st.tuples(st.just(True), trees(2)), st.tuples(st.just(False), trees(1)))


def trees(least: int) -> st.SearchStrategy[Tree]:
    """Workflows of modest size, whose groups have `least` members or more."""
    task = st.builds(lambda fails: ("task", "", fails), st.sampled_from([False] * 9 + [True]))

    def grown(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        parts = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            st.builds(lambda found: ("chain", found), parts),
            st.builds(lambda found: ("group", found), st.lists(inner, min_size=least, max_size=3)),
            st.builds(lambda header, body: ("chord", header, body), st.lists(inner, max_size=3), inner),
        )

    return st.recursive(task, grown, max_leaves=9).map(lambda tree: named(tree, iter(range(1000))))


def named(tree: Tree, numbers: Any) -> Tree:
    """The same, with a name of its own for each task."""
    if tree[0] == "task":
        return ("task", f"t{next(numbers)}", tree[2])
    if tree[0] == "chord":
        return ("chord", [named(part, numbers) for part in tree[1]], named(tree[2], numbers))
    return (tree[0], [named(part, numbers) for part in tree[1]])


def signature_of(tree: Tree, task: Any, *, folded: bool) -> Any:
    """The signature. `folded`: made by `|`, as most people do; else put together as it is."""
    if tree[0] == "task":
        return task.s(name=tree[1], fails=tree[2])
    if tree[0] == "chord":
        header = [signature_of(part, task, folded=folded) for part in tree[1]]
        return chord(header, signature_of(tree[2], task, folded=folded))
    parts = [signature_of(part, task, folded=folded) for part in tree[1]]
    if tree[0] == "group":
        return group(parts)
    return chain(*parts) if folded else chain.of(parts)


# -- the oracle ------------------------------------------------------------------------------------------------------


def steps_of(tree: Tree) -> list[Tree]:
    """A chain without chains in it; a chord's body that is a chain continues it."""
    if tree[0] == "chain":
        found: list[Tree] = []
        for part in tree[1]:
            inner = steps_of(part)
            if len(inner) == 1 and inner[0][0] == "group" and len(members_of(inner[0])) == 1:
                inner = steps_of(members_of(inner[0])[0])  # in a chain a group of one is that one
            found.extend(inner)
        return found
    if tree[0] == "chord":
        first, *rest = steps_of(tree[2])
        return [("chord", tree[1], first), *rest]
    return [tree]


def members_of(tree: Tree) -> list[Tree]:
    """A group's members, groups in it dissolved."""
    found = []
    for part in tree[1]:
        inner = steps_of(part)
        if len(inner) == 1 and inner[0][0] == "group":
            found.extend(members_of(inner[0]))
        else:
            found.append(part)
    return found


def value_of(tree: Tree, given: list[Any]) -> Any:
    """The value of a workflow that is called with `given`; Failed if it fails."""
    for step in steps_of(tree):
        given = [value_of_step(step, given)]
    return given[0]


def value_of_step(step: Tree, given: list[Any]) -> Any:
    kind = step[0]
    if kind == "task":
        if step[2]:
            raise Failed(step[1])
        return [step[1], given]
    outcomes: list[Any] = []
    failures: list[Failed] = []
    for member in members_of(step):
        try:
            outcomes.append(value_of(member, given))
        except Failed as exc:
            failures.append(exc)
    if failures:
        raise Failed(*(name for failure in failures for name in failure.args))
    return value_of(step[2], [outcomes]) if kind == "chord" else outcomes


def tasks_in(tree: Tree) -> list[str]:
    """The names of all tasks."""
    if tree[0] == "task":
        return [tree[1]]
    parts = [*tree[1], tree[2]] if tree[0] == "chord" else tree[1]
    return [name for part in parts for name in tasks_in(part)]


def handled_as(tree: Tree) -> Tree:
    """The workflow whose handle the caller gets: of a group of one that answers with a group, that member's."""
    steps = steps_of(tree)
    if len(steps) == 1 and steps[0][0] == "group":
        members = members_of(steps[0])
        if len(members) == 1 and answers_with_group(members[0]):
            return members[0]
    return tree


def answers_with_group(tree: Tree) -> bool:
    last = steps_of(tree)[-1]
    return answers_with_group(last[2]) if last[0] == "chord" else last[0] == "group"
