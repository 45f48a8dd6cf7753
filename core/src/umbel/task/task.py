"""The task: what `@app.task` makes of a function, and the base of classes of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from umbel.canvas.chunks import chunks, xmap, xstarmap
from umbel.canvas.signature import Signature
from umbel.message.context import Context
from umbel.task.retry import Retrying
from umbel.task.running import P, R

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence

__all__ = ["AsyncTask", "Context", "Task"]


class Task(Retrying[P, R], Generic[P, R]):
    """A function that can be sent. `P` are its parameters, `R` is what it returns.

    As a base class it is given to ``@app.task(base=...)``, or has a method `run` and goes to `app.register_task`.
    """

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """The call with these arguments, not made yet; further ones may come before them."""
        return Signature(self, args, kwargs, app=self.app)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """The same, but its arguments are all there will be."""
        return Signature(self, args, kwargs, immutable=True, app=self.app)

    def signature(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Signature:
        """The call with these arguments and options, not made yet."""
        return Signature(self, args, kwargs, options, app=self.app, **more)

    subtask = signature

    def map(self, it: Iterable[Any]) -> xmap:
        """One task that calls this one with each item, as a function."""
        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Sequence[Any]]) -> xstarmap:
        """One task that calls this one with each item's parts, as a function."""
        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Sequence[Any]], n: int) -> chunks:
        """The same, in several tasks of `n` items each."""
        return chunks(self.s(), it, n, app=self.app)

    # Still to come

    def replace(self, sig: Any) -> Any:
        """Not supported yet: put another task in place of the running one."""
        raise NotImplementedError("task.replace is not supported yet")

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Not supported yet: put another member into the chord that is running."""
        raise NotImplementedError("task.add_to_chord is not supported yet")

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """Not supported yet: tell monitors something of one's own."""
        raise NotImplementedError("task.send_event is not supported yet: there are no events")


if TYPE_CHECKING:

    class AsyncTask(Task[P, R]):
        """What `@app.task` makes of an ``async def``: called as a function it is awaited, sent it returns `R`."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
            ...

else:
    AsyncTask = Task
