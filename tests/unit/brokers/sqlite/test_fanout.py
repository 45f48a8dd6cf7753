"""Broadcasts reach whoever listens, in any process, and nobody else; nothing of them stays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import Background, until
from tests.unit.brokers.sqlite.processes import Child
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.fanout import TTL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from umbel.clock import ManualClock

FOREVER = 3600.0


def kept(broker: SqliteBroker) -> int:
    return broker.access.read(lambda connection: connection.execute("SELECT count(*) FROM broadcast").fetchone()[0])


def test_every_present_subscriber_gets_a_broadcast(path: Path, broker: SqliteBroker) -> None:
    broker.broadcast("a", b"before")
    other = SqliteBroker(path)
    first, second = broker.subscribe(["a", "b", "a"]), other.subscribe(["a"])
    broker.broadcast("a", b"1")
    broker.broadcast("b", b"2")
    broker.broadcast("c", b"3")
    assert first.receive(0) == [("a", b"1"), ("b", b"2")]
    assert second.receive(0) == [("a", b"1")]
    assert broker.subscribe(["a"]).receive(0) == []
    other.close()


def test_what_nobody_listens_to_is_not_even_written(broker: SqliteBroker) -> None:
    broker.declare([])
    before = broker.access.session.commits.count
    broker.broadcast("a", b"1")
    assert broker.access.session.commits.count == before
    subscription = broker.subscribe(["b"])
    broker.broadcast("a", b"1")
    subscription.close()
    broker.broadcast("b", b"1")
    assert kept(broker) == 0


def test_a_broadcast_wakes_a_blocked_subscriber(live: SqliteBroker) -> None:
    subscription = live.subscribe(["a"])
    blocked = Background(lambda: subscription.receive(FOREVER))
    until(live.access.host.board.waiting)
    begin = time.monotonic()
    live.broadcast("a", b"1")
    assert blocked.wait() == [("a", b"1")]
    assert time.monotonic() - begin < 1


def test_a_broadcast_reaches_other_processes(path: Path, live: SqliteBroker) -> None:
    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        broker = SqliteBroker(path)
        subscription = broker.subscribe(["a"])
        say("listening")
        for topic, body in subscription.receive(10):
            say(topic + body.decode())
        broker.close()

    children = [Child(work) for _ in range(2)]
    for child in children:
        assert child.hear() == "listening"
    live.broadcast("a", b"1")
    for child in children:
        assert child.hear() == "a1"
        assert child.wait() == 0
        child.close()


@pytest.mark.parametrize("who", ["subscription", "broker"])
def test_closing_wakes_a_blocked_subscriber_and_ends_the_stream(who: str, live: SqliteBroker) -> None:
    subscription = live.subscribe(["a"])
    blocked = Background(lambda: subscription.receive(FOREVER))
    until(live.access.host.board.waiting)
    begin = time.monotonic()
    (subscription if who == "subscription" else live).close()
    assert blocked.wait() == []
    assert time.monotonic() - begin < 1
    assert subscription.receive(0) == []
    subscription.close()


def test_nothing_comes_after_the_timeout(live: SqliteBroker) -> None:
    assert live.subscribe(["a"]).receive(0.02) == []


def test_old_broadcasts_are_deleted_by_new_ones(broker: SqliteBroker, clock: ManualClock) -> None:
    lazy = broker.subscribe(["a"])
    for _ in range(5):
        broker.broadcast("a", b"old")
    clock.advance(TTL)
    broker.broadcast("a", b"new")
    assert kept(broker) == 1
    assert lazy.receive(0) == [("a", b"new")]
