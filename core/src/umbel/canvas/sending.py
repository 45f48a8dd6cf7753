"""A signature is sent: with the lineage of the task that sends it, in one publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.canvas.compiling import kind_of
from umbel.canvas.plan import plan
from umbel.current import current_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.canvas.plan import Plan
    from umbel.message.context import Context
    from umbel.results.applike import AppLike


def apply_async(sig: Any, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: dict[str, Any]) -> Any:
    """Send a signature of any kind; its handle. Run here and now where `task_always_eager` is set."""
    if args is not None and not isinstance(args, (list, tuple)):
        raise TypeError(f"args must be a list or a tuple, not {type(args).__name__}")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs must be a mapping, not {type(kwargs).__name__}")
    app = sig.app
    if kind_of(sig) is None:
        task = app.tasks.get(sig["task"])
        send = getattr(task, "apply_async", None)
        if send is not None:  # the task's own way of being sent, which a subclass may have changed
            args, kwargs, options = sig._merge(args, kwargs, options)
            return send(args, kwargs, **options)
    if getattr(app.conf, "task_always_eager", False):
        return sig.apply(args, kwargs, **options)
    add_to_parent = options.get("add_to_parent", True)
    request = running()
    if request is not None:
        inherit(request, options, app.conf)
    planned = plan(sig, args or (), kwargs, app=app, **options)
    if planned.calls:
        complete(app, planned)
        app.send(planned.calls)
    if request is not None and add_to_parent and planned.result is not None:
        add_child(request, planned.result)
    return planned.result


def complete(app: AppLike, planned: Plan) -> None:
    """Let the tasks have their say on what is about to be sent: TypeError for arguments that are not theirs.

    What has ids that were used before is sent in their next generation; that takes a look at the store.
    """
    for call in planned.calls:
        task = app.tasks.get(call.task)
        resolved = getattr(task, "resolved", None)
        if task is None or resolved is None:
            continue
        if resolved.checks:
            task.arguments.check(call.args, call.kwargs)
        if resolved.shadows and call.options.get("shadow") is None:
            call.options = {**call.options, "shadow": task.shadow_name(call.args, call.kwargs, call.options)}
    if planned.given:
        generation = max(app.next_generations(planned.given).values(), default=0)
        for call in planned.calls:
            call.generation = generation


def running() -> Context | None:
    """The request of the task that a worker runs here, also from within tasks that it calls as functions."""
    request: Context | None = current_request.get()
    while request is not None and request.called_directly:
        request = request.outer
    return request


def inherit(request: Context, options: dict[str, Any], conf: Any) -> None:
    """Set what a child has of its parent, where the caller has not said otherwise."""
    if options.get("root_id") is None:
        options["root_id"] = request.root_id or request.id
    if options.get("parent_id") is None:
        options["parent_id"] = request.id
    if getattr(conf, "task_inherit_parent_priority", False) and options.get("priority") is None:
        options["priority"] = request.delivery_info.get("priority")


def add_child(request: Context, result: Any) -> None:
    """Note what a task has sent, for its `children`, unless the task leaves no trail."""
    if getattr(request._task, "trail", True):
        request.children.append(result)
