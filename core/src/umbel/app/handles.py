"""Handles of tasks and groups that belong to an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas.signature import signature
from umbel.current import current_request
from umbel.results.group import GroupResult
from umbel.results.result import AsyncResult
from umbel.results.resultset import ResultSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from umbel.results.applike import AppLike


class BoundGroupResult:
    """`GroupResult` with the app given."""

    __slots__ = ("_app",)

    def __init__(self, app: AppLike) -> None:
        self._app = app

    def __call__(self, id: str | None = None, results: Iterable[Any] | None = None, **kwargs: Any) -> GroupResult:
        """The handle of a group."""
        return GroupResult(id, results, app=self._app, **kwargs)

    def restore(self, id: str, backend: Any = None) -> GroupResult | None:
        """The handle that was saved under this id; None if there is none."""
        return GroupResult.restore(id, backend=backend, app=self._app)


class Handles:
    """An app that makes handles and signatures of its own."""

    def AsyncResult(self, id: str, **kwargs: Any) -> AsyncResult[Any]:  # noqa: N802 - Celery's name for it
        """The handle of a task by its id."""
        return AsyncResult(id, app=self, **kwargs)  # type: ignore[arg-type]

    def ResultSet(self, results: Iterable[Any], **kwargs: Any) -> ResultSet:  # noqa: N802 - Celery's name for it
        """A set of handles."""
        return ResultSet(results, app=self, **kwargs)  # type: ignore[arg-type]

    @property
    def GroupResult(self) -> BoundGroupResult:  # noqa: N802 - Celery's name for it
        """Makes handles of groups, and restores those that were saved."""
        return BoundGroupResult(self)  # type: ignore[arg-type]

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """A signature of this app: of a task, a name, or a wire form."""
        return signature(*args, **{"app": self, **kwargs})

    @property
    def current_task(self) -> Any:
        """The task that runs here, also one that was called as a function; or None."""
        request = current_request.get()
        return None if request is None else request._task

    @property
    def current_worker_task(self) -> Any:
        """The task that a worker runs here, whatever functions it calls; or None."""
        request = current_request.get()
        while request is not None and request.called_directly:
            request = request.outer
        return None if request is None else request._task
