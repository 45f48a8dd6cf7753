"""What a transport gets for nothing when it writes only the methods that it must."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from umbel.spec import (
    DEATH,
    Broker,
    Capabilities,
    Consumer,
    Delivery,
    Failure,
    Message,
    PublishError,
    Queue,
    QueueStats,
    Unsupported,
    buried,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class Smallest(Broker):
    """Lists in memory: the six methods, and nothing else."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Message]] = defaultdict(list)

    def declare(self, queues: Sequence[Queue]) -> None:
        """Lists come into being by themselves."""

    def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.lists[message.queue].append(message)

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        return SmallestConsumer(self, queues)


class SmallestConsumer(Consumer):
    """Takes from the lists, and remembers what it holds."""

    def __init__(self, broker: Smallest, queues: Sequence[str]) -> None:
        self.broker: Smallest = broker
        self.queues = queues
        self.held: list[Delivery] = []

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        for name in self.queues:
            taken, self.broker.lists[name] = self.broker.lists[name][:limit], self.broker.lists[name][limit:]
            if taken:
                self.held += (deliveries := [Delivery(message=message, receipt=None) for message in taken])
                return deliveries
        return []

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self.held.remove(delivery)

    def close(self) -> None:
        """Nothing to wake."""


def message(id: str = "a") -> Message:
    """A message with every field that matters here."""
    return Message(queue="q", body=b"\x00body", id=id, headers={"n": 1}, exchange="x", routing_key="k", eta=5.0)


@pytest.fixture
def broker() -> Smallest:
    """A broker with nothing in it."""
    return Smallest()


@pytest.fixture
def consumer(broker: Smallest) -> SmallestConsumer:
    """A consumer of q that holds two deliveries."""
    broker.publish([message("a"), message("b")])
    consumer = SmallestConsumer(broker, ["q"])
    assert len(consumer.receive(10, 0.0)) == 2
    return consumer


def test_requeue_publishes_a_copy_and_lets_go_of_the_delivery(broker: Smallest, consumer: SmallestConsumer) -> None:
    first, second = consumer.held
    consumer.requeue([first])
    assert consumer.held == [second]
    (copy,) = broker.lists["q"]
    assert (copy.id, copy.body, copy.headers, copy.eta) == ("a", b"\x00body", {"n": 1}, None)


def test_requeue_with_a_delay_sets_the_time(broker: Smallest, consumer: SmallestConsumer) -> None:
    before = time.time()
    consumer.requeue(consumer.held[:1], delay=30.0, charge=False)
    (copy,) = broker.lists["q"]
    assert copy.eta is not None
    assert before + 30 <= copy.eta <= time.time() + 30


def test_a_dead_letter_keeps_what_was_sent_and_says_why(broker: Smallest, consumer: SmallestConsumer) -> None:
    consumer.dead_letter(consumer.held[1:], "poison")
    assert [delivery.message.id for delivery in consumer.held] == ["a"]
    (dead,) = broker.lists["q.dead"]
    assert (dead.id, dead.body, dead.headers["n"]) == ("b", b"\x00body", 1)
    assert dead.headers[DEATH]["reason"] == "poison"


def test_a_copy_that_could_not_be_published_keeps_the_delivery_held(consumer: SmallestConsumer) -> None:
    def refuse(messages: Sequence[Message]) -> None:
        raise PublishError([Failure(messages[0], OSError("disk full"), certain=True)])

    consumer.broker.publish = refuse  # type: ignore[method-assign]
    for settle in (lambda: consumer.requeue(consumer.held), lambda: consumer.dead_letter(consumer.held, "why")):
        with pytest.raises(PublishError, match="disk full"):
            settle()
    assert len(consumer.held) == 2


def test_a_message_whose_headers_are_no_mapping_can_be_buried_too() -> None:
    odd = Message(queue="q", body=b"x", id="1", headers=["no", "mapping"])  # type: ignore[arg-type]
    dead = buried(Delivery(message=odd, receipt=None), "headers", 1.0)
    assert dead.headers["umbel-headers"] == ["no", "mapping"]
    assert dead.headers["umbel-death"]["reason"] == "headers"


def test_a_buried_message_tells_where_when_and_at_which_attempt_it_died() -> None:
    sent = message()
    dead = buried(Delivery(message=sent, receipt=None, attempt=3), "too deep", 1_700_000_000.0)
    assert dead.queue == "q.dead"
    assert dead.headers[DEATH] == {"reason": "too deep", "queue": "q", "at": 1_700_000_000.0, "attempt": 3}
    assert (dead.eta, dead.exchange, dead.routing_key) == (None, "", "")
    assert sent.headers == {"n": 1}, "the message that was delivered is not touched"


@pytest.mark.parametrize(
    "verb",
    [
        lambda broker: broker.renew("me"),
        lambda broker: broker.release("me", []),
        lambda broker: broker.queues(),
        lambda broker: broker.browse("q", 1),
        lambda broker: broker.purge("q"),
        lambda broker: broker.delete(["q"]),
        lambda broker: broker.broadcast("topic", b""),
        lambda broker: broker.subscribe(["topic"]),
        lambda broker: SmallestConsumer(broker, []).extend([]),
    ],
)
def test_what_a_transport_has_not_got_is_unsupported_by_name(verb, broker: Smallest) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Unsupported, match=r"^Smallest(Consumer)? "):
        verb(broker)


def test_the_defaults_promise_nothing(broker: Smallest) -> None:
    promised = broker.capabilities
    assert (promised.max_delay, promised.priorities, promised.durable, promised.attempts) == (0.0, 1, "none", "no")
    assert not any([promised.exchanges, promised.fan_out, promised.exact_stats, promised.deduplicates])
    assert broker.stats(["q"]) == {"q": QueueStats()}
    broker.close()


def test_capabilities_cannot_be_changed_by_whoever_reads_them() -> None:
    with pytest.raises(AttributeError):
        Capabilities().max_delay = 5.0  # type: ignore[misc]


def test_a_publish_error_says_how_many_and_the_first_reason() -> None:
    failures = [Failure(message(id), OSError(f"reason {id}"), certain=False) for id in "ab"]
    assert str(PublishError(failures)) == "2 message(s) not published; the first: reason a"
