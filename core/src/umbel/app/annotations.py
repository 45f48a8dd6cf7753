"""`task_annotations`: attributes of tasks, changed by the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from umbel.app.sources import load
from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from umbel.task.task import Task

ANY = "*"
AROUND = "@"
"""What the name of a method begins with that is to be wrapped."""


def annotate(task: Task[Any, Any], setting: Any) -> None:
    """Give a task the attributes that the setting has for it: those for all tasks first, then its own."""
    for source in _sources(setting):
        for found in _found(source, task):
            for name, value in found.items():
                _set(task, name, value)


def _sources(setting: Any) -> list[Any]:
    if not setting:
        return []
    return list(setting) if isinstance(setting, (list, tuple)) else [setting]


def _found(source: Any, task: Task[Any, Any]) -> Iterator[Mapping[str, Any]]:
    if isinstance(source, str):
        source = load(source)
        source = source() if isinstance(source, type) else source
    if isinstance(source, Mapping):
        yield from (source[key] for key in (ANY, task.name) if key in source)
    elif hasattr(source, "annotate"):
        yield from (found for found in (source.annotate_any(), source.annotate(task)) if found)
    else:
        raise ImproperlyConfigured(f"task_annotations: {source!r:.100} is neither a dictionary nor an annotation")


def _set(task: Task[Any, Any], name: str, value: Any) -> None:
    if name.startswith(AROUND):
        method = name.removeprefix(AROUND)
        setattr(task, method, value(getattr(task, method)))
    else:
        setattr(task, name, value)
