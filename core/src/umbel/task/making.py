"""From what the caller of a task said to the call that is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.canvas.compiling import listed
from umbel.canvas.sending import running
from umbel.message.call import Call
from umbel.message.ids import new_id

if TYPE_CHECKING:
    from umbel.message.context import Context
    from umbel.task.owner import Sender

FIELDS = ("retries", "root_id", "parent_id", "group_id", "group_index", "chain", "chord", "replaced_task_nesting")
"""Options that are fields of a call, for workflows."""
FOREIGN = ("producer", "publisher", "connection", "router", "result_cls")
"""Options of Celery's that hand over objects of kombu's, or classes; there is nothing here that could use them."""
_NOT_SENT = frozenset((*FIELDS, *FOREIGN, "link", "link_error", "task_id", "umbel_generation", "add_to_parent"))


def check_containers(args: Any, kwargs: Any) -> None:
    """TypeError for arguments that are no list or mapping."""
    if args is not None and not isinstance(args, (list, tuple)):
        raise TypeError(f"args must be a list or a tuple, not {type(args).__name__}")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs must be a mapping, not {type(kwargs).__name__}")


def make_call(name: str, args: Any, kwargs: Any, options: Mapping[str, Any], app: Sender) -> Call:
    """The call that these options describe, as a child of the task that is running here."""
    call = Call(task=name, id=options.get("task_id") or new_id(), args=args or (), kwargs=kwargs or {})
    request = running()
    if request is not None:
        _descend(call, request, app)
    if options:
        _set(call, options, app)
    return call


def _descend(call: Call, request: Context, app: Sender) -> None:
    call.root_id = request.root_id or request.id
    call.parent_id = request.id
    if app.conf.task_inherit_parent_priority:
        priority = request.delivery_info.get("priority")
        if priority is not None:
            call.options["priority"] = priority


def _set(call: Call, options: Mapping[str, Any], app: Sender) -> None:
    given = {name: value for name, value in options.items() if value is not None}
    for name in FOREIGN:
        if name in given:
            raise NotImplementedError(f"the option {name!r} of Celery's is not supported: messages go to app.broker")
    if "task_id" in given:
        generation = given.get("umbel_generation")
        call.generation = app.next_generations([call.id])[call.id] if generation is None else generation
    for field in FIELDS:
        if field in given:
            setattr(call, field, given[field])
    call.callbacks = listed(given.get("link")) or None
    call.errbacks = listed(given.get("link_error")) or None
    call.options.update((name, value) for name, value in given.items() if name not in _NOT_SENT)
