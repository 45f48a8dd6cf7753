"""One task over many arguments: in one message (map, starmap), or in messages of some each (chunks)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from umbel.canvas.group import group
from umbel.canvas.signature import Signature, maybe_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from umbel.results.applike import AppLike


class _Over(Signature):
    """What the three have in common: on the wire they are calls of built-in tasks, and nothing goes before."""

    name_of_task = ""

    def __init__(self, task: Any, it: Iterable[Any], *, app: AppLike | None = None, **options: Any) -> None:
        inner = maybe_signature(task, None)
        super().__init__(self.name_of_task, (), {"task": inner, "it": list(it)}, options, immutable=True, app=app)

    @property
    def app(self) -> AppLike:
        """The app given, else the inner task's."""
        inner = self["kwargs"]["task"]
        if self._app is None and isinstance(inner, Signature):
            return inner.app
        return super().app

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it, routed as the inner task is."""
        return super().apply_async((), {}, route_name or self["kwargs"]["task"]["task"], **options)

    def _like(self, **items: Any) -> Any:
        made = dict.__new__(type(self))
        Signature.__init__(made, {**self, **items}, app=self._app)
        return made

    def __repr__(self) -> str:
        kwargs = self["kwargs"]
        return f"{self.name_of_task}({kwargs['task']['task']}, {len(kwargs['it'])} items)"


class xmap(_Over):  # noqa: N801 - Celery's name for it
    """``[task(item) for item in it]``, as one task."""

    name_of_task = "celery.map"


class xstarmap(_Over):  # noqa: N801 - Celery's name for it
    """``[task(*item) for item in it]``, as one task."""

    name_of_task = "celery.starmap"


class chunks(_Over):  # noqa: N801 - Celery's name for it
    """The argument tuples of `it` in parts of `n`, each part one task; all of them leave in one publish."""

    name_of_task = "celery.chunks"

    def __init__(self, task: Any, it: Iterable[Any], n: int, *, app: AppLike | None = None, **options: Any) -> None:
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"chunks of {n!r}: it must be a whole number, and at least 1")
        super().__init__(task, it, app=app, **options)
        self["kwargs"]["n"] = n

    def __call__(self, **options: Any) -> Any:
        """Send the parts."""
        return self.apply_async(**options)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send the parts: a GroupResult of lists."""
        return self.group().apply_async(
            args, kwargs, route_name=route_name or self["kwargs"]["task"]["task"], **options
        )

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the parts here and now."""
        return self.group().apply(args, kwargs, **options)

    def group(self) -> group:
        """The parts as a group."""
        task, it, n = (self["kwargs"][key] for key in ("task", "it", "n"))
        parts = (xstarmap(task, part, app=self._app) for part in parted(it, n))
        return group(parts, app=self._app, **self["options"])

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: AppLike | None = None) -> Any:
        """Send the parts."""
        return cls(task, it, n, app=app)()


def parted(it: Iterable[Any], n: int) -> Iterator[list[Any]]:
    """Lists of `n`, the last one of what is left."""
    items = iter(it)
    while part := list(islice(items, n)):
        yield part
