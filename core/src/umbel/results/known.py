"""What is known of one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from umbel.results.base import ResultBase, result_from_tuple
from umbel.results.reading import app_of, backend_of, moment, value_of
from umbel.states import FAILURE, PENDING, READY_STATES, SUCCESS

if TYPE_CHECKING:
    from datetime import datetime

    from umbel.results.applike import AppLike
    from umbel.spec import Result, ResultBackend


class TaskHandle(ResultBase):
    """What is known of a task at this moment. Once final it is asked for no more."""

    __slots__ = ("_app", "_backend", "_known", "_name", "_value", "id", "ignored")

    def __init__(
        self,
        id: str,
        backend: ResultBackend | None = None,
        task_name: str | None = None,
        app: AppLike | None = None,
        parent: ResultBase | None = None,
    ) -> None:
        if id is None:
            raise ValueError("AsyncResult needs the id of a task, not None")
        self.id: str = id
        self.parent = parent
        self.ignored = False
        """Set where the task was sent with `ignore_result`: then `get` returns None at once."""
        self._app = app
        self._backend = backend
        self._name = task_name
        self._known: Result | None = None
        """The final result, once it has been seen."""
        self._value: Any = None

    @property
    def app(self) -> AppLike:
        """The app that the task was sent by."""
        return app_of(self._app)

    @property
    def backend(self) -> ResultBackend:
        """The result store."""
        return self._backend or backend_of(self.app)

    @property
    def task_id(self) -> str:
        """The id, in Celery's other word."""
        return self.id

    def look(self) -> Result | None:
        """What the store knows, from memory where it is final; None if nothing."""
        if self._known is not None:
            return self._known
        found = self.backend.fetch([self.id]).get(self.id)
        if found is not None:
            self.note(found)
        return found

    def note(self, result: Result) -> None:
        """Keep what has come of this task, if it is final. The first one stays."""
        if self._known is None and (result.terminal or result.state in READY_STATES):
            value = value_of(self.app, result)
            self._value, self._known = value, result

    @property
    def known(self) -> bool:
        """Whether the final state has been seen by this handle."""
        return self._known is not None

    @property
    def state(self) -> str:
        """The state; PENDING also for a task that the store has never heard of."""
        found = self.look()
        return PENDING if found is None else found.state

    @property
    def status(self) -> str:
        """The same as `state`."""
        return self.state

    @property
    def result(self) -> Any:
        """The value, the error, or what a running task has said of its progress; None if nothing is known."""
        found = self.look()
        if found is None:
            return None
        return self._value if self._known is found else value_of(self.app, found)

    @property
    def info(self) -> Any:
        """The same as `result`."""
        return self.result

    def _meta(self, key: str) -> Any:
        found = self.look()
        return None if found is None else found.meta.get(key)

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed task, as text."""
        return cast("str | None", self._meta("traceback"))

    @property
    def date_done(self) -> datetime | None:
        """When it was done, in UTC; None if it is not."""
        done = self._meta("date_done")
        return None if done is None else moment(done)

    @property
    def children(self) -> list[Any] | None:
        """The handles of the tasks that it sent, callbacks included; None as long as nothing is known."""
        found = self.look()
        if found is None:
            return None
        return [result_from_tuple(child, self._app) for child in found.meta.get("children") or ()]

    @property
    def name(self) -> str | None:
        """The task's name; for a task sent elsewhere only with `result_extended`, as the next five."""
        return self._name or self._meta("name")

    @property
    def args(self) -> Any:
        """Its positional arguments."""
        return self._meta("args")

    @property
    def kwargs(self) -> Any:
        """Its keyword arguments."""
        return self._meta("kwargs")

    @property
    def worker(self) -> str | None:
        """The node name of the worker that ran it."""
        return cast("str | None", self._meta("worker"))

    @property
    def retries(self) -> int | None:
        """How often it has been retried."""
        return cast("int | None", self._meta("retries"))

    @property
    def queue(self) -> str | None:
        """The queue that it came through."""
        return cast("str | None", self._meta("queue"))

    def ready(self) -> bool:
        """Whether it is done: with a value, failed, or revoked."""
        return self.state in READY_STATES

    def successful(self) -> bool:
        """Whether it is done and has a value."""
        return self.state == SUCCESS

    def failed(self) -> bool:
        """Whether it has failed."""
        return self.state == FAILURE

    def exists(self) -> bool:
        """Whether the store knows anything of it."""
        return self.look() is not None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TaskHandle):
            return other.id == self.id
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, None, self._name, None, self.parent)
