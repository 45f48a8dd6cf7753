"""Every error that Umbel raises, named by what the caller can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.spec.backend import BackendError
from umbel.spec.broker import BrokerError, Fatal, PublishError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class UmbelError(Exception):
    """The base of all errors of the library, but for those of a broker or a result store."""


CeleryError = UmbelError


class ImproperlyConfigured(UmbelError):
    """A setting, a URL or an option is wrong; the message names it and says what would be right."""


class SecurityError(UmbelError):
    """Something arrived that must not be trusted."""


class OperationalError(UmbelError):
    """The broker could not be reached, or did not take the message; it is safe to call again."""


class PluginError(ImproperlyConfigured):
    """A plugin is missing, claimed twice, or made for another version of the contract."""


class EncodeError(UmbelError):
    """A value cannot be serialized; the message says where in it the culprit is."""


class DecodeError(UmbelError):
    """Bytes cannot be read back."""


class ContentDisallowed(SecurityError):
    """A content type that `accept_content` does not name."""


class InvalidMessage(UmbelError):
    """A message that no worker can run: undecodable, not a task, too deep, too large. It goes to the dead letters."""


class TaskPredicate(UmbelError):
    """What a task raises to tell the worker something, rather than to fail."""


class Retry(TaskPredicate):
    """The task has been sent again, to run at `when`."""

    call: Any = None
    """The call that runs it again, where that is sent with the end of the present run."""

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.exc = exc if isinstance(exc, BaseException) else None
        self.excs = repr(exc) if isinstance(exc, BaseException) else exc
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(message, exc, when)

    def humanize(self) -> str:
        """When it will run, in words."""
        if isinstance(self.when, (int, float)):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return str(self.message)
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"


RetryTaskError = Retry


class Ignore(TaskPredicate):
    """Leave the task's state as it is."""


class Reject(TaskPredicate):
    """Do not acknowledge the task: requeue it, or send it to the dead letters."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __str__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class TaskError(UmbelError):
    """Something went wrong with a task."""


class QueueNotFound(KeyError, TaskError):
    """A route names a queue that may not be created."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # a KeyError shows its message in quotes


class NotRegistered(KeyError, TaskError):
    """No task of this name is known here."""

    def __str__(self) -> str:
        return f"Task of kind {self.args[0] if self.args else None!r} never registered; is its module imported?"


class AlreadyRegistered(TaskError):
    """The task's name is taken."""


class TimeoutError(TaskError):
    """The result did not come in time."""


class MaxRetriesExceededError(TaskError):
    """The task has been retried as often as it may."""

    def __init__(self, *args: Any, task_args: Sequence[Any] = (), task_kwargs: Mapping[str, Any] | None = None) -> None:
        self.task_args = task_args
        self.task_kwargs = dict(task_kwargs or {})
        super().__init__(*args)


class TaskRevokedError(TaskError):
    """The task was revoked, or expired, before it ran."""


class IncompleteStream(TaskError):
    """A tree of results was walked before all of it was done."""


class InvalidTaskError(TaskError):
    """The task's message has invalid data."""


class ChordError(TaskError):
    """A member of the chord failed, so that its body was not run."""


class RemoteError(TaskError):
    """An error of a task whose class may not be rebuilt here; `type_name` and `module` say what it was."""

    def __init__(self, *args: Any, type_name: str = "", module: str = "") -> None:
        self.type_name = type_name
        self.module = module
        super().__init__(*args)

    def __str__(self) -> str:
        text = ", ".join(str(arg) for arg in self.args)
        return f"{self.type_name}({text})" if self.type_name else text


class SoftTimeLimitExceeded(Exception):
    """Raised inside a task that has run longer than its soft time limit."""

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{self.args}"


class TimeLimitExceeded(Exception):
    """The task ran longer than its hard time limit and its process was killed."""

    def __str__(self) -> str:
        return f"TimeLimitExceeded{self.args}"


class WorkerLostError(Exception):
    """The process that ran the task died."""


class Terminated(Exception):
    """The process that ran the task was ended on request."""


class WorkerShutdown(SystemExit):
    """Raised to stop the worker warmly."""


class WorkerTerminate(SystemExit):
    """Raised to stop the worker at once."""


class UmbelWarning(UserWarning):
    """The base of all warnings of the library."""


CeleryWarning = UmbelWarning


class AlwaysEagerIgnored(UmbelWarning):
    """`send_task` ignores `task_always_eager`."""


class DuplicateNodenameWarning(UmbelWarning):
    """Several workers have one name."""


class DuplicateTaskNameWarning(UmbelWarning):
    """Two different functions were registered under one name; the first stays."""


class NotConfigured(UmbelWarning):
    """There is no configuration where one was expected."""


class SecurityWarning(UmbelWarning):
    """Something is potentially unsafe."""


__all__ = [
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "BackendError",
    "BrokerError",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "ContentDisallowed",
    "DecodeError",
    "DuplicateNodenameWarning",
    "DuplicateTaskNameWarning",
    "EncodeError",
    "Fatal",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidMessage",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotConfigured",
    "NotRegistered",
    "OperationalError",
    "PluginError",
    "PublishError",
    "QueueNotFound",
    "Reject",
    "RemoteError",
    "Retry",
    "RetryTaskError",
    "SecurityError",
    "SecurityWarning",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "UmbelError",
    "UmbelWarning",
    "Unsupported",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
]
