"""Signatures, as objects or as they come over the wire, become nodes with ids. Nothing that is given is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.canvas.nodes import (
    Fork,
    Seq,
    Step,
    add_errors,
    add_links,
    apply_options,
    attach,
    extend,
    gather,
    innermost,
    prepend,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FOREIGN = frozenset(("producer", "connection", "publisher", "router", "result_cls"))
"""Options of Celery's that hand over objects of kombu's, or classes; there is nothing here that could use them."""
_PLUMBING = frozenset(
    (
        "task_id group_id group_index chord chord_size chain link link_error root_id parent_id retries "
        "replaced_task_nesting add_to_parent"
    ).split()
)


def kind_of(sig: Mapping[str, Any]) -> str | None:
    """chain, group or chord; None for a task."""
    kind = sig.get("subtask_type")
    return kind if kind in ("chain", "group", "chord") else None


def listed(value: Any) -> list[Any]:
    """One signature, several, or none, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something. NotImplementedError for one that nobody here would heed."""
    given = {name: value for name, value in options.items() if value is not None}
    if not FOREIGN.isdisjoint(given):
        name = min(FOREIGN.intersection(given))
        raise NotImplementedError(f"the option {name!r} of Celery's is not supported: messages go to app.broker")
    return given


class Compiler:
    """Makes nodes; `ids` makes the ids of tasks and groups that have none."""

    def __init__(self, ids: Callable[[], str], *, header_errors: bool = False) -> None:
        self._ids = ids
        self._header_errors = header_errors
        self.given: list[str] = []
        """The ids of tasks that were not made here."""

    def compile(self, sig: Mapping[str, Any]) -> Seq:
        """The nodes of a signature; an empty list for an empty chain."""
        if not isinstance(sig, Mapping) or not isinstance(sig.get("task"), str):
            raise TypeError(f"not a signature: {sig!r:.100} (of a task, take task.s(...))")
        kind = kind_of(sig)
        if kind is None:
            return [self._step(sig)]
        seq = self._chain(sig) if kind == "chain" else self._group(sig) if kind == "group" else self._chord(sig)
        if seq:
            self._apply(seq, sig)
        return seq

    def continued(self, seq: Seq, chain: Sequence[Any]) -> None:
        """Put behind a list what is to follow it, frozen and reversed."""
        end = innermost(seq[-1])
        if isinstance(end, Step):
            end.chain = [*chain, *(end.chain or ())]
        else:
            for sig in reversed(chain):
                for node in self.compile(sig):
                    extend(seq, node)

    def _step(self, sig: Mapping[str, Any]) -> Step:
        options = sig.get("options")
        given = _given(options) if options else {}
        id = given.get("task_id")
        if id:
            self.given.append(id)
        step = Step(
            sig["task"],
            id or self._ids(),
            tuple(sig.get("args") or ()),
            dict(sig.get("kwargs") or ()),
        )
        step.immutable = bool(sig.get("immutable"))
        if given:
            self._set(step, given)
        return step

    @staticmethod
    def _set(step: Step, given: dict[str, Any]) -> None:
        step.links = listed(given.get("link")) or None
        step.errors = listed(given.get("link_error")) or None
        step.chain = given.get("chain")
        step.group = given.get("group_id")
        step.index = given.get("group_index")
        step.chord = given.get("chord")
        step.root_id = given.get("root_id")
        step.parent_id = given.get("parent_id")
        step.retries = given.get("retries", 0)
        step.nesting = given.get("replaced_task_nesting", 0)
        step.options = {name: value for name, value in given.items() if name not in _PLUMBING}

    def _chain(self, sig: Mapping[str, Any]) -> Seq:
        seq: Seq = []
        for task in sig["kwargs"]["tasks"]:
            part = self.compile(task)
            if len(part) == 1 and isinstance(part[0], Fork) and len(part[0].members) == 1:
                part = part[0].members[0]  # a group of one is that one
            for node in part:
                extend(seq, node)
        return seq

    def _group(self, sig: Mapping[str, Any]) -> Seq:
        id = (sig.get("options") or {}).get("task_id") or self._ids()
        return [Fork(id, self._members(sig["kwargs"]["tasks"]))]

    def _members(self, tasks: Any) -> list[Seq]:
        members = []
        for task in tasks:
            seq = self.compile(task)
            if len(seq) == 1 and isinstance(seq[0], Fork):
                members.extend(seq[0].members)  # groups in groups are one group
            elif seq:
                members.append(seq)
        return members

    def _chord(self, sig: Mapping[str, Any]) -> Seq:
        kwargs = sig["kwargs"]
        header = kwargs["header"]
        body = kwargs.get("body")
        if body is None:
            raise ValueError("this chord has no body: chord(header)(body), or chord(header, body)")
        tasks = [header] if isinstance(header, Mapping) else header
        id = (sig.get("options") or {}).get("task_id") or self._ids()
        members = self._members(tasks)
        behind = self.compile(body)
        if not behind:
            raise ValueError("the body of this chord is an empty chain")
        seq: Seq = [gather(id, members, behind[0])]
        for node in behind[1:]:
            extend(seq, node)
        return seq

    def _apply(self, seq: Seq, sig: Mapping[str, Any]) -> None:
        """What is said of the whole: partial arguments, options, callbacks, what follows."""
        args, items = sig.get("args"), sig["kwargs"]
        of_header = kind_of(sig) == "chord"
        kwargs = items.get("kwargs") or {} if of_header else {key: items[key] for key in items if key != "tasks"}
        if (args or kwargs) and not sig.get("immutable"):
            prepend(seq[0], tuple(args or ()), dict(kwargs))
        options = sig.get("options")
        if options:
            self.apply(seq, options, whole_id=kind_of(sig) == "chain")

    def apply(self, seq: Seq, options: Mapping[str, Any], *, whole_id: bool = True) -> None:
        """Options of a whole. With `whole_id`, `task_id` is that of its last task; else it was the group's."""
        given = _given(options)
        if whole_id and "task_id" in given:
            innermost(seq[-1]).id = given["task_id"]
            self.given.append(given["task_id"])
        if "link" in given:
            add_links(seq, listed(given["link"]))
        if "link_error" in given:
            add_errors(seq, listed(given["link_error"]), header=self._header_errors)
        if "group_id" in given or "chord" in given:
            attach(seq, given.get("group_id"), given.get("group_index"), given.get("chord"))
        if given.get("chain"):
            self.continued(seq, given["chain"])
        execution = {name: value for name, value in given.items() if name not in _PLUMBING}
        if execution:
            apply_options(seq[0], execution)


def freeze_ids(sig: Any, ids: Callable[[], str], id: str | None, options: Mapping[str, Any]) -> None:
    """Give everything in a signature an id, in place; what has one keeps it. `id` is for the one that answers."""
    kind = kind_of(sig)
    if kind == "chain":
        tasks = sig["kwargs"]["tasks"]
        for task in tasks:
            freeze_ids(task, ids, id if task is tasks[-1] else None, options)
        return
    if kind is None:
        for name, value in options.items():
            if value is not None:
                sig["options"].setdefault(name, value)
    if not sig["options"].get("task_id"):
        sig["options"]["task_id"] = (id if kind != "chord" else None) or ids()
    if kind == "group":
        for task in sig["kwargs"]["tasks"]:
            freeze_ids(task, ids, None, options)
    elif kind == "chord":
        header = sig["kwargs"]["header"]
        for task in [header] if isinstance(header, Mapping) else header:
            freeze_ids(task, ids, None, options)
        freeze_ids(sig["kwargs"]["body"], ids, id, options)
