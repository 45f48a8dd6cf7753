"""The attributes of a task: its name, its app, and its options."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from umbel.current import get_app
from umbel.exceptions import MaxRetriesExceededError, OperationalError
from umbel.task.arguments import Arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from umbel.task.owner import Owner

Classes = tuple[type[BaseException], ...]


class TaskBase:
    """What there is to know of a task. Options that are None come to what the settings say."""

    MaxRetriesExceededError: ClassVar[type[MaxRetriesExceededError]] = MaxRetriesExceededError
    OperationalError: ClassVar[type[OperationalError]] = OperationalError

    name: str = ""
    """The name in messages and in the registry."""
    bound: bool = False
    """Whether the function gets the task as its first argument."""
    typing: bool | None = None
    """Whether arguments are checked at the call."""

    max_retries: int | None = 3
    """None: no end."""
    default_retry_delay: float = 180
    autoretry_for: Classes = ()
    dont_autoretry_for: Classes = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    """Seconds before the first automatic retry, doubled for each further one; True: 1."""
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    """Whether the pause is a random part of that."""

    rate_limit: str | float | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool | None = None
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    track_started: bool | None = None
    trail: bool = True
    """Whether the tasks that it sends are kept as its children."""
    send_events: bool = True
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    throws: Classes = ()
    """Errors that are expected: logged without a traceback, and rebuilt by whoever asks for the result."""
    resultrepr_maxsize: int = 1024

    queue: Any = None
    exchange: Any = None
    exchange_type: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    expires: Any = None
    serializer: str | None = None
    compression: str | None = None
    delivery_mode: Any = None
    mandatory: bool | None = None
    immediate: bool | None = None

    _app: Owner | None = None

    def __init__(self) -> None:
        """Tasks are made once per app; give them no arguments."""

    @property
    def app(self) -> Owner:
        """The app that it belongs to; for a task that belongs to none yet, the current one."""
        app: Owner | None = self._app or get_app()
        if app is None:
            raise RuntimeError(f"{self!r} belongs to no app, and there is none")
        return app

    @property
    def backend(self) -> Any:
        """The result store; None where results are disabled."""
        return self.app.backend

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body: the decorated function, or the method of a class of one's own."""
        raise NotImplementedError("a task needs a method run")

    @cached_property
    def arguments(self) -> Arguments:
        """The parameters of a call."""
        function = getattr(self, "__wrapped__", None)
        if function is None:
            return Arguments(inspect.unwrap(self.run), self.name)
        return Arguments(function, self.name, skip=int(self.bound))

    @cached_property
    def is_async(self) -> bool:
        """Whether the body is an ``async def`` function, to be run on a loop."""
        return inspect.iscoroutinefunction(inspect.unwrap(self.run))

    # For subclasses, and as options of the decorator.

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker before the task runs."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker when the task has returned."""

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called by the worker when the task has failed; `einfo` is the traceback as text."""

    def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called by the worker when the task is to be retried."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called by the worker after each run, with the state and the value or error."""

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """The name that logs and monitors show for this call; None: the task's own."""
        return None

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the task is bound to its app."""

    def __repr__(self) -> str:
        app = self._app
        of = f"{app.main or '__main__'} at {id(app):#x}" if app is not None else "no app"
        return f"<@task: {self.name or type(self).__qualname__} of {of}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return self.app.reduce_task(self.name, type(self).__module__)
