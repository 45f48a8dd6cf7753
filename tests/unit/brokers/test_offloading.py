"""Bodies that are too large for the broker travel beside it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.backends.memory import MemoryBackend
from umbel.brokers.bodies import DirectoryStore
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.brokers.offloading import CLAIM, GRACE, SWEEP_EVERY, TTL, OffloadingBroker, Unreadable
from umbel.clock import ManualClock
from umbel.exceptions import InvalidMessage
from umbel.spec import DEATH, BrokerError, PublishError, Unsupported

if TYPE_CHECKING:
    from umbel.spec import Delivery

MOST = 10
LARGE = "large " * 100


class World:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.inner = MemoryBroker(clock=self.clock, lease=30, capabilities=replace(FULL, max_body=MOST))
        self.store = DirectoryStore(directory)
        self.broker = OffloadingBroker(self.inner, self.store, clock=self.clock)

    @property
    def files(self) -> list[str]:
        directory = self.store.directory
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def sweep(self) -> None:
        """What a working broker does now and then."""
        self.clock.advance(2 * SWEEP_EVERY)
        self.broker.sweep()
        self.clock.advance(2 * SWEEP_EVERY)
        self.broker.sweep()

    def received(self, owner: str = "owner") -> Delivery:
        (delivery,) = consume(self.broker, owner=owner).receive(1, 0)
        return delivery


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path / "bodies")
    yield world
    world.broker.close()


def test_it_says_that_a_body_may_have_any_size(world: World) -> None:
    assert world.broker.capabilities == replace(FULL, max_body=None)


def test_a_large_body_arrives_as_it_was_sent(world: World) -> None:
    sent = message(LARGE, headers={"a": 1}, priority=2)
    world.broker.publish([sent])
    assert len(world.files) == 1
    assert world.inner.browse("q", 1)[0].body == b"offloaded"
    assert world.received().message == sent


def test_a_small_body_is_left_alone(world: World) -> None:
    sent = message("x" * MOST)
    world.broker.publish([sent])
    assert world.received().message is sent
    assert world.files == []


def test_a_threshold_offloads_what_the_broker_would_take(tmp_path: Path) -> None:
    inner = MemoryBroker()
    broker = OffloadingBroker(inner, DirectoryStore(tmp_path), threshold=3)
    broker.publish([message("123"), message("1234")])
    assert [one.body for one in inner.browse("q", 9)] == [b"123", b"offloaded"]
    assert bodies(receive_all(consume(broker))) == ["123", "1234"]
    assert OffloadingBroker(inner, None, threshold=3).limit == float("inf")


def test_once_acked_nothing_is_left_behind(world: World) -> None:
    world.broker.publish([message(LARGE), message("small"), message(LARGE)])
    consumer = consume(world.broker)
    held = consumer.receive(9, 0)
    consumer.ack(held[:2])
    assert len(world.files) == 1
    consumer.ack(held[2:])
    assert world.files == []


@pytest.mark.parametrize("way", ["requeue", "delay", "close", "lease"])
def test_what_comes_back_brings_its_body_along(way: str, world: World) -> None:
    sent = message(LARGE)
    world.broker.publish([sent])
    consumer = consume(world.broker)
    held = consumer.receive(1, 0)
    if way == "requeue":
        consumer.requeue(held)
    elif way == "delay":
        consumer.requeue(held, delay=5)
        world.clock.advance(5)
    elif way == "close":
        consumer.close()
    else:
        world.clock.advance(31)
    assert world.received("other").message == sent


def test_a_dead_letter_keeps_its_body_and_can_be_sent_again(world: World) -> None:
    world.broker.publish([message(LARGE)])
    consumer = consume(world.broker)
    consumer.dead_letter(consumer.receive(1, 0), "why")
    assert len(world.files) == 1
    (shown,) = world.broker.browse("q.dead", 1)
    assert shown.body.decode() == LARGE
    graves = consume(world.broker, "q.dead")
    dead = graves.receive(1, 0)
    assert dead[0].message.headers[DEATH]["reason"] == "why"
    world.broker.publish([replace(dead[0].message, queue="q", headers={})])
    graves.ack(dead)
    assert len(world.files) == 1
    assert world.received().message.body.decode() == LARGE


def test_a_dead_letter_keeps_its_body_for_a_whole_ttl_from_its_death(world: World) -> None:
    world.broker.publish([message(LARGE)])
    consumer = consume(world.broker)
    held = consumer.receive(1, 0)
    world.clock.advance(29)
    consumer.dead_letter(held, "why")
    world.clock.advance(TTL - 4 * SWEEP_EVERY - 1)
    world.sweep()
    assert len(world.files) == 1
    world.clock.advance(2)
    world.sweep()
    assert world.files == []


def test_a_late_ack_does_not_take_the_body_from_whoever_has_the_message_now(world: World) -> None:
    sent = message(LARGE)
    world.broker.publish([sent])
    stale = consume(world.broker, owner="stale")
    late = stale.receive(1, 0)
    world.clock.advance(31)
    present = world.received("present")
    stale.ack(late)
    assert len(world.files) == 1
    world.clock.advance(GRACE)
    world.sweep()
    assert len(world.files) == 1, "the present holder was to have it for longer than the grace"
    assert present.message == sent
    assert world.received("next").message == sent


def test_an_ack_that_may_have_come_too_late_leaves_the_body_for_a_while(world: World) -> None:
    world.broker.publish([message(LARGE)])
    consumer = consume(world.broker)
    held = consumer.receive(1, 0)
    world.broker.renew("owner")
    world.clock.advance(29)
    world.broker.renew("owner")
    world.clock.advance(29)
    consumer.ack(held)
    world.sweep()
    assert len(world.files) == 1
    world.clock.advance(GRACE)
    world.sweep()
    assert world.files == []


def test_an_ack_whose_broker_names_no_lease_leaves_the_body_for_a_while(tmp_path: Path) -> None:
    capabilities = replace(FULL, max_body=MOST, held_by="connection", lease=None)
    store = DirectoryStore(tmp_path / "bodies")
    broker = OffloadingBroker(MemoryBroker(capabilities=capabilities), store)
    broker.publish([message(LARGE)])
    consumer = consume(broker)
    consumer.ack(consumer.receive(1, 0))
    assert len(list(store.directory.iterdir())) == 1


def test_settling_in_one_step_knows_which_bodies_are_done_with(world: World) -> None:
    settler = world.broker.settler(MemoryBackend(world.inner.hub))
    assert settler is not None
    world.broker.publish([message(LARGE), message(LARGE)])
    stale, present = consume(world.broker, owner="stale"), consume(world.broker, owner="present")
    late = stale.receive(1, 0)
    world.clock.advance(31)
    present.receive(1, 0)
    mine = stale.receive(1, 0)
    world.broker.renew("stale")
    assert settler.settle(stale, [], [message(LARGE)], [*late, *mine], ttl=None) == late
    assert len(world.files) == 2
    assert world.received("third").message.body.decode() == LARGE


def test_settling_what_cannot_be_offloaded_leaves_everything_undone(world: World) -> None:
    settler = OffloadingBroker(world.inner, None, clock=world.clock).settler(MemoryBackend(world.inner.hub))
    assert settler is not None
    world.inner.publish([message("1")])
    consumer = consume(world.inner)
    held = consumer.receive(1, 0)
    with pytest.raises(PublishError, match="task_offload_url"):
        settler.settle(consumer, [], [message(LARGE)], held, ttl=None)
    assert world.inner.stats(["q"])["q"].leased == 1


def test_without_a_store_a_large_body_is_refused_before_anything_of_it_is_sent(world: World) -> None:
    broker = OffloadingBroker(world.inner, None, clock=world.clock)
    assert broker.capabilities.max_body == MOST
    large = message(LARGE)
    with pytest.raises(PublishError, match="set `task_offload_url`") as caught:
        broker.publish([message("small"), large])
    (failure,) = caught.value.failures
    assert (failure.message is large, failure.certain, type(failure.error)) == (True, True, Unsupported)
    assert bodies(receive_all(consume(broker))) == ["small"]


def test_a_disk_that_is_full_refuses_the_large_and_sends_the_small(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.store, "put", full)
    with pytest.raises(PublishError, match="No space left") as caught:
        world.broker.publish([message(LARGE), message("small")])
    assert [failure.certain for failure in caught.value.failures] == [True]
    assert bodies(receive_all(consume(world.broker))) == ["small"]


def test_a_body_whose_message_was_refused_is_deleted_and_one_of_unknown_fate_is_kept(world: World) -> None:
    verbs: set[str] = set()

    def fault(verb: str) -> None:
        if verb in verbs:
            raise BrokerError(verb)

    inner = MemoryBroker(world.inner.hub, capabilities=replace(FULL, max_body=5), fault=fault)
    broker = OffloadingBroker(inner, world.store, clock=world.clock)
    large = message(LARGE)
    with pytest.raises(PublishError) as caught:
        broker.publish([large])  # its very placeholder is too large for this broker
    assert caught.value.failures[0].message is large
    assert world.files == []
    verbs.add("publish: done")
    with pytest.raises(BrokerError):
        OffloadingBroker(
            MemoryBroker(world.inner.hub, capabilities=replace(FULL, max_body=MOST), fault=fault), world.store
        ).publish([large])
    assert len(world.files) == 1


def test_a_body_that_is_gone_fails_its_own_message_only_and_only_when_asked_for(world: World) -> None:
    world.broker.publish([message(LARGE, id="gone"), message(LARGE, id="there"), message("small", id="small")])
    (world.store.directory / world.files[0]).unlink()
    (world.store.directory / world.files[0]).write_bytes(b"somebody else's")
    consumer = consume(world.broker)
    held = consumer.receive(9, 0)
    assert [one.message.id for one in held] == ["gone", "there", "small"]
    for one in held[:2]:
        assert isinstance(one.message, Unreadable)
        with pytest.raises(InvalidMessage, match=f"the body of message {one.message.id} was offloaded and is gone"):
            one.message.body  # noqa: B018
        assert "gone" in repr(one)
    assert held[2].message.body == b"small"
    consumer.dead_letter(held[:2], "no body")
    consumer.ack(held[2:])
    assert world.inner.stats(["q.dead"])["q.dead"].ready == 2
    assert world.inner.stats(["q"])["q"].leased == 0
    assert [type(one) for one in world.broker.browse("q.dead", 9)] == [Unreadable, Unreadable]


@pytest.mark.parametrize(
    "claim",
    [None, "x", {}, {"name": "../../etc/passwd", "size": 1, "sha256": ""}, {"name": 7}, {"name": "a" * 32, "size": 0}],
)
def test_a_forged_claim_reads_nothing(claim: object, world: World) -> None:
    world.broker.publish([message(LARGE)])  # so that the directory exists
    consume(world.broker, owner="first").receive(1, 0)
    world.inner.publish([message("x", headers={CLAIM: claim})])
    assert isinstance(world.received().message, Unreadable)


def test_a_claim_that_a_sender_brings_along_is_not_sent(world: World) -> None:
    world.broker.publish([message("x", headers={CLAIM: {"name": "a" * 32}, "a": 1})])
    assert world.received().message.headers == {"a": 1}


def test_a_store_that_is_not_there_is_no_reason_to_lose_anything(world: World) -> None:
    world.broker.publish([message(LARGE), message("small")])
    moved = world.store.directory.rename(world.store.directory.with_name("unmounted"))
    consumer = consume(world.broker)
    for _ in range(5):
        with pytest.raises(BrokerError, match="is not there"):
            consumer.receive(9, 0)
    with pytest.raises(BrokerError, match="is not there"):
        world.broker.browse("q", 9)
    moved.rename(world.store.directory)
    held = consumer.receive(9, 0)
    assert [(len(one.message.body), one.attempt) for one in held] == [(len(LARGE), 1), (5, 1)]


def test_a_worker_without_the_setting_buries_what_others_offload_and_it_can_be_sent_again(world: World) -> None:
    world.broker.publish([message(LARGE), message("small")])
    lacking = OffloadingBroker(world.inner, None, clock=world.clock)
    consumer = consume(lacking)
    held = consumer.receive(9, 0)
    with pytest.raises(InvalidMessage, match="`task_offload_url` is not set here"):
        held[0].message.body  # noqa: B018
    assert held[1].message.body == b"small"
    consumer.dead_letter(held[:1], "no body")
    assert len(world.files) == 1
    (dead,) = world.broker.browse("q.dead", 1)
    assert dead.body.decode() == LARGE


def test_orphans_go_after_their_ttl_and_what_waits_for_an_eta_does_not(world: World) -> None:
    world.broker.publish([message(LARGE), message(LARGE, eta=world.clock.now() + TTL)])
    world.broker.purge("q")
    world.clock.advance(TTL - 3600)
    world.sweep()
    assert len(world.files) == 2
    world.clock.advance(3600)
    world.sweep()
    assert len(world.files) == 1
    assert world.received().message.body.decode() == LARGE
    world.clock.advance(TTL + 3600)
    world.sweep()
    assert world.files == []


def test_a_busy_sender_sweeps_by_itself_and_not_all_the_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps: list[float] = []
    monkeypatch.setattr(world.store, "sweep", lambda now, limit: sweeps.append(now) or 0)
    for _ in range(600):
        world.broker.publish([message(LARGE)])
        world.clock.advance(1.0)
        if len(world.files) > 3:
            world.store.delete([name.removesuffix(".body") for name in world.files])
    assert 600 / SWEEP_EVERY * 0.7 <= len(sweeps) <= 600 / SWEEP_EVERY * 1.4 + 1


def test_a_clean_up_that_fails_is_logged_and_harms_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise OSError(5, "Input/output error")

    world.broker.publish([message(LARGE)])
    consumer = consume(world.broker)
    held = consumer.receive(1, 0)
    monkeypatch.setattr(world.store, "delete", broken)
    monkeypatch.setattr(world.store, "sweep", broken)
    with caplog.at_level(logging.WARNING, "umbel.broker"):
        consumer.ack(held)
        world.sweep()
    assert world.inner.stats(["q"])["q"].leased == 0
    assert "could not be deleted" in caplog.text
    assert "could not be swept" in caplog.text
