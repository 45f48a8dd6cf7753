"""Tasks side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas import eager
from umbel.canvas.chain import several, signatures
from umbel.canvas.signature import Signature, maybe_signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from umbel.results.applike import AppLike


@Signature.register_type()
class group(Signature):  # noqa: N801 - Celery's name for it
    """Run the tasks at the same time. Sent, all of them leave in one publish."""

    def __init__(self, *tasks: Any, app: AppLike | None = None, **options: Any) -> None:
        given = several(tasks) if tasks else ()
        if isinstance(given, tuple) and len(given) == 1:
            only = maybe_signature(given[0])
            if isinstance(only, group):
                given = only.tasks
        super().__init__("celery.group", (), {"tasks": signatures(given, app)}, options, subtask_type="group", app=app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: AppLike | None = None) -> Any:
        made = cls(list(d["kwargs"]["tasks"]), app=app)
        made["args"] = tuple(d.get("args") or ())
        made["kwargs"] = {**d["kwargs"], "tasks": made.tasks}
        made["options"] = dict(d.get("options") or {})
        made["immutable"] = bool(d.get("immutable"))
        return made

    @property
    def tasks(self) -> list[Any]:
        """The members' signatures, in order."""
        tasks: list[Any] = self["kwargs"]["tasks"]
        return tasks

    @property
    def app(self) -> AppLike:
        """The app given, else the first member's."""
        if self._app is None and self.tasks:
            return self.tasks[0].app  # type: ignore[no-any-return]
        return super().app

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        """Send it, with further arguments for each member."""
        return self.apply_async(partial_args, **options)

    def apply_async(  # type: ignore[override]  # Celery's own order of arguments
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        add_to_parent: bool = True,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Send all members in one publish: a GroupResult. Options are every member's; `task_id` is the group's id."""
        if link is not None:
            raise TypeError("a group cannot have a callback of its own: use a chord")
        if link_error is not None:
            raise TypeError("a group cannot have an errback of its own: use group.link_error")
        return super().apply_async(args, kwargs, add_to_parent=add_to_parent, producer=producer, **options)

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run all members here and now, one after the other."""
        return eager.run(self, args, kwargs, options)

    def set_immutable(self, immutable: bool) -> None:
        """Freeze the arguments of all members."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, sig: Any) -> Any:
        """Call this one after the first member, without its value."""
        return self.tasks[0].link(sig.clone().set(immutable=True)) if self.tasks else sig

    def link_error(self, sig: Any) -> Any:
        """Call this one for each member that fails."""
        sig = maybe_signature(sig)
        for task in self.tasks:
            task.link_error(sig.clone())
        return sig

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Let each member wait `step` seconds longer than the one before, up to `stop`; the group itself."""
        wait = start
        for task in self.tasks:
            task.set(countdown=wait)
            wait = wait + step if stop is None else min(wait + step, stop)
        return self

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"group({', '.join(map(repr, self.tasks))})" if self.tasks else "group(<empty>)"
