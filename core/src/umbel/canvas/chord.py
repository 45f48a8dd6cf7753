"""Tasks side by side, and one that gets all their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas import eager
from umbel.canvas.chain import header_tasks
from umbel.canvas.signature import Signature, maybe_signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from umbel.results.applike import AppLike


@Signature.register_type()
class chord(Signature):  # noqa: N801 - Celery's name for it
    """Run the body with the list of the header's values, in the header's order, once all are there."""

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: AppLike | None = None,
        **options: Any,
    ) -> None:
        items = {
            "kwargs": dict(kwargs or ()),
            "header": header_tasks(header, app),
            "body": maybe_signature(body, app if not isinstance(body, Signature) else None),
        }
        super().__init__(task, args, items, options, subtask_type="chord", app=app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: AppLike | None = None) -> Any:
        kwargs = d["kwargs"]
        made = cls(kwargs["header"], kwargs.get("body"), kwargs=kwargs.get("kwargs"), app=app)
        made["args"] = tuple(d.get("args") or ())
        made["options"] = dict(d.get("options") or {})
        made["immutable"] = bool(d.get("immutable"))
        return made

    @property
    def tasks(self) -> list[Any]:
        """The header's signatures, in order."""
        tasks: list[Any] = self["kwargs"]["header"]
        return tasks

    @property
    def body(self) -> Any:
        """The signature that gets all values."""
        return self["kwargs"]["body"]

    @body.setter
    def body(self, sig: Any) -> None:
        self["kwargs"]["body"] = sig

    @property
    def app(self) -> AppLike:
        """The app given, else the first member's, else the body's."""
        if self._app is None:
            for sig in (*self.tasks[:1], self.body):
                if sig is not None:
                    return sig.app  # type: ignore[no-any-return]
        return super().app

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Any:
        """A copy with a copy of its body; keywords are the header's."""
        made = super().clone(args, {}, **opts)
        mine = self["kwargs"]
        body = None if self.body is None else self.body.clone()
        made["kwargs"] = {**mine, "kwargs": {**mine["kwargs"], **(kwargs or {})}, "body": body}
        return made

    partial = clone

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with the body given here or before."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send the header in one publish: the handle of the body's value. Arguments are the header's.

        `task_id` is the body's id. NotImplementedError where the result store cannot join.
        """
        given = dict(kwargs or ())
        sig = self._with_body(given.pop("body", None))
        return Signature.apply_async(sig, args, given, route_name, **options)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        propagate: bool = True,
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Run the header and the body here and now."""
        given = dict(kwargs or ())
        sig = self._with_body(body if body is not None else given.pop("body", None))
        return eager.run(sig, args, given, options)

    def _with_body(self, body: Any) -> chord:
        if body is None:
            return self
        made: chord = self.clone()
        made.body = maybe_signature(body)
        return made

    def set_immutable(self, immutable: bool) -> None:
        """Freeze the arguments of the header's tasks."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, callback: Any) -> Any:
        """Call this one with the body's value."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call this one if the body fails, or cannot run since a member has failed.

        Each member that fails calls it too, where `task_allow_error_cb_on_chord_header` is set.
        """
        if getattr(self.app.conf, "task_allow_error_cb_on_chord_header", False):
            for task in self.tasks:
                task.link_error(errback.clone())
        self.body.link_error(errback)
        return errback

    def _answering(self) -> Signature:
        return self.body._answering()  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        header = ", ".join(map(repr, self.tasks))
        return f"chord([{header}], {self.body!r})"
