"""A workflow, run here and now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas.nodes import Fork, Node, Seq, Step, prepend
from umbel.canvas.plan import compiler_of
from umbel.message.ids import new_id
from umbel.results.group import GroupResult
from umbel.states import IGNORED, REJECTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from umbel.canvas.signature import Signature
    from umbel.results.applike import AppLike


def run(
    sig: Signature, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Any:
    """The last task's EagerResult, or a GroupResult of such; a failed step's error is raised."""
    app = sig.app
    compiler = compiler_of(app, new_id)
    seq = compiler.compile(sig)
    if not seq:
        return None
    if args or kwargs:
        prepend(seq[0], tuple(args or ()), dict(kwargs or ()))
    compiler.apply(seq, options)
    return _run(seq, app)


def _run(seq: Seq, app: AppLike) -> Any:
    last: Any = None
    for node in seq:
        if last is not None:
            if getattr(last, "state", None) in (IGNORED, REJECTED):
                return last
            prepend(node, (_value(last),), {})
        last = _run_node(node, app, last)
    return last


def _run_node(node: Node, app: AppLike, parent: Any) -> Any:
    if isinstance(node, Step):
        options = dict(node.options)
        for name, value in (("link", node.links), ("link_error", node.errors)):
            if value:
                options[name] = value
        result = app.tasks[node.task].apply(node.args, node.kwargs, task_id=node.id, **options)
        result.parent = parent
        return result
    members = GroupResult(node.id, [_run(member, app) for member in node.members], parent=parent, app=app)
    if isinstance(node, Fork):
        return members
    prepend(node.body, (_value(members),), {})
    return _run_node(node.body, app, members)


def _value(result: Any) -> Any:
    """The value, raised if it is an error; without asking whether a task may wait, since nothing waits."""
    return result.get(disable_sync_subtasks=False)
