"""The application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from umbel import current
from umbel.app.handles import Handles
from umbel.app.importing import Importing
from umbel.app.later import Later
from umbel.app.living import add_app, remove_app
from umbel.canvas.signature import Signature

if TYPE_CHECKING:
    from typing import Self


class Umbel(Importing, Handles, Later):
    """An application: its tasks, its settings, and where messages and results go. Also called `Celery`.

    Its parts by stage: settings (`configured`), connections (`connected`), sending (`sending`), tasks (`defining`),
    modules (`importing`).
    """

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | Iterable[str] | None = None,
        include: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Iterable[str] | None = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **kwargs: Any,
    ) -> None:
        """`main` names tasks of a script; `broker` and `backend` are URLs; any setting can be given by its name.

        `loader`, `amqp`, `events`, `log`, `control` and `fixups` are taken for Celery's sake, without effect.
        """
        named = {"result_backend": backend, "broker_url": broker, "include": include}
        given = {name: value for name, value in named.items() if value is not None}
        super().__init__({**(changes or {}), **kwargs, **given}, tasks=tasks, autofinalize=autofinalize)
        self.main = main
        self.namespace = namespace
        self.strict_typing = strict_typing
        self.set_as_current = set_as_current
        if task_cls is not None:
            self.task_cls = task_cls
        self._source = (config_source, config_source_silent)
        if config_source is not None:
            self.config_from_object(config_source, silent=config_source_silent)
        add_app(self)
        if set_as_current:
            self.set_current()
            current.set_default_app(self)
        self.on_init()

    def on_init(self) -> None:
        """Called at the end of the constructor; for subclasses."""

    def set_current(self) -> None:
        """Make it the current app here: in this thread, and what it starts as coroutines."""
        current.current_app.set(self)

    def set_default(self) -> None:
        """Make it the current app of every thread that has no other."""
        current.set_default_app(self)

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **opts: Any,
    ) -> str:
        """Keep a periodic task for the scheduler, which is still to come; its key in `conf.beat_schedule`."""
        made = sig.clone(args, kwargs) if isinstance(sig, Signature) else self.signature(sig.name, args, kwargs)
        key = name or repr(made)
        entry = {"task": made.name, "schedule": schedule, "args": made.args, "kwargs": made.kwargs}
        self._periodic[key] = {**entry, "options": {**made.options, **opts}}
        if self.conf.was_read:
            self.conf.beat_schedule[key] = self._periodic[key]
        return key

    def close(self) -> None:
        """Close its connections, and be the current app no more. Twice is fine."""
        super().close()
        remove_app(self)
        if current.current_app.get() is self:
            current.current_app.set(None)
        if current.get_app() is self:
            current.set_default_app(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        changes = self.conf.changes()
        return _rebuilt, (type(self), self.main, changes, self._source, self.strict_typing)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'} at {id(self):#x}>"


def _rebuilt(
    cls: Callable[..., Umbel], main: str | None, changes: Mapping[str, Any], source: tuple[Any, bool], strict: bool
) -> Umbel:
    """An app that was pickled: another one, with the same settings."""
    return cls(
        main, changes=changes, config_source=source[0], config_source_silent=source[1], strict_typing=strict,
        set_as_current=False,
    )  # fmt: skip


Celery = Umbel
