"""What a worker refuses to start with, and what it warns of."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from umbel.exceptions import ImproperlyConfigured
from umbel.worker.processes import CAN_FORK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.worker.options import WorkerOptions

POOLS = {"prefork": "prefork", "processes": "prefork", "threads": "threads", "solo": "solo"}
"""What may be asked for, and what it means."""
_KEPT = {"prefork": frozenset({"soft", "hard"}), "solo": frozenset({"soft"}), "threads": frozenset[str]()}
"""The time limits that a pool keeps, of plain functions: a coroutine is cancelled by either, in every pool."""


def checked_pool(name: str, *, asked: bool) -> str:
    """The pool that is meant; a default that this system cannot run is replaced, what was `asked` for is refused."""
    pool = POOLS.get(name)
    if pool is None:
        raise ImproperlyConfigured(
            f"pool {name!r} is not one of prefork, threads, solo (coroutines run in each of them)"
        )
    if pool == "prefork" and not CAN_FORK:
        if asked:
            raise ImproperlyConfigured("prefork needs fork, which this system does not have: use -P threads or -P solo")
        return "threads"
    return pool


def check(app: Any, options: WorkerOptions) -> list[str]:
    """Sentences about what the user should know; ImproperlyConfigured for what cannot work."""
    _check_reach(app, options)
    notes = []
    tasks = [app.tasks[name] for name in sorted(app.tasks) if not name.startswith("celery.")]
    for kind in ("soft", "hard"):
        if kind not in _KEPT[options.pool]:
            notes += _check_limit(tasks, options, kind)
    _check_leases(app, options, tasks)
    if not CAN_FORK:
        notes.append("this system cannot fork: all tasks share this process, and nobody replaces it if it dies")
    elif embedded(app, options):
        notes.append("all tasks share this process, and nobody replaces it if it dies")
    return notes


def embedded(app: Any, options: WorkerOptions) -> bool:
    """Whether all is done in this process, without supervisor and agent."""
    return options.pool == "solo" or not CAN_FORK or not app.broker.capabilities.processes


def _check_reach(app: Any, options: WorkerOptions) -> None:
    if options.pool != "prefork":
        return
    if not app.broker.capabilities.processes:
        raise ImproperlyConfigured(
            f"{_scheme(app.broker_url)} lives in one process, out of reach for the processes of the prefork pool: "
            "use -P threads or -P solo, or a broker such as sqlite:///queue.db"
        )
    if app.backend is not None and not app.backend.processes:
        raise ImproperlyConfigured(
            f"result_backend {_scheme(app.result_url)} lives in one process, and what the "
            "processes of the prefork pool put there is out of reach for everybody else: use -P threads or -P solo, "
            "or a store such as sqlite:///queue.db"
        )


def _check_limit(tasks: Sequence[Any], options: WorkerOptions, kind: str) -> list[str]:
    """A task's own limit that the pool cannot keep is an error, the general one a warning."""
    field = "time_limit" if kind == "hard" else "soft_time_limit"
    instead = "prefork" if kind == "hard" else "prefork or solo"
    plain = [task for task in tasks if not inspect.iscoroutinefunction(inspect.unwrap(task.run))]
    for task in plain:
        limit = getattr(task, field)
        if limit is not None:
            raise ImproperlyConfigured(
                f"task {task.name} has {field}={limit:g}, which the pool {options.pool} cannot keep: "
                f"use -P {instead}, or make the task an async def"
            )
    if plain and getattr(options, field) is not None:
        return [f"the pool {options.pool} does not keep the {kind} time limit of plain functions: use -P {instead}"]
    return []


def _check_leases(app: Any, options: WorkerOptions, tasks: Sequence[Any]) -> None:
    longest = app.broker.capabilities.max_lease
    for task in tasks:
        limit = options.time_limit if task.time_limit is None else task.time_limit
        if longest is not None and limit is not None and limit > longest:
            raise ImproperlyConfigured(
                f"task {task.name} may run for {limit:g} s (time_limit), and the broker lets nobody hold a message for "
                f"more than {longest:g} s: it would be delivered again meanwhile"
            )


def _scheme(url: Any) -> str:
    return f"{str(url).partition('://')[0]}://"
