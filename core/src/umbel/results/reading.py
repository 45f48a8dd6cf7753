"""What an app's store says of a task, decoded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from umbel.current import get_app
from umbel.results.codec import decode_body, decode_raw
from umbel.results.failure import STANDARD

if TYPE_CHECKING:
    from umbel.results.applike import AppLike
    from umbel.results.failure import ExceptionTypes
    from umbel.spec import Result, ResultBackend

DISABLED = "results are disabled: set result_backend (for example result_backend='sqlite:///results.db')"


def app_of(app: AppLike | None) -> AppLike:
    """The app given, else the current one."""
    found: AppLike | None = app or get_app()
    if found is None:
        raise RuntimeError("there is no app: give app=..., or make one first")
    return found


def backend_of(app: AppLike) -> ResultBackend:
    """The app's result store; NotImplementedError, naming the setting, where there is none."""
    backend = app.backend
    if backend is None:
        raise NotImplementedError(DISABLED)
    return backend


def accepted(app: AppLike) -> frozenset[str]:
    """The content types that the app reads in results."""
    conf = app.conf
    return app.serializers.accepting(conf.result_accept_content or conf.accept_content)


def types_of(app: AppLike) -> ExceptionTypes:
    """The classes that the app rebuilds errors as."""
    types: ExceptionTypes = getattr(app, "exception_types", STANDARD)
    return types


def value_of(app: AppLike, result: Result) -> Any:
    """The task's value, progress or error."""
    return decode_body(app.serializers, result, accepted(app), types_of(app))


def as_message(app: AppLike, result: Result) -> dict[str, Any]:
    """The result in the words of Celery's result messages, errors as data."""
    meta = result.meta
    done = meta.get("date_done")
    message = {
        "task_id": result.id,
        "status": result.state,
        "result": decode_raw(app.serializers, result, accepted(app)),
        "traceback": meta.get("traceback"),
        "children": meta.get("children") or [],
        "date_done": None if done is None else moment(done).isoformat(),
    }
    for key in ("group_id", "parent_id", "name", "args", "kwargs", "worker", "retries", "queue"):
        if key in meta:
            message[key] = meta[key]
    return message


def moment(unix: float) -> datetime:
    """A Unix time as an aware datetime, in UTC."""
    return datetime.fromtimestamp(unix, UTC)
