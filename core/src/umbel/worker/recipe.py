"""What the worker has to know of a task, looked up once at its start instead of once per message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.task.task import Task
from umbel.worker.page import AGAIN_IF_OVERDUE, EARLY, FAILS_IF_LOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from umbel.results.applike import AppLike
    from umbel.worker.options import WorkerOptions


class Recipe:
    """One registered task, with its options resolved against the settings and the command line."""

    __slots__ = (
        "acks_late",
        "acks_on_failure",
        "after_return",
        "before_start",
        "call",
        "ignore_result",
        "is_async",
        "name",
        "on_failure",
        "on_retry",
        "on_success",
        "policy",
        "rate_limit",
        "serializer",
        "soft_time_limit",
        "store_errors",
        "task",
        "throws",
        "time_limit",
        "track_started",
    )

    def __init__(self, task: Task[Any, Any], app: AppLike, options: WorkerOptions) -> None:
        resolved = task.resolved
        self.task = task
        self.name: str = task.name
        # A subclass that overrides __call__ wants to be in the way; anybody else's run is called directly.
        self.call: Callable[..., Any] = task.run if type(task).__call__ is Task.__call__ else task.__call__
        self.is_async = resolved.is_async
        self.ignore_result = resolved.ignore_result
        self.store_errors = resolved.store_errors
        self.track_started = resolved.track_started
        self.acks_late = resolved.acks_late
        self.policy = (
            (0 if resolved.acks_late else EARLY)
            | (FAILS_IF_LOST if resolved.reject_on_worker_lost is False else 0)
            | (0 if resolved.acks_on_timeout else AGAIN_IF_OVERDUE)
        )
        """What the page says should become of it if its child dies."""
        self.acks_on_failure = resolved.acks_on_failure
        self.serializer: str = app.conf.result_serializer
        self.throws = resolved.throws
        # The command line is asked before the settings, the task itself before both.
        self.soft_time_limit: float | None = _first(task.soft_time_limit, options.soft_time_limit)
        self.time_limit: float | None = _first(task.time_limit, options.time_limit)
        self.rate_limit = None if app.conf.worker_disable_rate_limits else resolved.rate_limit
        cls = type(task)
        self.before_start = _overridden(cls, "before_start")
        self.on_success = _overridden(cls, "on_success")
        self.on_failure = _overridden(cls, "on_failure")
        self.on_retry = _overridden(cls, "on_retry")
        self.after_return = _overridden(cls, "after_return")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _overridden(cls: type, name: str) -> bool:
    return getattr(cls, name) is not getattr(Task, name)
