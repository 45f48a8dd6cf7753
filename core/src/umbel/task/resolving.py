"""A task's options with the settings: what hot paths read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umbel.task.base import TaskBase
from umbel.task.options import SENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from umbel.task.owner import Owner

PERSISTENT = 2
"""The delivery mode that needs not be said."""
FROM_SETTINGS = {
    "serializer": "task_serializer",
    "rate_limit": "task_default_rate_limit",
    "priority": "task_default_priority",
    "track_started": "task_track_started",
    "acks_late": "task_acks_late",
    "acks_on_failure_or_timeout": "task_acks_on_failure_or_timeout",
    "acks_on_failure": "task_acks_on_failure",
    "acks_on_timeout": "task_acks_on_timeout",
    "reject_on_worker_lost": "task_reject_on_worker_lost",
    "retry_on_worker_lost": "task_retry_on_worker_lost",
    "ignore_result": "task_ignore_result",
    "store_eager_result": "task_store_eager_result",
    "store_errors_even_if_ignored": "task_store_errors_even_if_ignored",
}
"""Attributes that settings fill where they are None. Not the time limits: a worker's command line is asked first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A task's options, resolved against one revision of the settings: what hot paths read."""

    revision: int
    sent: Mapping[str, Any]
    """Those of `SENT` that are given, and `ignore_result`: defaults for `umbel.message.encode`."""
    checks: bool
    """Whether the arguments of a call are checked."""
    shadows: bool
    """Whether `shadow_name` has something to say."""
    eager: bool
    """Whether calls run here, in place of being sent."""
    ignore_result: bool
    store_errors: bool
    """Whether failures are stored also where results are ignored."""
    track_started: bool
    acks_late: bool
    acks_on_failure: bool
    acks_on_timeout: bool
    reject_on_worker_lost: bool | None
    rate_limit: str | float | None
    time_limit: float | None
    """Seconds; the command line of a worker is asked before the settings, and not known here."""
    soft_time_limit: float | None
    throws: tuple[type[BaseException], ...]
    send_events: bool
    is_async: bool


def check_values(task: TaskBase) -> None:
    """TypeError or ValueError that names the option at fault."""
    for name in ("time_limit", "soft_time_limit", "default_retry_delay", "retry_backoff_max"):
        value = getattr(task, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
            raise TypeError(f"task {task.name}: {name} must be a number of seconds, not {value!r}")
    if task.time_limit and task.soft_time_limit and task.soft_time_limit > task.time_limit:
        raise ValueError(
            f"task {task.name}: soft_time_limit ({task.soft_time_limit} s) exceeds time_limit ({task.time_limit} s)"
        )
    retries = task.max_retries
    if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int)):
        raise TypeError(f"task {task.name}: max_retries must be a whole number, or None for no end, not {retries!r}")
    for name in ("autoretry_for", "dont_autoretry_for", "throws"):
        given = getattr(task, name)
        if not all(isinstance(cls, type) and issubclass(cls, BaseException) for cls in classes(given)):
            raise TypeError(f"task {task.name}: {name} must be a tuple of exceptions, not {given!r}")


def classes(given: Any) -> tuple[type[BaseException], ...]:
    """One class of exceptions, or several, as a tuple."""
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


class Resolving(TaskBase):
    """A task whose options are looked up once for each revision of the settings."""

    _resolved: Resolved | None = None
    _filled: Mapping[str, Any] = {}
    """The attributes that settings have filled, with what they said."""

    @property
    def resolved(self) -> Resolved:
        """Its options, with the settings that are in force now."""
        app = self._app or self.app
        found = self._resolved
        return found if found is not None and found.revision == app.conf.revision else self._resolve(app)

    def bind(self, app: Owner) -> None:
        """Belong to this app: options that are None become what its settings say."""
        self._app = app
        self.on_bound(app)
        self._resolve(app)

    def _resolve(self, app: Owner) -> Resolved:
        app.finalize(auto=True)
        conf = app.conf
        for name, value in self._filled.items():
            if vars(self).get(name) is value:
                del vars(self)[name]
        check_values(self)
        sent = {name: value for name in SENT if (value := getattr(self, name)) is not None}
        filled = {name: conf[setting] for name, setting in FROM_SETTINGS.items() if getattr(self, name) is None}
        vars(self).update(filled)
        self._filled = filled
        resolved = _resolved(self, conf, sent, check=app.strict_typing)
        vars(self)["_resolved"] = resolved
        return resolved

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if not name.startswith("_"):
            vars(self).pop("_resolved", None)  # it may be an option


def _resolved(task: TaskBase, conf: Any, sent: dict[str, Any], *, check: bool) -> Resolved:
    if task.ignore_result:
        sent["ignore_result"] = True
    if task.delivery_mode is None and conf.task_default_delivery_mode != PERSISTENT:
        sent["delivery_mode"] = conf.task_default_delivery_mode
    either = bool(task.acks_on_failure_or_timeout)
    return Resolved(
        revision=conf.revision,
        sent=sent,
        checks=check if task.typing is None else task.typing,
        shadows=type(task).shadow_name is not TaskBase.shadow_name,
        eager=conf.task_always_eager,
        ignore_result=bool(task.ignore_result),
        store_errors=bool(task.store_errors_even_if_ignored),
        track_started=bool(task.track_started),
        acks_late=bool(task.acks_late),
        acks_on_failure=either if task.acks_on_failure is None else task.acks_on_failure,
        acks_on_timeout=either if task.acks_on_timeout is None else task.acks_on_timeout,
        reject_on_worker_lost=task.reject_on_worker_lost,
        rate_limit=task.rate_limit,
        time_limit=conf.task_time_limit if task.time_limit is None else task.time_limit,
        soft_time_limit=conf.task_soft_time_limit if task.soft_time_limit is None else task.soft_time_limit,
        throws=classes(task.throws),
        send_events=task.send_events,
        is_async=task.is_async,
    )
