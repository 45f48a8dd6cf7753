"""What is called when a task has failed: a function here, or a task of its own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from umbel.canvas.compiling import kind_of
from umbel.canvas.plan import Derived, plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from umbel.message.call import Call
    from umbel.message.context import Context
    from umbel.results.applike import AppLike


def call_errbacks(
    app: AppLike, request: Context, exc: BaseException, traceback: str | None, *, in_place: bool
) -> list[Call]:
    """Call the errbacks of a failed task that take ``(request, exc, traceback)``; the calls of all others.

    Those others get the failed task's id. Without `in_place` the functions have been called already.
    """
    calls: list[Call] = []
    for index, errback in enumerate(request.errbacks or ()):
        try:
            function = _function(app, errback)
            if function is None:
                ids = Derived(request.id or "", f"errback{index}")
                planned = plan(errback, (request.id,), app=app, ids=ids, root_id=request.root_id, parent_id=request.id)
                calls.extend(planned.calls)
            elif in_place:
                function(request, exc, traceback, *errback["args"], **errback["kwargs"])
        except Exception:
            # One errback's failure is its own: neither the other errbacks nor the rest of the chain suffer from it.
            import logging  # noqa: PLC0415 - heavy, and seldom needed

            logger = logging.getLogger("umbel.canvas")
            logger.exception("the errback %.200r of task %s failed", errback, request.id)
    return calls


def _function(app: AppLike, errback: Mapping[str, Any]) -> Any:
    """The task, if it is known here and takes the three arguments; bound tasks and coroutines are sent instead."""
    if kind_of(errback) is not None or errback.get("immutable"):
        return None
    task = app.tasks.get(errback["task"])
    bound = getattr(task, "bound", False) or getattr(task, "bind", False) is True
    if task is None or bound or inspect.iscoroutinefunction(getattr(task, "run", None)):
        return None
    try:
        inspect.signature(task.run).bind(None, None, None, *errback["args"], **errback["kwargs"])
    except (TypeError, ValueError):
        return None
    return task
