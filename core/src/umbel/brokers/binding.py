"""Exchanges for a broker that has none: bindings are resolved to queues before a message is published."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from umbel.brokers.wrapping import Rewritten, Wrapper, publish_rewritten
from umbel.spec import Broker, BrokerError, Failure, PublishError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.spec import Message, Queue

TYPES = ("direct", "topic", "fanout")
CACHE = 4096
"""Pairs of exchange and routing key whose queues are remembered."""

_Bound = tuple[str, str, str]
"""Queue, exchange type, routing key."""


class BindingBroker(Wrapper):
    """Sends a copy to each queue that takes the message, by the bindings that were declared through this object.

    Without an exchange a message goes to its queue, or to the queue that its routing key names.
    """

    def __init__(self, inner: Broker) -> None:
        super().__init__(inner, replace(inner.capabilities, exchanges=True))
        self._lock = threading.Lock()
        self._bindings: dict[str, list[_Bound]] = {}
        """By exchange, in the order in which they were declared."""
        self._routes: dict[tuple[str, str], tuple[str, ...]] = {}

    def declare(self, queues: Sequence[Queue]) -> None:
        for queue in queues:
            for binding in queue.bindings:
                if binding.exchange and binding.exchange_type not in TYPES:
                    raise Unsupported(
                        f"exchange {binding.exchange!r} of queue {queue.name!r} is of type "
                        f"{binding.exchange_type!r}; this broker has only {', '.join(TYPES)}"
                    )
        self.inner.declare(queues)
        with self._lock:
            for queue in queues:
                for binding in queue.bindings:
                    known = self._bindings.setdefault(binding.exchange, [])
                    bound = (queue.name, binding.exchange_type, binding.routing_key)
                    if bound not in known:
                        known.append(bound)
            self._routes = {}

    def delete(self, queues: Sequence[str]) -> None:
        self.inner.delete(queues)
        gone = set(queues)
        with self._lock:
            for exchange, bound in list(self._bindings.items()):
                self._bindings[exchange] = [one for one in bound if one[0] not in gone]
            self._routes = {}

    def publish(self, messages: Sequence[Message]) -> None:
        if _direct(messages):
            self.inner.publish(messages)
            return
        rewritten, failures = self._resolve(messages)
        try:
            if rewritten:
                publish_rewritten(self.inner, rewritten)
        except PublishError as error:
            failures += _merged(error, rewritten)
        if failures:
            raise PublishError(failures)

    def rewrite(self, messages: Sequence[Message]) -> Rewritten | None:
        if _direct(messages):
            return None
        rewritten, failures = self._resolve(messages)
        if failures:
            raise PublishError(failures)
        return rewritten

    def _resolve(self, messages: Sequence[Message]) -> tuple[Rewritten, list[Failure]]:
        rewritten: Rewritten = []
        failures: list[Failure] = []
        for message in messages:
            if message.exchange:
                names = self._targets(message.exchange, message.routing_key)
            else:
                name = message.queue or message.routing_key
                names = (name,) if name else ()
            for name in names:
                rewritten.append((message, message if message.queue == name else replace(message, queue=name)))
            if not names:
                error = BrokerError(
                    f"no queue is bound to exchange {message.exchange!r} for routing key {message.routing_key!r}"
                )
                failures.append(Failure(message, error, certain=True))
        return rewritten, failures

    def _targets(self, exchange: str, key: str) -> tuple[str, ...]:
        names = self._routes.get((exchange, key))
        if names is None:
            with self._lock:
                bound = self._bindings.get(exchange, ())
                # A queue takes one copy however many of its bindings match.
                names = tuple(dict.fromkeys(name for name, kind, pattern in bound if _takes(kind, pattern, key)))
                if len(self._routes) >= CACHE:
                    self._routes = {}
                self._routes[exchange, key] = names
        return names


def matches(pattern: str, key: str) -> bool:
    """Whether a topic pattern takes the routing key: ``*`` stands for one word, ``#`` for any number of them."""
    words = key.split(".") if key else []
    # The set of numbers of words that the pattern so far can account for: linear, whatever the pattern.
    reached = {0}
    for part in pattern.split(".") if pattern else []:
        if part == "#":
            reached = set(range(min(reached), len(words) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(words) and part in ("*", words[n])}
        if not reached:
            return False
    return len(words) in reached


def _takes(kind: str, pattern: str, key: str) -> bool:
    return kind == "fanout" or (matches(pattern, key) if kind == "topic" else pattern == key)


def _direct(messages: Sequence[Message]) -> bool:
    return not any(message.exchange or not message.queue for message in messages)


def _merged(error: PublishError, rewritten: Rewritten) -> list[Failure]:
    """One failure for each message, certain only if no queue at all has it."""
    copies: dict[int, int] = {}
    for message, _ in rewritten:
        copies[id(message)] = copies.get(id(message), 0) + 1
    failed: dict[int, list[Failure]] = {}
    for failure in error.failures:
        failed.setdefault(id(failure.message), []).append(failure)
    return [
        Failure(mine[0].message, mine[0].error, len(mine) == copies.get(key) and all(one.certain for one in mine))
        for key, mine in failed.items()
    ]
