"""The built-in tasks of the canvas, as functions; every app registers them under Celery's names."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from umbel.canvas.chunks import chunks
from umbel.canvas.following import marked
from umbel.canvas.nodes import ACCUMULATE
from umbel.canvas.plan import Derived, plan
from umbel.canvas.sending import add_child, inherit, running
from umbel.canvas.signature import maybe_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from umbel.results.applike import AppLike


def builtin_tasks(app: AppLike) -> dict[str, Callable[..., Any]]:
    """The functions, by the names of the tasks that they become."""

    def map_task(task: Any, it: Iterable[Any]) -> list[Any]:
        call = _function(app, task)
        return [call(item) for item in it]

    def starmap_task(task: Any, it: Iterable[Any]) -> list[Any]:
        call = _function(app, task)
        return [call(*item) for item in it]

    def chunks_task(task: Any, it: Iterable[Any], n: int) -> Any:
        group, request = chunks(maybe_signature(task, app), it, n, app=app).group(), running()
        if request is None or not request.id:
            return group.apply_async()
        # The parts have ids that follow from this task's, so that they are the same ones if it is run again.
        options: dict[str, Any] = {}
        inherit(request, options, app.conf)
        planned = plan(group, app=app, ids=Derived(request.id, "chunks"), **options)
        marked(planned.calls, request)
        app.send(planned.calls)
        add_child(request, planned.result)
        return planned.result

    return {
        "celery.map": map_task,
        "celery.starmap": starmap_task,
        "celery.chunks": chunks_task,
        ACCUMULATE: accumulate,
    }


def accumulate(*args: Any, index: int | None = None) -> Any:
    """Its arguments, or the one at `index`: the value of a group that answers as one task."""
    return args if index is None else args[index]


def _function(app: AppLike, task: Any) -> Callable[..., Any]:
    """The inner task as a function of the items, behind which the signature's own arguments go."""
    sig = maybe_signature(task, app)
    call, args, kwargs = sig.type, tuple(sig.args), dict(sig.kwargs)
    if inspect.iscoroutinefunction(getattr(call, "run", None)):
        raise TypeError(f"{sig.task} is an async task; map and starmap call functions: use a group of it")
    if not args and not kwargs:
        return call  # type: ignore[no-any-return]
    return lambda *items: call(*items, *args, **kwargs)
