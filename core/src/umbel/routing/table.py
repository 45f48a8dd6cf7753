"""Destinations: from the caller's options, the routes and the queues of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from umbel.exceptions import ImproperlyConfigured, QueueNotFound
from umbel.routing.destination import Destination
from umbel.routing.queues import Exchange, Queue, as_exchange, as_queue, queue_of_options
from umbel.routing.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from umbel.spec import Queue as Declaration
    from umbel.spec import Router

KEPT = 4096
"""Decisions, and queues that no setting names, that are remembered."""
ROUTING = ("queue", "exchange", "exchange_type", "routing_key")
"""Options that say where; the rest of a route goes with the message."""
_NOWHERE: Mapping[str, Any] = {}


class RouteTable:
    """Decides where calls go. Made once per app from its settings; from any thread."""

    def __init__(
        self,
        conf: Any,
        *,
        router: Callable[[str], Router] | None = None,
        tasks: Mapping[str, Any] | None = None,
    ) -> None:
        """`router` makes the router plugin of a name; `tasks` are what Celery's router functions get as `task`."""
        self.default_queue: str = conf.task_default_queue
        exchange = getattr(conf, "task_default_exchange", None) or self.default_queue
        self._exchange = Exchange(exchange, getattr(conf, "task_default_exchange_type", None) or "direct")
        self._routing_key: str = getattr(conf, "task_default_routing_key", None) or self.default_queue
        self._create: bool = getattr(conf, "task_create_missing_queues", True)
        self._max_priority: int | None = getattr(conf, "task_queue_max_priority", None)
        self._missing_type: str | None = getattr(conf, "task_create_missing_queue_type", None)
        self._missing_exchange_type: str = getattr(conf, "task_create_missing_queue_exchange_type", None) or "direct"
        self.queues: dict[str, Queue] = {}
        """The queues of the settings, by name: what a worker consumes that is not told otherwise."""
        self._aliases: dict[str, Queue] = {}
        self._others: dict[str, Queue] = {}
        self._kept: dict[Any, Destination] = {}
        self._routes = Routes(getattr(conf, "task_routes", None), router, tasks)
        for queue in _configured(getattr(conf, "task_queues", None)):
            self._add(queue)
        if not self.queues:
            default_type = getattr(conf, "task_default_queue_type", None)
            self._add(_typed(Queue(self.default_queue, self._exchange, self._routing_key), default_type))

    def destination(
        self,
        task: str,
        args: Any = (),
        kwargs: Any = _NOWHERE,
        options: Mapping[str, Any] = _NOWHERE,
        defaults: Mapping[str, Any] = _NOWHERE,
    ) -> Destination:
        """Where this call goes: as its options say, else the routes, else `defaults` (the task's own attributes).

        QueueNotFound for a queue that is not among `task_queues`, if `task_create_missing_queues` is off.
        """
        routes = self._routes
        route = None if routes.by_name else routes.find(task, args, kwargs, options)
        if route is not None:
            return self._decide(route, options, defaults)
        key: Any = task
        if options or defaults:
            asked = tuple([options.get(name) for name in ROUTING])
            own = tuple([defaults.get(name) for name in ROUTING])
            if any(asked) or any(own):
                key = (task, asked, own)
        try:
            found = self._kept.get(key)
        except TypeError:  # a queue that is given as an object, without a hash
            key = found = None
        if found is None:
            if routes.by_name:
                route = routes.find(task, args, kwargs, options)
            found = self._decide(route, options, defaults)
            if key is not None:
                self._keep(key, found)
        return found

    def declarations(self, names: Iterable[Any] | None = None) -> list[Declaration]:
        """The queues of these names, or `Queue` objects, as a transport declares them; None: those of the settings.

        A broadcast queue is called something else than the name that selects it: consume what is declared.
        """
        wanted = list(self.queues) if names is None else names
        return [self.queue(name).declaration() for name in wanted]

    def queue(self, name: Any) -> Queue:
        """The queue of this name, alias or object; made up where settings allow that, else QueueNotFound."""
        if not isinstance(name, str):
            return self._complete(as_queue(name))
        found = self.queues.get(name) or self._aliases.get(name) or self._others.get(name)
        if found is None:
            if not self._create:
                known = ", ".join(sorted(self.queues))
                raise QueueNotFound(
                    f"queue {name!r} is not among task_queues ({known}), and task_create_missing_queues is off"
                )
            exchange = Exchange(name, self._missing_exchange_type)
            found = self._remember(_typed(Queue(name, exchange, name), self._missing_type))
        return found

    def _decide(
        self, route: Mapping[str, Any] | None, options: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> Destination:
        extra = _NOWHERE
        if route is not None:
            extra = {name: value for name, value in route.items() if name not in ROUTING and value is not None}
        for source in (options, route, defaults):
            if source and any(source.get(name) for name in ROUTING):
                return self._to(source, extra)
        return self._to(_NOWHERE, extra)

    def _to(self, where: Mapping[str, Any], extra: Mapping[str, Any]) -> Destination:
        exchange = as_exchange(where["exchange"]) if where.get("exchange") else None
        routing_key = where.get("routing_key") or ""
        queue = self.queue(where.get("queue") or self.default_queue)
        own = queue.exchange or Exchange(queue.name)
        if exchange is None and not routing_key and (where.get("exchange_type") or own.type) == "direct":
            return Destination(queue.name, "", queue.name, extra)
        to = exchange or own
        name = queue.name
        if queue.alias and own.type == "fanout":  # a broadcast queue: each worker has one, of another name
            name = queue.alias
        elif not where.get("queue"):
            name = self._bound(to.name, routing_key) or name
        if not to.name:
            return Destination(routing_key or name, "", routing_key or name, extra)
        return Destination(name, to.name, routing_key or queue.routing_key, extra)

    def _bound(self, exchange: str, routing_key: str) -> str | None:
        """The queue that takes what is sent to this exchange with this key, if the settings tell."""
        for queue in self.queues.values():
            for way, key, _ in queue.all_bindings():
                if way.name == exchange and (key == routing_key or way.type == "fanout"):
                    return queue.name
        return None

    def _add(self, queue: Queue) -> None:
        if not isinstance(queue.name, str) or not queue.name:
            raise ImproperlyConfigured("task_queues has a queue without a name")
        self.queues[queue.name] = self._complete(queue)
        if queue.alias:
            self._aliases[queue.alias] = queue

    def _complete(self, queue: Queue) -> Queue:
        """Give it what it lacks, as Celery does; remembered, so that it can be declared by its name."""
        if queue.exchange is None or not queue.exchange.name:
            queue.exchange = self._exchange
        if not queue.routing_key and queue.exchange.type != "fanout":
            queue.routing_key = self._routing_key
        self._limit(queue)
        return queue if queue.name in self.queues else self._remember(queue)

    def _remember(self, queue: Queue) -> Queue:
        if len(self._others) >= KEPT:
            self._others.clear()
        self._others[queue.name] = self._limit(queue)
        return queue

    def _limit(self, queue: Queue) -> Queue:
        if self._max_priority is not None and "x-max-priority" not in queue.arguments():
            queue.max_priority = self._max_priority
        return queue

    def _keep(self, key: Any, destination: Destination) -> None:
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[key] = destination


def _configured(setting: Any) -> list[Queue]:
    if not setting:
        return []
    if isinstance(setting, Mapping):
        return [queue_of_options(name, options) for name, options in setting.items()]
    if isinstance(setting, (list, tuple, set, frozenset)):
        return [as_queue(item) for item in setting]
    raise ImproperlyConfigured(f"task_queues must be a list of queues or a dictionary, not {setting!r}")


def _typed(queue: Queue, kind: str | None) -> Queue:
    if kind == "quorum":
        queue.queue_arguments = {**(queue.queue_arguments or {}), "x-queue-type": "quorum"}
    return queue
