"""`current_app`, `current_task` and `shared_task`: for code that does not know its app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from umbel import current
from umbel.app.base import Umbel
from umbel.app.living import define_everywhere
from umbel.app.making import check_function
from umbel.app.proxies import Proxy

if TYPE_CHECKING:
    from umbel.app.making import Decorator
    from umbel.task.task import Task

DEFAULT_CONFIG = "celeryconfig"
"""The module that an app is configured by which nobody made."""


def get_current_app() -> Umbel:
    """The current app; where there is none, one that is made, as in Celery: with the settings of `celeryconfig`."""
    app: Umbel | None = current.get_app()
    if app is None:
        app = Umbel("default", set_as_current=False, config_source=DEFAULT_CONFIG, config_source_silent=True)
        app.set_default()
    return app


def get_current_task() -> Task[Any, Any] | None:
    """The task that runs here, or None."""
    request = current.current_request.get()
    return None if request is None else request._task


current_app: Umbel = cast("Umbel", Proxy(get_current_app))
current_task: Task[Any, Any] = cast("Task[Any, Any]", Proxy(get_current_task))


def _shared_task(*args: Any, **options: Any) -> Any:
    """Make a task of a function for every app, those to come too; it is the current app's wherever it is used."""
    if not args:
        return lambda fun: _share(fun, options)
    if len(args) > 1:
        raise TypeError("@shared_task() takes one function, and options by name")
    return _share(args[0], options)


def _share(fun: Any, options: dict[str, Any]) -> Any:
    if type(fun) is Proxy:
        raise TypeError("@shared_task is applied twice")
    check_function(fun, options.get("name"))
    define_everywhere(lambda app: app.task(**options)(fun))

    def find() -> Any:
        app = get_current_app()
        return app.tasks[options.get("name") or app.gen_task_name(fun.__name__, fun.__module__)]

    return Proxy(find)


shared_task = cast("Decorator", _shared_task)
