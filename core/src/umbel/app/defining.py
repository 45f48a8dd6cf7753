"""An app has tasks: made of functions, or given as objects; all of them are there once it is finalized."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from umbel.app.annotations import annotate
from umbel.app.living import define_all, define_everywhere, find_task
from umbel.app.making import check_function, make_task, warn_if_other
from umbel.app.registry import TaskRegistry
from umbel.app.sending import Sending
from umbel.app.sources import load
from umbel.canvas.builtin import builtin_tasks
from umbel.signals import Signal
from umbel.task.options import check_options
from umbel.task.task import Task as TaskType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from umbel.app.making import Decorator

T = TypeVar("T", bound=TaskType[Any, Any])

CONTROL = ("name", "base", "bind", "shared", "lazy", "filter")
"""Options of the decorator's own; the others are the task's."""


class Defining(Sending):
    """An app with tasks."""

    task_cls: Any = TaskType
    """The base of its tasks, or the dotted name of one."""
    registry_cls: Any = TaskRegistry

    def __init__(self, changes: Mapping[str, Any], *, tasks: Any = None, autofinalize: bool = True) -> None:
        super().__init__(changes)
        registry = tasks if tasks is not None else self.registry_cls
        self._tasks: TaskRegistry = registry() if callable(registry) else registry
        self._unbound: list[TaskType[Any, Any]] = list(self._tasks.values())
        self._binding = threading.RLock()
        self._finalizing = False
        self.autofinalize = autofinalize
        self.strict_typing = True
        self.finalized = False
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        """Sent when all tasks are there."""

    @property
    def tasks(self) -> TaskRegistry:
        """The tasks, by name; all of them are defined when this is asked for."""
        if not self.finalized:
            self.finalize(auto=True)
        return self._tasks

    @property
    def Task(self) -> type[TaskType[Any, Any]]:  # noqa: N802 - Celery's name for it
        """The base of the app's tasks: a class that belongs to it."""
        made: type[TaskType[Any, Any]] | None = self.__dict__.get("Task")
        if made is None:
            made = self.create_task_cls()
            self.__dict__["Task"] = made
        return made

    def create_task_cls(self) -> type[TaskType[Any, Any]]:
        """Make that class."""
        base = load(self.task_cls) if isinstance(self.task_cls, str) else self.task_cls
        return type("Task", (base,), {"_app": self, "__module__": base.__module__, "__doc__": base.__doc__})

    if TYPE_CHECKING:

        @property
        def task(self) -> Decorator:
            """Make a task of a function."""

    else:

        def task(self, *args, **options):
            """Make a task of a function: a decorator, with options or without. Of the same name, the first stays."""
            if not args:
                return lambda fun: self._define(fun, options)
            if len(args) > 1:
                raise TypeError("@task() takes one function, and options by name")
            return self._define(args[0], options)

    def register_task(self, task: T | type[T], **options: Any) -> T:
        """Add a task that is an instance of a class of one's own, or that class; it replaces one of the same name."""
        if isinstance(task, type):
            task = task()
        if not isinstance(task, TaskType):
            raise TypeError(f"register_task takes a task, not {task!r:.100}: for a function, use the decorator @task")
        check_options(options, type(task))
        for name, value in options.items():
            setattr(task, name, value)
        if not task.name:
            task.name = self.gen_task_name(type(task).__name__, type(task).__module__)
        self._add(task)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that is given none: that of its module, with the app's own for a script, and its own."""
        known = sys.modules.get(module)
        module = getattr(known, "__name__", module) or "__main__"
        if module == "__main__" and self.main:
            module = self.main
        return f"{module}.{name}"

    def finalize(self, auto: bool = False) -> None:
        """Define what is defined in all apps, and bind every task. `auto`: not asked for by the user."""
        if self.finalized:
            return
        with self._binding:
            if self.finalized or self._finalizing:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("Contract breach: app not finalized (autofinalize is off, so call app.finalize())")
            self._finalizing = True
            try:
                define_all(self)
                for name, function in builtin_tasks(self).items():
                    if name not in self._tasks:
                        self._define(function, {"name": name, "typing": False})
                self._bind_all()
                self.finalized = True
            finally:
                self._finalizing = False
        self.on_after_finalize.send(sender=self)

    def reduce_task(self, name: str, module: str) -> tuple[Any, ...]:
        """How a task of this app is pickled: as where to find it."""
        return find_task, (name, module, self.main)

    def _define(self, fun: Any, options: Mapping[str, Any]) -> Any:
        check_function(fun, options.get("name"))
        name = options.get("name") or self.gen_task_name(fun.__name__, fun.__module__)
        found = self._tasks.get(name)
        if found is not None:
            warn_if_other(found, fun)
        else:
            own = {option: value for option, value in options.items() if option not in CONTROL}
            base = options.get("base") or self.Task
            found = make_task(fun, name, base, bind=bool(options.get("bind")), options=own)
            vars(found)["_app"] = self
            self._add(found)
        if options.get("shared"):
            define_everywhere(lambda app: app is self or app._define(fun, {**options, "shared": False}))
        adapt: Callable[[Any], Any] | None = options.get("filter")
        return adapt(found) if adapt is not None else found

    def _add(self, task: TaskType[Any, Any]) -> None:
        with self._binding:
            before = self._tasks.get(task.name)
            self._tasks.register(task)
            self._unbound.append(task)
            if self.finalized:
                try:
                    self._bind_all()
                except BaseException:
                    if before is not None:
                        self._tasks.register(before)
                    else:
                        self._tasks.unregister(task)
                    raise

    def _bind_all(self) -> None:
        """Bind what is not bound yet; tasks may define others then."""
        while self._unbound:
            task = self._unbound.pop()
            annotate(task, self.conf.task_annotations)
            task.bind(self)
            for cls in task.resolved.throws:
                if issubclass(cls, Exception):
                    self.exception_types.register(cls)
