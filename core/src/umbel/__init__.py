"""Umbel: a task queue toolkit. Celery's calling API on a small core, where every transport is a plugin."""

from __future__ import annotations

from importlib import import_module

from umbel.version import __version__

TYPE_CHECKING = False  # type checkers know the name; to import `typing` for it would take longer than all the rest

if TYPE_CHECKING:
    from typing import Any

    from umbel import exceptions, signals, states
    from umbel.app.base import Celery, Umbel
    from umbel.app.sharing import current_app, current_task, shared_task
    from umbel.canvas.chain import chain
    from umbel.canvas.chord import chord
    from umbel.canvas.chunks import chunks, xmap, xstarmap
    from umbel.canvas.group import group
    from umbel.canvas.signature import Signature, maybe_signature, signature
    from umbel.message.ids import new_id as uuid
    from umbel.results.base import result_from_tuple
    from umbel.results.eager import EagerResult
    from umbel.results.group import GroupResult
    from umbel.results.guard import allow_join_result
    from umbel.results.result import AsyncResult
    from umbel.results.resultset import ResultSet
    from umbel.routing.queues import Broadcast, Exchange, Queue, binding
    from umbel.task.task import Context, Task

# The one table of lazy exports: a module is imported when somebody uses a name of its, so `import umbel` costs nothing.
_EXPORTS = {
    "Umbel": "umbel.app.base",
    "Celery": "umbel.app.base",
    "Task": "umbel.task.task",
    "Context": "umbel.task.task",
    "shared_task": "umbel.app.sharing",
    "current_app": "umbel.app.sharing",
    "current_task": "umbel.app.sharing",
    "chain": "umbel.canvas.chain",
    "group": "umbel.canvas.group",
    "chord": "umbel.canvas.chord",
    "chunks": "umbel.canvas.chunks",
    "xmap": "umbel.canvas.chunks",
    "xstarmap": "umbel.canvas.chunks",
    "Signature": "umbel.canvas.signature",
    "signature": "umbel.canvas.signature",
    "maybe_signature": "umbel.canvas.signature",
    "AsyncResult": "umbel.results.result",
    "EagerResult": "umbel.results.eager",
    "GroupResult": "umbel.results.group",
    "ResultSet": "umbel.results.resultset",
    "result_from_tuple": "umbel.results.base",
    "allow_join_result": "umbel.results.guard",
    "Queue": "umbel.routing.queues",
    "Exchange": "umbel.routing.queues",
    "Broadcast": "umbel.routing.queues",
    "binding": "umbel.routing.queues",
    "uuid": "umbel.message.ids:new_id",
    "exceptions": "umbel.exceptions:",
    "signals": "umbel.signals:",
    "states": "umbel.states:",
}
"""Where each name is: in the module under the same name, under another after the colon, or the module itself."""

__all__ = [
    "AsyncResult",
    "Broadcast",
    "Celery",
    "Context",
    "EagerResult",
    "Exchange",
    "GroupResult",
    "Queue",
    "ResultSet",
    "Signature",
    "Task",
    "Umbel",
    "__version__",
    "allow_join_result",
    "binding",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "exceptions",
    "group",
    "maybe_signature",
    "result_from_tuple",
    "shared_task",
    "signals",
    "signature",
    "states",
    "uuid",
    "xmap",
    "xstarmap",
]


if not TYPE_CHECKING:  # else a type checker would believe any name

    def __getattr__(name: str) -> Any:
        place = _EXPORTS.get(name)
        if place is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, colon, other = place.partition(":")
        found: Any = import_module(module)
        if other or not colon:
            found = getattr(found, other or name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
