"""A signature is sent: with the lineage of the task that sends it, in one publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.canvas.plan import plan
from umbel.current import current_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.message.context import Context


def apply_async(sig: Any, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: dict[str, Any]) -> Any:
    """Send a signature of any kind; its handle. Run here and now where `task_always_eager` is set."""
    if args is not None and not isinstance(args, (list, tuple)):
        raise TypeError(f"args must be a list or a tuple, not {type(args).__name__}")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs must be a mapping, not {type(kwargs).__name__}")
    app = sig.app
    if getattr(app.conf, "task_always_eager", False):
        return sig.apply(args, kwargs, **options)
    add_to_parent = options.pop("add_to_parent", True)
    request = running()
    if request is not None:
        inherit(request, options, app.conf)
    planned = plan(sig, args or (), kwargs, app=app, **options)
    if planned.calls:
        app.send(planned.calls)
    if request is not None and add_to_parent and planned.result is not None:
        add_child(request, planned.result)
    return planned.result


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
