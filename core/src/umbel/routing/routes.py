"""`task_routes`: which options a task gets by its name, or from a router."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.spec import Router

    Route = Mapping[str, Any]
    Rule = Callable[[str, Any, Any, Mapping[str, Any]], Route | None]

NESTING = 10
"""Routers that may name each other."""
_OFTEN_MISTYPED = ("queue", "exchange", "exchange_type", "routing_key", "priority")


class Routes:
    """The routers of `task_routes`, in order; what is named by a dotted path is imported when it is first needed."""

    def __init__(
        self,
        setting: Any,
        plugin: Callable[[str], Router] | None = None,
        tasks: Mapping[str, Any] | None = None,
    ) -> None:
        """`plugin` makes the router of an entry point's name; `tasks` are what Celery's routers get as `task`."""
        self._plugin = plugin
        self._tasks = tasks if tasks is not None else {}
        self.by_name = True
        """Whether the task's name alone decides, so that a decision can be kept."""
        self._rules: list[Rule] = []
        if setting is not None:
            several = isinstance(setting, (list, tuple)) and not _is_pattern_pair(setting)
            for index, item in enumerate(setting if several else (setting,)):
                self._add(item, f"task_routes[{index}]" if several else "task_routes", ())

    def find(self, task: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Route | None:
        """What the first router that has an opinion says; None if none has."""
        for rule in self._rules:
            found = rule(task, args, kwargs, options)
            if found is not None:
                return found
        return None

    def _add(self, item: Any, where: str, path: tuple[Any, ...]) -> None:
        if isinstance(item, Mapping):
            self._rules.append(_map_rule(item.items(), where))
        elif isinstance(item, (list, tuple)):
            if len(path) > NESTING or any(item is outer for outer in path):
                raise ImproperlyConfigured(f"{where} contains itself")
            if _is_pair(item):
                self._rules.append(_map_rule([item], where))
            else:
                for index, each in enumerate(item):
                    self._add(each, f"{where}[{index}]", (*path, item))
        elif isinstance(item, str):
            if "*" in item:
                raise ImproperlyConfigured(f"{where} is a pattern without a route: write [({item!r}, 'a queue')]")
            self.by_name = False
            self._rules.append(_Named(item, where, self))
        else:
            self.by_name = False
            self._rules.append(self._router_rule(item, where))

    def resolve(self, name: str, where: str, seen: tuple[str, ...] = ()) -> Rule:
        """The rule behind a dotted path, or the name of a plugin."""
        if name in seen:
            raise ImproperlyConfigured(f"{where} goes round in circles: {' -> '.join((*seen, name))}")
        if "." not in name and ":" not in name:
            if self._plugin is None:
                raise ImproperlyConfigured(
                    f"{where}: {name!r} is neither a dotted path nor the name of a router plugin"
                )
            return self._router_rule(self._plugin(name), f"{where} ({name})")
        found = _imported(name, where)
        if isinstance(found, str):
            return self.resolve(found, where, (*seen, name))
        if isinstance(found, (Mapping, list, tuple)):
            inner = Routes(found, self._plugin, self._tasks)
            inner._rules = [
                self.resolve(rule.name, where, (*seen, name)) if isinstance(rule, _Named) else rule
                for rule in inner._rules
            ]
            return inner.find
        if isinstance(found, type):
            found = found()
        return self._router_rule(found, f"{where} ({name})")

    def _router_rule(self, router: Any, where: str) -> Rule:
        ask = self._asking(router, where)

        def rule(task: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Route | None:
            found = ask(task, args, kwargs, options)
            return None if found is None else as_route(found, f"what {where} returned for {task}")

        return rule

    def _asking(self, router: Any, where: str) -> Callable[..., Any]:
        """How the router is called: ours, Celery's objects, and Celery's functions, each with what it knows."""
        if hasattr(router, "route_for_task"):
            return lambda task, args, kwargs, options: router.route_for_task(task, args, kwargs)
        route = getattr(router, "route", None)
        if callable(route):
            asked: Callable[..., Any] = route
            return asked
        if not callable(router):
            raise ImproperlyConfigured(f"{where} is no router: {router!r}; {_WANTED}")
        function: Callable[..., Any] = router
        if not _takes_task(function):
            return function
        return lambda task, args, kwargs, options: function(task, args, kwargs, options, task=self._tasks.get(task))


class _Named:
    """A rule that is looked up when it is first asked."""

    def __init__(self, name: str, where: str, routes: Routes) -> None:
        self.name = name
        self._where = where
        self._routes = routes
        self._rule: Rule | None = None

    def __call__(self, task: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Route | None:
        if self._rule is None:
            self._rule = self._routes.resolve(self.name, self._where)
        return self._rule(task, args, kwargs, options)


_WANTED = "a dictionary of tasks, a function, an object with a method `route`, or the dotted path of one is wanted"


def as_route(value: Any, where: str) -> Route:
    """The options of a route, from a queue's name, a queue, or a dictionary."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ImproperlyConfigured(f"{where} has an option that is not text: {name!r}")
            if name not in _OFTEN_MISTYPED and (meant := _close(name)):
                raise ImproperlyConfigured(f"{where} has an option {name!r}; is {meant!r} meant?")
        return value
    if isinstance(value, str) or hasattr(value, "routing_key"):
        return {"queue": value}
    raise ImproperlyConfigured(f"{where} must be a queue's name or a dictionary of options, not {value!r}")


@lru_cache(maxsize=256)
def _close(name: str) -> str | None:
    """The option that was probably meant."""
    import difflib  # noqa: PLC0415 - only for options that are seldom in a route

    return next(iter(difflib.get_close_matches(name, _OFTEN_MISTYPED, 1, 0.8)), None)


def _map_rule(pairs: Any, where: str) -> Rule:
    exact: dict[str, Route] = {}
    patterns: list[tuple[re.Pattern[str], Route]] = []
    for key, value in pairs:
        route = as_route(value, f"{where}[{key!r}]" if not isinstance(key, re.Pattern) else f"{where}[{key.pattern!r}]")
        if isinstance(key, re.Pattern):
            patterns.append((key, route))
        elif not isinstance(key, str):
            raise ImproperlyConfigured(f"{where} has a key that is neither a task's name nor a pattern: {key!r}")
        elif "*" in key:
            patterns.append((re.compile(translate(key)), route))
        else:
            exact[key] = route

    def rule(task: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Route | None:
        found = exact.get(task)
        if found is None:
            for pattern, route in patterns:
                if pattern.match(task):
                    return route
        return found

    return rule


def _is_pair(item: Sequence[Any]) -> bool:
    return (
        len(item) == 2
        and isinstance(item[0], (str, re.Pattern))
        and (isinstance(item[1], (str, Mapping)) or hasattr(item[1], "routing_key"))
    )


def _is_pattern_pair(setting: Sequence[Any]) -> bool:
    """Whether the whole setting is one pair; a name without a pattern would be that of a router."""
    return _is_pair(setting) and (isinstance(setting[0], re.Pattern) or "*" in setting[0])


def _imported(name: str, where: str) -> Any:
    module, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ImproperlyConfigured(f"{where} names the router {name!r}, which cannot be imported: {exc}") from exc
    return found


def _takes_task(router: Callable[..., Any]) -> bool:
    import inspect  # noqa: PLC0415 - only where a router is a function

    try:
        parameters = inspect.signature(router).parameters
    except (TypeError, ValueError):
        return True
    return "task" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
