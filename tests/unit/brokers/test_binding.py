"""Exchanges on a broker that has none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.backends.memory import MemoryBackend
from umbel.brokers import binding
from umbel.brokers.binding import BindingBroker, matches
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.broker import FULL
from umbel.clock import ManualClock
from umbel.spec import Binding, BrokerError, PublishError, Queue, Unsupported


@pytest.fixture
def inner() -> MemoryBroker:
    return MemoryBroker(clock=ManualClock())


@pytest.fixture
def broker(inner: MemoryBroker) -> BindingBroker:
    broker = BindingBroker(inner)
    broker.declare(
        [
            bound("celery", "celery", "direct", "celery"),
            bound("eu", "news", "topic", "eu.#"),
            bound("stars", "news", "topic", "*.stars"),
            bound("all", "news", "fanout"),
            Queue(name="both", bindings=tuple(Binding(exchange="d", routing_key=key) for key in ("x", "y"))),
        ]
    )
    return broker


def bound(queue: str, exchange: str, kind: str, key: str = "") -> Queue:
    return Queue(name=queue, bindings=(Binding(exchange=exchange, exchange_type=kind, routing_key=key),))


def arrived(inner: MemoryBroker) -> dict[str, list[str]]:
    found = {name: [one.body.decode() for one in inner.browse(name, 10)] for name in inner.queues()}
    return {name: there for name, there in found.items() if there}


def test_it_says_that_exchanges_can_be_had(broker: BindingBroker) -> None:
    assert broker.capabilities == replace(FULL, exchanges=True)


def test_a_direct_exchange_wants_the_very_key(broker: BindingBroker, inner: MemoryBroker) -> None:
    broker.publish([message("1", "", exchange="celery", routing_key="celery")])
    assert arrived(inner) == {"celery": ["1"]}


def test_a_topic_and_a_fanout_send_to_every_queue_that_takes_it(broker: BindingBroker, inner: MemoryBroker) -> None:
    broker.publish([message("1", "", exchange="news", routing_key="eu.stars")])
    assert arrived(inner) == {"eu": ["1"], "stars": ["1"], "all": ["1"]}


def test_a_queue_takes_one_copy_however_it_is_bound(broker: BindingBroker, inner: MemoryBroker) -> None:
    broker.declare([Queue(name="both", bindings=(Binding(exchange="d", exchange_type="fanout"),))])
    broker.publish([message("1", "", exchange="d", routing_key="x")])
    assert arrived(inner) == {"both": ["1"]}


def test_the_default_exchange_is_the_queue_or_the_queue_that_the_key_names(
    broker: BindingBroker, inner: MemoryBroker
) -> None:
    broker.publish([message("1", "a", routing_key="ignored"), message("2", "", routing_key="b")])
    assert arrived(inner) == {"a": ["1"], "b": ["2"]}


def test_the_exchange_decides_even_where_a_queue_is_named(broker: BindingBroker, inner: MemoryBroker) -> None:
    broker.publish([message("1", "elsewhere", exchange="celery", routing_key="celery")])
    assert arrived(inner) == {"celery": ["1"]}


def test_declaring_again_and_again_leaves_no_more_than_declaring_once(broker: BindingBroker) -> None:
    before = {exchange: list(known) for exchange, known in broker._bindings.items()}
    for _ in range(3):
        broker.declare([bound("eu", "news", "topic", "eu.#")])
    assert broker._bindings == before


def test_what_nobody_takes_is_refused_with_certainty_and_the_rest_is_sent(
    broker: BindingBroker, inner: MemoryBroker
) -> None:
    lost = [message("1", "", exchange="celery", routing_key="nobody"), message("2", "", exchange="unknown")]
    with pytest.raises(PublishError, match=r"'celery' for routing key 'nobody'") as caught:
        broker.publish([*lost, message("3", "a"), message("", "")])
    assert [failure.message for failure in caught.value.failures][:2] == lost
    assert all(failure.certain for failure in caught.value.failures)
    assert isinstance(caught.value.failures[1].error, BrokerError)
    assert "'unknown'" in str(caught.value.failures[1].error)
    assert len(caught.value.failures) == 3
    assert arrived(inner) == {"a": ["3"]}


def test_messages_without_an_exchange_are_not_touched(broker: BindingBroker, inner: MemoryBroker) -> None:
    sent = message("1", "a")
    broker.publish([sent])
    assert consume(inner, "a").receive(1, 0)[0].message is sent


def test_an_unknown_exchange_type_is_refused_by_name(broker: BindingBroker, inner: MemoryBroker) -> None:
    with pytest.raises(Unsupported, match="'h' of queue 'new' is of type 'headers'"):
        broker.declare([bound("new", "h", "headers")])
    assert "new" not in inner.queues()


def test_a_queue_that_is_declared_later_takes_what_is_sent_later(broker: BindingBroker, inner: MemoryBroker) -> None:
    broker.publish([message("1", "", exchange="news", routing_key="us")])
    broker.declare([bound("us", "news", "topic", "us")])
    broker.publish([message("2", "", exchange="news", routing_key="us")])
    assert arrived(inner) == {"all": ["1", "2"], "us": ["2"]}


def test_a_deleted_queue_is_no_longer_bound(broker: BindingBroker, inner: MemoryBroker) -> None:
    broker.publish([message("1", "", exchange="news", routing_key="x")])
    broker.delete(["all"])
    with pytest.raises(PublishError):
        broker.publish([message("1", "", exchange="news", routing_key="x")])
    assert arrived(inner) == {}


def test_a_copy_that_was_refused_makes_the_whole_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = MemoryBroker(capabilities=replace(FULL, max_body=3))
    broker = BindingBroker(inner)
    broker.declare([bound("a", "f", "fanout"), bound("b", "f", "fanout")])
    large = message("large", "", exchange="f")
    with pytest.raises(PublishError) as caught:
        broker.publish([large])
    assert [(failure.message is large, failure.certain) for failure in caught.value.failures] == [(True, True)]
    publish = inner.publish

    def refuse_one(messages):
        publish([one for one in messages if one.queue != "b"])
        raise PublishError(failures(messages))

    def failures(messages):
        return [type(caught.value.failures[0])(one, BrokerError("no"), True) for one in messages if one.queue == "b"]

    monkeypatch.setattr(inner, "publish", refuse_one)
    with pytest.raises(PublishError) as caught_again:
        broker.publish([message("1", "", exchange="f")])
    assert [failure.certain for failure in caught_again.value.failures] == [False]


def test_settling_in_one_step_resolves_bindings_too(broker: BindingBroker, inner: MemoryBroker) -> None:
    settler = broker.settler(MemoryBackend(inner.hub))
    assert settler is not None
    broker.publish([message("1", "a")])
    consumer = consume(broker, "a")
    held = consumer.receive(1, 0)
    with pytest.raises(PublishError):
        settler.settle(consumer, [], [message("2", "", exchange="celery", routing_key="nobody")], held, ttl=None)
    assert inner.stats(["a"])["a"].leased == 1
    settler.settle(consumer, [], [message("2", "", exchange="celery", routing_key="celery")], held, ttl=None)
    assert inner.stats(["a"])["a"].leased == 0
    assert bodies(receive_all(consume(broker, "celery"))) == ["2"]


def test_the_routes_that_are_remembered_are_bounded(broker: BindingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "CACHE", 3)
    for number in range(10):
        broker.publish([message("1", "", exchange="news", routing_key=f"k{number}")])
    assert len(broker._routes) <= 3


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*", "a", True),
        ("*", "", False),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "ab", False),
        ("#.z", "z", True),
        ("#.z", "a.b.z", True),
        ("#.z", "a.b.zz", False),
        ("a.#.z", "a.z", True),
        ("a.#.z", "a.b.c.z", True),
        ("*.#", "", False),
        ("#.*.#", "a", True),
        ("", "", True),
        ("", "a", False),
        ("a+.b", "aa.b", False),
    ],
)
def test_topic_patterns(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern, key) is expected


words = st.lists(st.sampled_from(["a", "b"]), max_size=5)


@given(st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=5), words)
def test_topic_patterns_agree_with_their_definition(pattern: list[str], key: list[str]) -> None:
    def by_definition(pattern: list[str], key: list[str]) -> bool:
        if not pattern:
            return not key
        head, rest = pattern[0], pattern[1:]
        if head == "#":
            return any(by_definition(rest, key[skipped:]) for skipped in range(len(key) + 1))
        return bool(key) and head in ("*", key[0]) and by_definition(rest, key[1:])

    assert matches(".".join(pattern), ".".join(key)) is by_definition(pattern, key)


def test_a_hostile_pattern_takes_no_longer_than_another() -> None:
    assert not matches(".".join(["#", "a"] * 60 + ["b"]), ".".join(["a"] * 100))
