"""Deliveries that have to be extended one by one stay ours."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all, until
from umbel.brokers.leasing import LeasingBroker
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.clock import ManualClock
from umbel.spec import BrokerError, Consumer

LEASE = 60.0


class World:
    def __init__(self, **fields: object) -> None:
        self.clock = ManualClock()
        self.calls: list[str] = []
        self.down = False
        fields = {"held_by": "message", "lease": LEASE, **fields}
        self.inner = MemoryBroker(clock=self.clock, capabilities=replace(FULL, **fields), fault=self._fault)
        self.broker = LeasingBroker(self.inner, clock=self.clock)
        self.other = MemoryBroker(self.inner.hub, capabilities=self.inner.capabilities)

    def _fault(self, verb: str) -> None:
        self.calls.append(verb)
        if self.down and verb == "extend":
            raise BrokerError("down")

    @property
    def extensions(self) -> int:
        return self.calls.count("extend")

    def pass_time(self, seconds: float, step: float = 5.0) -> None:
        """Turn the clock in small steps, and let the thread do its work after each."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            until(self._thread_waits, clock=self.clock)

    def _thread_waits(self) -> bool:
        waiting = self.clock._waiting
        return any(consumer._changed in waiting or not consumer._held for consumer in self.broker._consumers)

    def comes_back(self) -> list[str]:
        return bodies(receive_all(consume(self.other, owner="other")))


@pytest.fixture
def world():
    world = World()
    yield world
    world.broker.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "umbel-leasing"]


def test_to_the_core_it_is_as_good_as_held_by_connection(world: World) -> None:
    assert world.broker.capabilities == replace(FULL, held_by="connection", lease=LEASE)


def test_what_is_not_settled_stays_ours_for_many_leases(world: World) -> None:
    world.broker.publish([message("1"), message("2")])
    consumer = consume(world.broker)
    held = consumer.receive(2, 0)
    for _ in range(20):
        world.pass_time(LEASE / 2)
        assert world.comes_back() == []
    consumer.ack(held)
    assert world.inner.stats(["q"])["q"].leased == 0


def test_everything_is_extended_in_one_call_at_about_a_third_of_the_lease(world: World) -> None:
    world.broker.publish([message() for _ in range(50)])
    consumer = consume(world.broker)
    consumer.receive(50, 0)
    world.pass_time(600, step=1.0)
    assert 600 / (LEASE / 3) <= world.extensions <= 600 / (LEASE / 3) / 0.7 + 1


def test_short_tasks_are_never_extended(world: World) -> None:
    consumer = consume(world.broker)
    for _ in range(40):
        world.broker.publish([message()])
        held = consumer.receive(1, 0)
        world.pass_time(5)
        consumer.ack(held)
    assert world.extensions == 0


@pytest.mark.parametrize("verb", ["ack", "requeue", "dead_letter"])
def test_what_is_settled_is_extended_no_longer(verb: str, world: World) -> None:
    world.broker.publish([message()])
    consumer = consume(world.broker)
    settle(consumer, verb, consumer.receive(1, 0))
    world.pass_time(300)
    assert world.extensions == 0


def settle(consumer: Consumer, verb: str, deliveries: object) -> None:
    getattr(consumer, verb)(deliveries, *(("why",) if verb == "dead_letter" else ()))


@pytest.mark.parametrize("verb", ["ack", "requeue", "dead_letter"])
def test_what_was_lost_is_remembered_and_its_late_settling_skipped(
    verb: str, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.broker.publish([message("lost"), message("kept")])
    consumer = consume(world.broker)
    lost, kept = consumer.receive(2, 0)
    settled: list[list[str]] = []
    monkeypatch.setattr(consumer.inner, verb, lambda deliveries, *args, **more: settled.append(bodies(deliveries)))
    monkeypatch.setattr(consumer.inner, "extend", lambda deliveries: [one for one in deliveries if one is lost])
    with caplog.at_level(logging.WARNING, "umbel.broker"):
        world.pass_time(LEASE)
    assert "1 messages were lost" in caplog.text
    settle(consumer, verb, [lost, kept])
    assert settled == [["kept"]]
    assert not consumer._lost
    assert not consumer._held


def test_a_lease_that_ends_while_the_process_stands_still_is_lost(world: World) -> None:
    world.broker.publish([message("1")])
    consumer = consume(world.broker)
    held = consumer.receive(1, 0)
    world.down = True  # nothing gets through for longer than the lease
    world.pass_time(LEASE + 5)
    assert world.comes_back() == ["1"]
    world.down = False
    world.pass_time(LEASE / 3)
    consumer.ack(held)
    assert world.inner.stats(["q"])["q"].leased == 1


def test_an_extension_that_fails_is_tried_again_before_the_lease_ends(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.broker.publish([message()])
    consume(world.broker).receive(1, 0)
    world.down = True
    with caplog.at_level(logging.WARNING, "umbel.broker"):
        world.pass_time(LEASE * 0.6)
    assert world.extensions >= 2
    assert "trying again: down" in caplog.text
    world.down = False
    world.pass_time(LEASE * 5)
    assert world.comes_back() == []


def test_at_the_longest_lease_it_lets_go_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    world = World(max_lease=600.0)
    world.broker.publish([message("1", id="the-long-one")])
    consumer = consume(world.broker)
    consumer.receive(1, 0)
    with caplog.at_level(logging.WARNING, "umbel.broker"):
        world.pass_time(540)
        assert world.comes_back() == []
        assert caplog.text == ""
        world.pass_time(65)
    assert world.comes_back() == ["1"]
    assert "the-long-one has been held" in caplog.text
    world.broker.close()


def test_receipts_of_any_kind_will_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.broker.publish([message()])
    consumer = consume(world.broker)
    receive, ack = consumer.inner.receive, consumer.inner.ack
    monkeypatch.setattr(
        consumer.inner,
        "receive",
        lambda limit, timeout: [replace(one, receipt={"claim": one.receipt}) for one in receive(limit, timeout)],
    )
    monkeypatch.setattr(
        consumer.inner, "ack", lambda held: ack([replace(one, receipt=one.receipt["claim"]) for one in held])
    )
    held = consumer.receive(1, 0)
    assert len(consumer._held) == 1
    consumer.ack(held)
    assert not consumer._held
    assert world.inner.stats(["q"])["q"].leased == 0


def test_closing_ends_the_thread_and_gives_back_what_is_held(world: World) -> None:
    world.broker.publish([message("1")])
    consumer = consume(world.broker)
    consumer.receive(1, 0)
    assert [thread for thread in threading.enumerate() if thread.name == "umbel-leasing"]
    consumer.close()
    consumer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "umbel-leasing"]
    assert world.comes_back() == ["1"]
