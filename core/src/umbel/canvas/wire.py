"""Nodes as signatures that go over the wire: frozen, every id in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas.nodes import Fork, Step

if TYPE_CHECKING:
    from umbel.canvas.nodes import Node, Seq


def signature_of(
    task: str,
    args: list[Any],
    kwargs: dict[str, Any],
    options: dict[str, Any],
    kind: str | None = None,
    immutable: bool = False,
) -> dict[str, Any]:
    """A signature's wire form: Celery's six keys."""
    return {
        "task": task,
        "args": args,
        "kwargs": kwargs,
        "options": options,
        "subtask_type": kind,
        "immutable": immutable,
    }


def wire(node: Node, reply_to: str | None) -> dict[str, Any]:
    """One node, for the `chain` or `chord` field of a message."""
    if isinstance(node, Step):
        return _step(node, reply_to)
    members = [wire_all(member, reply_to) for member in node.members]
    if isinstance(node, Fork):
        return signature_of("celery.group", [], {"tasks": members}, {"task_id": node.id}, "group")
    kwargs = {"kwargs": {}, "header": members, "body": wire(node.body, reply_to)}
    return signature_of("celery.chord", [], kwargs, {"task_id": node.id}, "chord")


def wire_all(seq: Seq, reply_to: str | None) -> dict[str, Any]:
    """A whole list as one signature."""
    if len(seq) == 1:
        return wire(seq[0], reply_to)
    return signature_of("celery.chain", [], {"tasks": [wire(node, reply_to) for node in seq]}, {}, "chain")


def _step(step: Step, reply_to: str | None) -> dict[str, Any]:
    options = {**step.options, "task_id": step.id}
    if reply_to is not None:
        options.setdefault("reply_to", reply_to)
    if step.links:
        options["link"] = step.links
    if step.errors:
        options["link_error"] = step.errors
    if step.chain:
        options["chain"] = step.chain
    if step.group is not None:
        options["group_id"] = step.group
    if step.index is not None:
        options["group_index"] = step.index
    if step.chord is not None:
        options["chord"] = step.chord
    if step.root_id is not None:
        options["root_id"] = step.root_id
    if step.parent_id is not None:
        options["parent_id"] = step.parent_id
    return signature_of(step.task, list(step.args), step.kwargs, options, None, step.immutable)
