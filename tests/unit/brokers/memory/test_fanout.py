"""Broadcasts reach whoever listens, and nobody else."""

from __future__ import annotations

import pytest

from tests.unit.brokers.helpers import Background, until
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.fanout import BACKLOG

FOREVER = 3600.0


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def test_every_present_subscriber_gets_a_broadcast(broker: MemoryBroker) -> None:
    first, second = broker.subscribe(["a", "b"]), MemoryBroker(broker.hub).subscribe(["a"])
    broker.broadcast("a", b"1")
    broker.broadcast("b", b"2")
    broker.broadcast("c", b"3")
    assert first.receive(0) == [("a", b"1"), ("b", b"2")]
    assert second.receive(0) == [("a", b"1")]
    assert broker.subscribe(["a"]).receive(0) == []


def test_a_topic_named_twice_is_listened_to_once(broker: MemoryBroker) -> None:
    subscription = broker.subscribe(["a", "a"])
    broker.broadcast("a", b"1")
    assert subscription.receive(0) == [("a", b"1")]


def test_a_broadcast_wakes_a_blocked_subscriber(broker: MemoryBroker) -> None:
    subscription = broker.subscribe(["a"])
    blocked = Background(lambda: subscription.receive(FOREVER))
    broker.broadcast("a", b"1")
    assert blocked.wait() == [("a", b"1")]


@pytest.mark.parametrize("who", ["subscription", "broker"])
def test_closing_wakes_a_blocked_subscriber_and_ends_the_stream(who: str, broker: MemoryBroker) -> None:
    subscription = broker.subscribe(["a"])
    blocked = Background(lambda: subscription.receive(FOREVER))
    (subscription if who == "subscription" else broker).close()
    assert blocked.wait() == []
    broker.broadcast("a", b"1")
    assert subscription.receive(0) == []
    subscription.close()


def test_a_subscriber_that_does_not_read_loses_the_oldest(broker: MemoryBroker) -> None:
    subscription = broker.subscribe(["a"])
    for number in range(BACKLOG + 1):
        broker.broadcast("a", str(number).encode())
    news = subscription.receive(0)
    assert (len(news), news[0][1]) == (BACKLOG, b"1")


def test_nobody_is_remembered_after_closing(broker: MemoryBroker) -> None:
    for _ in range(3):
        broker.subscribe(["a"]).close()
    until(lambda: not broker.hub.topics.listeners())
