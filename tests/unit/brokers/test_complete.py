"""What a broker lacks is added around it; what it has is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from umbel.backends.memory import MemoryBackend
from umbel.brokers.binding import BindingBroker
from umbel.brokers.bodies import DirectoryStore
from umbel.brokers.complete import complete
from umbel.brokers.delaying import DelayingBroker
from umbel.brokers.leasing import LeasingBroker
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.brokers.offloading import OffloadingBroker
from umbel.brokers.sorting import SortingBroker
from umbel.brokers.wrapping import Wrapper
from umbel.clock import ManualClock
from umbel.exceptions import ImproperlyConfigured
from umbel.spec import Binding, Broker, Capabilities, Queue, Result, Unsupported

POOREST = Capabilities(held_by="message", lease=60.0, max_body=1000, processes=False)


class WithExchanges(Wrapper):
    """A broker that lacks nothing, for all that `complete` can see."""

    def __init__(self, inner: Broker) -> None:
        super().__init__(inner, replace(inner.capabilities, exchanges=True))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def layers(broker: Broker) -> list[type]:
    found = []
    while isinstance(broker, Wrapper) and not isinstance(broker, WithExchanges):
        found.append(type(broker))
        broker = broker.inner
    return found


def test_a_broker_that_lacks_nothing_is_returned_as_it_is() -> None:
    broker = WithExchanges(MemoryBroker())
    assert complete(broker) is broker


@pytest.mark.parametrize(
    ("lacking", "added"),
    [
        ({}, []),
        ({"max_delay": 900.0}, [DelayingBroker]),
        ({"max_delay": 0.0}, [DelayingBroker]),
        ({"priorities": 4}, [SortingBroker]),
        ({"held_by": "message"}, [LeasingBroker]),
        ({"held_by": "connection", "lease": None}, []),
        ({"max_body": 1000}, [OffloadingBroker]),
        ({"fan_out": False}, []),
        ({"attempts": "no"}, []),
        ({"ordered": "no"}, []),
        ({"exact_stats": False}, []),
    ],
)
def test_exactly_what_is_lacking_is_added(lacking: dict[str, object], added: list[type], clock: ManualClock) -> None:
    broker = WithExchanges(MemoryBroker(clock=clock, capabilities=replace(FULL, **lacking)))
    assert layers(complete(broker, clock=clock)) == added


def test_memory_itself_lacks_exchanges_only_and_gives_out_its_own_consumers() -> None:
    inner = MemoryBroker()
    broker = complete(inner)
    assert layers(broker) == [BindingBroker]
    assert type(consume(broker)) is type(consume(inner))


def test_completing_twice_adds_nothing_the_second_time(clock: ManualClock, tmp_path: Path) -> None:
    store = MemoryBroker(clock=clock)
    capabilities = replace(FULL, max_delay=0.0, max_body=1000, held_by="message")
    broker = complete(
        MemoryBroker(clock=clock, capabilities=capabilities), delay_store=store, offload=str(tmp_path), clock=clock
    )
    assert complete(broker, clock=clock) is broker
    broker.close()


def test_a_place_for_bodies_is_used_as_the_threshold_says_and_read_in_any_case(tmp_path: Path) -> None:
    reading = complete(MemoryBroker(), offload=str(tmp_path))
    assert layers(reading) == [BindingBroker, OffloadingBroker]
    reading.publish([message("1234")])
    assert list(tmp_path.iterdir()) == []
    broker = complete(MemoryBroker(), offload=DirectoryStore(tmp_path), offload_threshold=3)
    assert layers(broker) == [BindingBroker, OffloadingBroker]
    broker.publish([message("1234")])
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("store", "names"),
    [
        ({"max_delay": 900.0}, "delay_store: MemoryBroker holds a message back for 900 s at most"),
        ({"max_delay": 0.0}, "delay_store: MemoryBroker holds a message back for 0 s at most"),
    ],
)
def test_a_delay_store_that_cannot_delay_is_refused(store: dict[str, float], names: str) -> None:
    broker = MemoryBroker(capabilities=replace(FULL, max_delay=0.0))
    with pytest.raises(ImproperlyConfigured, match=names):
        complete(broker, delay_store=MemoryBroker(capabilities=replace(FULL, **store)))


def test_a_broker_cannot_be_its_own_delay_store() -> None:
    broker = MemoryBroker()
    with pytest.raises(ImproperlyConfigured, match="delay_store is the broker itself"):
        complete(broker, delay_store=broker)


def test_a_delay_store_that_no_worker_could_reach_is_refused() -> None:
    broker = Wrapper(MemoryBroker(), replace(FULL, max_delay=0.0, processes=True))
    with pytest.raises(ImproperlyConfigured, match="no other process can reach MemoryBroker"):
        complete(broker, delay_store=MemoryBroker())


@pytest.mark.parametrize("held_by", ["owner", "message"])
def test_a_broker_that_holds_by_renewing_and_names_no_lease_is_refused(held_by: str) -> None:
    broker = Wrapper(MemoryBroker(), replace(FULL, held_by=held_by, lease=None))
    with pytest.raises(ImproperlyConfigured, match=f"holds deliveries by {held_by} and names no lease"):
        complete(broker)


def test_an_unknown_place_for_bodies_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="s3:// is not known"):
        complete(MemoryBroker(capabilities=replace(FULL, max_body=10)), offload="s3://bucket")


def test_what_cannot_be_added_is_refused_where_it_is_used(clock: ManualClock) -> None:
    broker = complete(MemoryBroker(clock=clock, capabilities=POOREST), clock=clock)
    with pytest.raises(Unsupported):
        broker.broadcast("t", b"")
    with pytest.raises(Unsupported, match="delay_store"):
        broker.publish([message(eta=clock.now() + 1)])
    broker.close()


class TestThePoorestBroker:
    """All wrappers together, on a broker that has nothing."""

    @pytest.fixture
    def inner(self, clock: ManualClock) -> MemoryBroker:
        return MemoryBroker(clock=clock, capabilities=POOREST)

    @pytest.fixture
    def broker(self, inner: MemoryBroker, clock: ManualClock, tmp_path: Path):
        broker = complete(inner, delay_store=MemoryBroker(clock=clock), offload=f"file://{tmp_path}/b", clock=clock)
        binding = Binding(exchange="news", exchange_type="topic", routing_key="eu.#")
        broker.declare([Queue(name="q", bindings=(binding,))])
        yield broker
        broker.close()

    def test_says_what_it_can_do_now(self, broker: Broker) -> None:
        now = broker.capabilities
        assert (now.max_delay, now.max_body, now.exchanges, now.held_by) == (float("inf"), None, True, "connection")

    def test_takes_a_large_delayed_urgent_message_through_an_exchange(
        self, broker: Broker, inner: MemoryBroker, clock: ManualClock, tmp_path: Path
    ) -> None:
        sent = message("x" * 5000, "", exchange="news", routing_key="eu.de", priority=9, eta=clock.now() + 3600)
        consumer = consume(broker)
        broker.publish([sent, message("low", priority=1)])
        clock.advance(3600)
        until(lambda: len(inner.browse("q", 9)) == 2, clock=clock)
        held = consumer.receive(9, 0)
        assert [one.message for one in held[:1]] == [replace(sent, queue="q")]
        assert bodies(held)[1:] == ["low"]
        consumer.requeue(held, delay=60)
        assert receive_all(consumer) == []
        clock.advance(60)
        until(lambda: len(inner.browse("q", 9)) == 2, clock=clock)
        again = receive_all(consumer)
        assert [(len(one.message.body), one.attempt) for one in again] == [(5000, 2), (3, 2)]
        consumer.ack(again)
        assert list((tmp_path / "b").iterdir()) == []
        assert inner.hub.leased() == {}

    def test_settles_in_one_step_where_the_server_can(self, broker: Broker, inner: MemoryBroker) -> None:
        backend = MemoryBackend(inner.hub)
        settler = broker.settler(backend)
        assert settler is not None
        broker.publish([message("x" * 5000, id="1"), message("2", id="2")])
        consumer = consume(broker)
        held = consumer.receive(9, 0)
        results = [(Result(id=one.message.id, state="SUCCESS", terminal=True), one) for one in held]
        child = message("y" * 5000, "", exchange="news", routing_key="eu", id="child")
        assert settler.settle(consumer, results, [child], held, ttl=60) == []
        assert sorted(backend.fetch(["1", "2"])) == ["1", "2"]
        assert [len(one.message.body) for one in receive_all(consumer)] == [5000]

    def test_gives_everything_back_when_it_is_closed(
        self, broker: Broker, inner: MemoryBroker, clock: ManualClock
    ) -> None:
        broker.publish([message(str(n), priority=n) for n in range(5)])
        consumer = consume(broker)
        consumer.receive(1, 0)
        blocked = Background(lambda: consume(broker, "another").receive(1, 3600.0))
        until(lambda: inner.hub.waiting)
        broker.close()
        assert blocked.wait(clock) == []
        assert len(inner.browse("q", 9)) == 5

    @pytest.mark.parametrize("headers", [None, [], "umbel_delay umbel_claim", {1: 2}])
    def test_hands_out_what_a_stranger_sent_however_odd(
        self, headers: object, broker: Broker, inner: MemoryBroker
    ) -> None:
        odd = message("odd", headers=headers, priority=5)
        inner.publish([odd, message("sound")])
        odd.priority = "high"
        held = consume(broker).receive(9, 0)
        assert sorted(bodies(held)) == ["odd", "sound"]
        assert len(broker.browse("q", 9)) == 0
