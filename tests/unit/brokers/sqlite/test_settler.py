"""Results, messages and acks in one transaction: all of it or nothing, and nothing for a claim that is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.backends.memory import MemoryBackend
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.spec import Delivery, PublishError, Result, Settler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from umbel.clock import ManualClock


@pytest.fixture
def backend(path: Path, clock: ManualClock) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(Location.of(path, fast=True), clock=clock)
    yield backend
    backend.close()


@pytest.fixture
def settler(broker: SqliteBroker, backend: SqliteBackend) -> Settler:
    settler = broker.settler(backend)
    assert settler is not None
    return settler


def succeeded(delivery: Delivery, body: bytes = b"1") -> tuple[Result, Delivery]:
    return Result(id=delivery.message.id, state="SUCCESS", body=body, terminal=True, attempt=delivery.attempt), delivery


def test_there_is_one_for_a_store_on_the_same_file_and_for_no_other(path: Path, broker: SqliteBroker) -> None:
    elsewhere, link = SqliteBackend(path.with_name("other.db")), path.with_name("link.db")
    link.symlink_to(path)
    assert broker.settler(SqliteBackend(link)) is not None
    assert broker.settler(elsewhere) is None
    assert broker.settler(MemoryBackend()) is None
    elsewhere.close()


def test_one_commit_stores_publishes_and_acks(broker: SqliteBroker, backend: SqliteBackend, settler: Settler) -> None:
    broker.publish([message(str(n), id=str(n)) for n in range(150)])
    consumer = consume(broker)
    held = consumer.receive(150, 0)
    before = broker.access.session.commits.count
    lost = settler.settle(consumer, [succeeded(one) for one in held], [message("next")], held, ttl=60)
    assert broker.access.session.commits.count == before + 1
    assert list(lost) == []
    assert {result.state for result in backend.fetch([str(n) for n in range(150)]).values()} == {"SUCCESS"}
    assert bodies(receive_all(consumer)) == ["next"]
    assert broker.stats(["q"])["q"].leased == 1


def test_a_claim_that_was_lost_gets_neither_its_result_nor_its_ack(
    broker: SqliteBroker, backend: SqliteBackend, settler: Settler, clock: ManualClock
) -> None:
    broker.publish([message("1", id="1"), message("2", id="2")])
    stale, present = consume(broker, owner="stale"), consume(broker, owner="present")
    late = stale.receive(1, 0)
    clock.advance(31)
    held = present.receive(1, 0)
    mine = stale.receive(1, 0)
    assert (bodies(held), bodies(mine)) == (["1"], ["2"])
    lost = settler.settle(stale, [succeeded(one) for one in (*late, *mine)], [message("child")], [*late, *mine], ttl=60)
    assert list(lost) == late
    assert list(backend.fetch(["1", "2"])) == ["2"]
    assert settler.settle(present, [succeeded(held[0], b"present")], [], held, ttl=60) == []
    assert backend.fetch(["1"])["1"].body == b"present"
    assert bodies(receive_all(present)) == ["child"]


def test_settling_twice_is_refused_the_second_time(
    broker: SqliteBroker, backend: SqliteBackend, settler: Settler
) -> None:
    broker.publish([message("1", id="1")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    assert settler.settle(consumer, [succeeded(held[0])], [], held, ttl=60) == []
    assert settler.settle(consumer, [succeeded(held[0], b"again")], [], held, ttl=60) == held
    assert backend.fetch(["1"])["1"].body == b"1"


def test_a_result_can_be_stored_before_its_delivery_is_done(
    broker: SqliteBroker, backend: SqliteBackend, settler: Settler
) -> None:
    broker.publish([message("1", id="1")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    assert settler.settle(consumer, [succeeded(held[0])], [], [], ttl=None) == []
    assert broker.stats(["q"])["q"].leased == 1
    assert list(backend.fetch(["1"])) == ["1"]


def test_the_same_owners_next_consumer_may_settle(broker: SqliteBroker, settler: Settler) -> None:
    broker.publish([message("1", id="1")])
    held = consume(broker).receive(1, 0)
    assert settler.settle(consume(broker), [succeeded(held[0])], [], held, ttl=60) == []
    assert broker.stats(["q"])["q"].leased == 0


def test_a_strangers_claim_is_not_ours_to_settle(
    broker: SqliteBroker, backend: SqliteBackend, settler: Settler
) -> None:
    broker.publish([message("1", id="1")])
    theirs = consume(broker, owner="theirs").receive(1, 0)
    foreign = Delivery(message=message("2"), receipt="of another transport")
    mine = consume(broker, owner="mine")
    lost = settler.settle(mine, [succeeded(theirs[0])], [], [*theirs, foreign], ttl=60)
    assert list(lost) == [*theirs, foreign]
    assert backend.fetch(["1"]) == {}
    assert broker.stats(["q"])["q"].leased == 1


def test_a_message_that_is_refused_leaves_everything_undone(
    broker: SqliteBroker, backend: SqliteBackend, settler: Settler
) -> None:
    broker.publish([message("1", id="1")])
    consumer = consume(broker)
    held = consumer.receive(1, 0)
    with pytest.raises(PublishError):
        settler.settle(consumer, [succeeded(held[0])], [message("ok"), message(headers={"x": {1}})], held, ttl=60)
    unstorable = Result(id="1", state="SUCCESS", meta={"x": {1}})
    with pytest.raises(ValueError, match="result 1: its meta"):
        settler.settle(consumer, [(unstorable, held[0])], [message("ok")], held, ttl=60)
    assert backend.fetch(["1"]) == {}
    known = broker.stats(["q"])["q"]
    assert (known.leased, known.ready) == (1, 0)


def test_a_consumer_of_another_broker_is_refused(path: Path, settler: Settler) -> None:
    other = SqliteBroker(path.with_name("other.db"))
    for stranger in (consume(MemoryBroker()), consume(other)):
        with pytest.raises(TypeError, match="not a consumer of this file"):
            settler.settle(stranger, [], [], [], ttl=None)
    other.close()


def test_settling_makes_room_and_wakes_who_waits_for_its_messages(broker: SqliteBroker, settler: Settler) -> None:
    broker.publish([message("1")])
    consumer = consume(broker, prefetch=1)
    held = consumer.receive(1, 0)
    assert settler.settle(consumer, [], [message("2")], held, ttl=None) == []
    assert bodies(consumer.receive(1, 0)) == ["2"]
