"""What the handles of tasks and of groups have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from umbel import exceptions
from umbel.results.codec import AsTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from umbel.results.applike import AppLike
    from umbel.results.watches import ThreadWatch
    from umbel.spec import Result


class ResultBase(AsTuple):
    """A handle of something that was sent. `parent` is what it waits for, in a chain or behind a chord's header."""

    __slots__ = ("parent",)

    kinds: ClassVar[dict[str, type[Any]]] = {}
    """The classes that a tuple is read back as: a task's handle refers to groups' and the other way round."""

    parent: ResultBase | None
    id: Any

    def __init_subclass__(cls, kind: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind is not None:
            ResultBase.kinds[kind] = cls

    def leaves(self) -> Iterator[Any]:
        """The handles of tasks (`AsyncResult`), in order."""
        raise NotImplementedError

    def value(self, propagate: bool, callback: Callable[[str, Any], Any] | None) -> Any:
        """The value once all leaves are known; a failed task's error is raised if `propagate`, else it is the value."""
        raise NotImplementedError


def result_from_tuple(data: Any, app: AppLike | None = None) -> Any:
    """The handle that `as_tuple` wrote; a handle is returned as it is."""
    if isinstance(data, ResultBase):
        return data
    head, members = data
    id, parent = head if isinstance(head, (list, tuple)) else (head, None)
    above = None if parent is None else result_from_tuple(parent, app)
    if members is None:
        return ResultBase.kinds["task"](id, app=app, parent=above)
    return ResultBase.kinds["group"](id, [result_from_tuple(member, app) for member in members], parent=above, app=app)


def arriving(
    watch: ThreadWatch, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None
) -> Iterator[Result]:
    """Results as they come. TimeoutError after `timeout` seconds; `on_interval` is called every `interval` of them."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        step = left
        if on_interval is not None:
            step = interval if left is None else min(interval, left)
        result = watch.next(step)
        if result is not None:
            yield result
            continue
        if left is not None and (step == left or left <= 0):
            raise exceptions.TimeoutError("The operation timed out.")
        if on_interval is not None:
            on_interval()
