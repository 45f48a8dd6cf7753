"""Queues and exchanges as settings name them: ours, kombu's, names and dictionaries."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from umbel.exceptions import ImproperlyConfigured
from umbel.spec import Binding
from umbel.spec import Queue as Declaration


@dataclass(slots=True)
class Exchange:
    """Where messages are sent that are not sent straight to a queue."""

    name: str = ""
    type: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    arguments: Mapping[str, Any] | None = None
    delivery_mode: int | str | None = None
    no_declare: bool = False
    passive: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True)
class binding:  # noqa: N801 - kombu's name for it
    """One more way into a queue."""

    exchange: Exchange | str | None = None
    routing_key: str = ""
    arguments: Mapping[str, Any] | None = None
    unbind_arguments: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Queue:
    """A queue of `task_queues`. Without an exchange or a routing key it has the default ones."""

    name: str = ""
    exchange: Any = None
    """An `Exchange`, or its name."""
    routing_key: str = ""
    bindings: Sequence[binding] = ()
    """Beside the one of `exchange` and `routing_key`, or instead of it where there is no exchange."""
    queue_arguments: Mapping[str, Any] | None = None
    binding_arguments: Mapping[str, Any] | None = None
    consumer_arguments: Mapping[str, Any] | None = None
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    no_ack: bool = False
    alias: str | None = None
    """Another name, under which -Q and routes find it."""
    no_declare: bool = False
    expires: float | None = None
    """Seconds unused after which it is deleted."""
    message_ttl: float | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    max_priority: int | None = None

    def __post_init__(self) -> None:
        if self.exchange is not None:
            self.exchange = as_exchange(self.exchange)
        if self.exclusive:
            self.auto_delete = True

    def arguments(self) -> dict[str, Any]:
        """What the queue is declared with, as RabbitMQ names it; kombu uses the same names for every transport."""
        arguments = dict(self.queue_arguments or {})
        for name, value in (
            ("x-expires", None if self.expires is None else int(self.expires * 1000)),
            ("x-message-ttl", None if self.message_ttl is None else int(self.message_ttl * 1000)),
            ("x-max-length", self.max_length),
            ("x-max-length-bytes", self.max_length_bytes),
            ("x-max-priority", self.max_priority),
        ):
            if value is not None:
                arguments[name] = value
        return arguments

    def all_bindings(self) -> list[tuple[Exchange, str, Mapping[str, Any]]]:
        """Exchange, routing key and arguments of every way into it."""
        ways = []
        for each in self.bindings:
            ways.append((as_exchange(each.exchange or self.exchange or ""), each.routing_key, each.arguments or {}))
        if self.exchange is not None and (self.exchange.name or not ways):
            ways.insert(0, (self.exchange, self.routing_key, self.binding_arguments or {}))
        return [way for way in ways if way[0].name]

    def declaration(self) -> Declaration:
        """The queue as a transport declares it."""
        options: dict[str, Any] = {}
        if arguments := self.arguments():
            options["queue_arguments"] = arguments
        for name in ("auto_delete", "exclusive", "no_ack", "no_declare", "consumer_arguments"):
            if value := getattr(self, name):
                options[name] = value
        ways = self.all_bindings()
        exchanges = {exchange.name: made for exchange, _, _ in ways if (made := _unusual(exchange))}
        if exchanges:
            options["exchanges"] = exchanges
        return Declaration(
            name=self.name,
            bindings=tuple(
                Binding(exchange=exchange.name, exchange_type=exchange.type, routing_key=key, arguments=arguments)
                for exchange, key, arguments in ways
            ),
            durable=self.durable,
            options=options,
        )


class Broadcast(Queue):
    """A queue of this worker's own on a fanout exchange: every worker runs each task that is sent to it."""

    __slots__ = ()

    def __init__(
        self,
        name: str | None = None,
        queue: str | None = None,
        unique: bool = False,
        auto_delete: bool = True,
        exchange: Any = None,
        alias: str | None = None,
        **options: Any,
    ) -> None:
        own = f"{queue}.{uuid.uuid4()}" if queue and unique else queue or f"bcast.{uuid.uuid4()}"
        super().__init__(
            name=own,
            exchange=exchange or Exchange(name or own, "fanout"),
            auto_delete=auto_delete,
            alias=alias or name,
            **options,
        )


def worker_direct(hostname: str | Queue) -> Queue:
    """The queue that only the worker of this node name consumes, where `worker_direct` is set."""
    if isinstance(hostname, Queue):
        return hostname
    return Queue(f"{hostname}.dq2", Exchange("C.dq2"), hostname)


def as_exchange(value: Any) -> Exchange:
    """Our exchange, from a name, one of ours, or one of kombu's."""
    if isinstance(value, Exchange):
        return value
    if isinstance(value, str):
        return Exchange(value)
    if hasattr(value, "name") and hasattr(value, "type"):
        return Exchange(
            **{name: found for name in _fields(Exchange) if (found := getattr(value, name, None)) is not None}
        )
    raise ImproperlyConfigured(f"an exchange is a name or an Exchange, not {value!r}")


def as_queue(value: Any) -> Queue:
    """A queue of ours to complete, from a name, one of ours, or one of kombu's."""
    if isinstance(value, Queue):
        return copy(value)  # another app may have other defaults for it
    if isinstance(value, str):
        return Queue(value)
    if isinstance(getattr(value, "name", None), str) and hasattr(value, "routing_key"):
        given = _given(value, Queue)
        given["bindings"] = [
            binding(each.exchange, each.routing_key, each.arguments) for each in (given.get("bindings") or ())
        ]
        return Queue(**given)
    raise ImproperlyConfigured(f"a queue of task_queues is a name, a dictionary or a Queue, not {value!r}")


def queue_of_options(name: str, options: Any) -> Queue:
    """Our queue, from its name and dictionary in `task_queues`."""
    if not isinstance(options, Mapping):
        queue = as_queue(options)
        queue.name = queue.name or name
        return queue
    given = dict(options)
    exchange = given.pop("exchange", None)
    exchange_type = given.pop("exchange_type", None)
    if exchange_type is not None:
        exchange = Exchange(exchange or name, exchange_type) if isinstance(exchange or name, str) else exchange
    given["routing_key"] = given.pop("binding_key", None) or given.get("routing_key") or ""
    unknown = sorted(given.keys() - _fields(Queue))
    if unknown:
        raise ImproperlyConfigured(
            f"task_queues[{name!r}] has unknown options: {', '.join(map(str, unknown))}; "
            f"known: exchange_type, binding_key, {', '.join(sorted(_fields(Queue)))}"
        )
    given.setdefault("name", name)
    return Queue(exchange=exchange, **given)


def _fields(cls: type[Queue | Exchange]) -> frozenset[str]:
    return frozenset(cls.__dataclass_fields__)


def _given(value: Any, cls: type[Queue | Exchange]) -> dict[str, Any]:
    """The fields that a look-alike has set."""
    return {name: found for name in _fields(cls) if (found := getattr(value, name, None)) is not None}


def _unusual(exchange: Exchange) -> dict[str, Any]:
    """What the exchange is declared with besides its type, where that is not the default."""
    usual = Exchange(exchange.name, exchange.type)
    return {
        name: value
        for name in ("durable", "auto_delete", "arguments", "delivery_mode", "no_declare", "passive")
        if (value := getattr(exchange, name)) != getattr(usual, name)
    }
