"""A workflow, resolved: a sequence of steps, in which no group is followed by anything.

Every signature becomes a list of nodes. The list is run from the left; each node gets the value of the one before.
A group with something behind it has become a `Gather`; a `Fork` can only be last.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from umbel.message.ids import derived_id

ACCUMULATE = "celery.accumulate"
"""The built-in task that makes one value of a group which has to answer as one member of a chord."""


class Step:
    """One task."""

    __slots__ = (
        "args",
        "chain",
        "chord",
        "errors",
        "group",
        "id",
        "immutable",
        "index",
        "kwargs",
        "links",
        "nesting",
        "options",
        "parent_id",
        "retries",
        "root_id",
        "task",
    )

    def __init__(self, task: str, id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.task = task
        self.id = id
        self.args = args
        self.kwargs = kwargs
        self.options: dict[str, Any] = {}
        self.immutable = False
        self.links: list[Any] | None = None
        self.errors: list[Any] | None = None
        self.chain: list[Any] | None = None
        """What follows it, frozen and reversed; only on the last node of a list."""
        self.group: str | None = None
        self.index: int | None = None
        self.chord: Any = None
        """The body that it is a member for, in its wire form."""
        self.root_id: str | None = None
        self.parent_id: str | None = None
        self.retries = 0
        self.nesting = 0


class Fork:
    """Several lists of nodes side by side, and nothing behind them."""

    __slots__ = ("id", "members")

    def __init__(self, id: str, members: list[Seq]) -> None:
        self.id = id
        self.members = members


class Gather:
    """Several lists of nodes side by side, and the node that gets all their values. `id` names the barrier."""

    __slots__ = ("body", "id", "members")

    def __init__(self, id: str, members: list[Seq], body: Node) -> None:
        self.id = id
        self.members = members
        self.body = body


Node: TypeAlias = Step | Fork | Gather
Seq: TypeAlias = list[Node]


def innermost(node: Node) -> Step | Fork:
    """The node whose value is this one's: the body of the body of a chord."""
    while isinstance(node, Gather):
        node = node.body
    return node


def extend(seq: Seq, node: Node) -> None:
    """Put a node behind a list: behind a group it becomes the body of a chord."""
    if not seq:
        seq.append(node)
    elif isinstance(node, Fork) and not node.members:
        pass  # an empty group passes for nothing where there is anything else
    else:
        last = seq[-1]
        end = innermost(last)
        if not isinstance(end, Fork):
            seq.append(node)
        elif last is end:
            seq[-1] = gather(end.id, end.members, node) if end.members else node
        else:
            above = last
            while isinstance(above, Gather) and above.body is not end:
                above = above.body
            assert isinstance(above, Gather)
            above.body = gather(end.id, end.members, node) if end.members else node


def gather(id: str, members: list[Seq], body: Node) -> Gather:
    """A chord, each of whose members answers with one value."""
    for seq in members:
        end = innermost(seq[-1])
        if isinstance(end, Fork):
            extend(seq, Step(ACCUMULATE, derived_id(end.id, "accumulate"), (), {"index": 0}))
    return Gather(id, members, body)


def prepend(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Give a node arguments, before its own; an immutable task keeps what it has."""
    if isinstance(node, Step):
        if not node.immutable:
            if args:
                node.args = args + node.args
            if kwargs:
                node.kwargs = {**node.kwargs, **kwargs}
    else:
        for seq in node.members:
            prepend(seq[0], args, kwargs)


WAITS = frozenset(("countdown", "eta"))
"""Options that delay a whole: a chord's header has them, its body must not wait once more."""


def apply_options(node: Node, options: dict[str, Any]) -> None:
    """Let execution options win over a node's own."""
    if isinstance(node, Step):
        node.options = {**node.options, **options}
        return
    for seq in node.members:
        apply_options(seq[0], options)
    if isinstance(node, Gather):
        waits = node.members and not WAITS.isdisjoint(options)
        apply_options(
            node.body, {name: value for name, value in options.items() if name not in WAITS} if waits else options
        )


def add_links(seq: Seq, links: list[Any]) -> None:
    """Callbacks of the whole: the last task's. A group's are called once, for its first member, with no value."""
    end = innermost(seq[-1])
    if isinstance(end, Step):
        end.links = merged(end.links, links)
    elif end.members:
        add_links(end.members[0], [{**link, "immutable": True} for link in links])


def add_errors(seq: Seq, errors: list[Any], *, header: bool) -> None:
    """Errbacks of the whole: of every task in it, but of chords' members only with `header`."""
    for node in seq:
        if isinstance(node, Step):
            node.errors = merged(node.errors, errors)
        elif isinstance(node, Fork):
            for member in node.members:
                add_errors(member, errors, header=header)
        else:
            if header:
                for member in node.members:
                    add_errors(member, errors, header=header)
            add_errors([node.body], errors, header=header)


def attach(seq: Seq, group: str | None, index: int | None, chord: Any) -> None:
    """Make the whole a member: its last task answers for it."""
    end = innermost(seq[-1])
    if isinstance(end, Step):
        end.group, end.index, end.chord = group, index, chord


def merged(have: list[Any] | None, more: list[Any]) -> list[Any]:
    """Both, without what is there already."""
    result = list(have or ())
    for item in more:
        if item not in result:
            result.append(item)
    return result
