"""The tasks of an app, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from umbel.exceptions import NotRegistered

if TYPE_CHECKING:
    from umbel.task.task import Task


class TaskRegistry(dict[str, "Task[Any, Any]"]):
    """Tasks by name; asking for one that is not there raises NotRegistered."""

    NotRegistered: ClassVar[type[NotRegistered]] = NotRegistered

    def __missing__(self, name: str) -> Task[Any, Any]:
        raise NotRegistered(name)

    def register(self, task: Task[Any, Any]) -> None:
        """Put a task under its name, in place of another one."""
        if not task.name:
            raise ValueError(f"a task needs a name: {task!r}")
        self[task.name] = task

    def unregister(self, task: Task[Any, Any] | str) -> None:
        """Take a task out, or the one of a name."""
        name = task if isinstance(task, str) else task.name
        if name not in self:
            raise NotRegistered(name)
        del self[name]

    def regular(self) -> dict[str, Task[Any, Any]]:
        """Those that somebody wrote; without the built-in ones."""
        return {name: task for name, task in self.items() if not name.startswith("celery.")}
