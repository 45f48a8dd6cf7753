"""A function becomes a task."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from umbel.exceptions import DuplicateTaskNameWarning
from umbel.task.options import check_options
from umbel.task.task import Task

if TYPE_CHECKING:
    from umbel.task.task import AsyncTask

P = ParamSpec("P")
R = TypeVar("R")


def make_task(
    fun: Callable[..., Any], name: str, base: type[Task[Any, Any]], *, bind: bool, options: Mapping[str, Any]
) -> Task[Any, Any]:
    """A task of this function: the one instance of a class of its own, whose attributes are the options."""
    check_options(options, base)
    called = getattr(fun, "__name__", type(fun).__name__)
    body: dict[str, Any] = {
        **options,  # a function among them, such as on_failure, becomes a method, as in Celery
        "name": name,
        "run": fun if bind else staticmethod(fun),
        "bound": bind,
        "__wrapped__": staticmethod(fun),
        "__doc__": fun.__doc__,
        "__module__": fun.__module__,
        "__name__": called,
        "__qualname__": getattr(fun, "__qualname__", called),
    }
    made: Task[Any, Any] = type(called, (base,), body)()
    vars(made)["__qualname__"] = body["__qualname__"]  # the class keeps its own for itself
    return made


def check_function(fun: Any, name: str | None) -> None:
    """TypeError for what cannot be made a task of."""
    if isinstance(fun, type):
        raise TypeError(f"{fun!r} is a class: make an instance, and give it to app.register_task")
    if isinstance(fun, Task):
        raise TypeError(f"{fun!r} is a task already")
    if not callable(fun):
        raise TypeError(f"a task is made of a function, not of {fun!r}")
    if name is None and not hasattr(fun, "__name__"):
        raise TypeError(f"a task of {fun!r} needs a name: @app.task(name=...)")


def warn_if_other(present: Task[Any, Any], fun: Callable[..., Any]) -> None:
    """Warn if the name that is taken is another function's. A module imported twice brings the same one again."""
    other = inspect.unwrap(present.run)
    if _origin(other) != _origin(inspect.unwrap(fun)):
        warnings.warn(
            f"task {present.name!r} is registered already, from {_where(other)}, and stays; the one from {_where(fun)} "
            "is ignored: give one of them another name",
            DuplicateTaskNameWarning,
            stacklevel=4,
        )


def _origin(fun: Any) -> tuple[Any, ...]:
    return getattr(fun, "__module__", None), getattr(fun, "__qualname__", None), _where(fun)


def _where(fun: Any) -> str:
    code = getattr(fun, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(fun)


class Maker(Protocol):
    """A decorator with its options, without `bind`."""

    @overload
    def __call__(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, fun: Any, /) -> Any:
        """The task of a function."""


class BoundMaker(Protocol):
    """A decorator with ``bind=True``: the function's first argument is the task."""

    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...
    def __call__(self, fun: Any, /) -> Any:
        """The task of a function."""


class Decorator(Protocol):
    """`@app.task`, with and without options."""

    @overload
    def __call__(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, *, bind: Literal[True], **options: Any) -> BoundMaker: ...
    @overload
    def __call__(self, *, bind: Literal[False] = False, **options: Any) -> Maker: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function."""
