"""Tasks one after the other, each called with the value of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas import eager
from umbel.canvas.compiling import kind_of, listed
from umbel.canvas.compose import compose_all
from umbel.canvas.signature import Signature, maybe_signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from umbel.results.applike import AppLike


def signatures(tasks: Any, app: AppLike | None) -> list[Signature]:
    """The signatures of several tasks; TypeError for what is none."""
    made = []
    for task in tasks:
        sig = maybe_signature(task, app if not isinstance(task, Signature) else None)
        if not isinstance(sig, Signature):
            raise TypeError(f"not a signature: {task!r:.100} (of a task, take task.s(...))")
        made.append(sig)
    return made


def several(tasks: tuple[Any, ...]) -> Any:
    """The tasks meant by ``(a, b)``, by ``([a, b])`` or by ``(a for a in ...)``."""
    if len(tasks) == 1 and not isinstance(tasks[0], dict):
        return tasks[0]
    return tasks


@Signature.register_type()
class chain(Signature):  # noqa: N801 - Celery's name for it
    """Run the tasks in order. Made of several it is what `|` makes of them, which may be a chord or a group."""

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        if options or not tasks or (len(tasks) == 1 and isinstance(tasks[0], dict)):
            return super().__new__(cls)
        return compose_all(signatures(several(tasks), None), cls.of([]))

    def __init__(self, *tasks: Any, app: AppLike | None = None, **options: Any) -> None:
        if "task" in self:
            return  # made by `__new__`, out of several
        given = signatures(several(tasks), app) if tasks else []
        super().__init__("celery.chain", (), {"tasks": given}, options, subtask_type="chain", app=app)

    @classmethod
    def of(cls, tasks: Sequence[Any], app: AppLike | None = None) -> Self:
        """A chain of just these, in which nothing is joined yet."""
        made: Self = dict.__new__(cls)
        Signature.__init__(
            made, "celery.chain", (), {"tasks": signatures(tasks, app)}, None, subtask_type="chain", app=app
        )
        return made

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: AppLike | None = None) -> Any:
        made = cls.of(d["kwargs"]["tasks"], app)
        made["args"] = tuple(d.get("args") or ())
        made["kwargs"] = {**d["kwargs"], "tasks": made.tasks}
        made["options"] = dict(d.get("options") or {})
        made["immutable"] = bool(d.get("immutable"))
        return made

    @property
    def tasks(self) -> list[Any]:
        """The signatures, in order."""
        tasks: list[Any] = self["kwargs"]["tasks"]
        return tasks

    @property
    def app(self) -> AppLike:
        """The app given, else the first task's that has one."""
        if self._app is None and self.tasks:
            return self.tasks[0].app  # type: ignore[no-any-return]
        return super().app

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Any:
        """A copy, its tasks copied too."""
        made = super().clone(args, kwargs, **opts)
        made["kwargs"] = {**made["kwargs"], "tasks": [task.clone() for task in self.tasks]}
        return made

    partial = clone

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it, with further arguments for the first task; None if there is no task."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run all of it here and now; the last one's result."""
        return eager.run(self, args, kwargs, options)

    def unchain_tasks(self) -> list[Any]:
        """Copies of the tasks, with the chain's callbacks on the last one and its errbacks on each."""
        tasks = [task.clone() for task in self.tasks]
        for errback in listed(self["options"].get("link_error")):
            for task in tasks:
                task.link_error(errback)
        for link in listed(self["options"].get("link")) if tasks else ():
            tasks[-1].link(link)
        return tasks

    def _answering(self) -> Signature:
        return self.tasks[-1]._answering() if self.tasks else self

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) if self.tasks else "chain()"


def header_tasks(header: Any, app: AppLike | None) -> list[Signature]:
    """The members meant by a chord's first argument."""
    header = maybe_signature(header, app if not isinstance(header, Signature) else None)
    if isinstance(header, Signature):
        return header.tasks if kind_of(header) == "group" else [header]  # type: ignore[attr-defined]
    return signatures(header, app)
