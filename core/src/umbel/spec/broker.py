"""The whole file that the author of a transport reads."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from umbel.spec.backend import Result, ResultBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the broker does by itself; the defaults promise nothing. The core makes up for the rest."""

    held_by: Literal["connection", "owner", "message"] = "connection"
    """What keeps a delivery ours: the broker notices the end of the "connection" by itself (RabbitMQ, Kafka);
    `Broker.renew` keeps all of an "owner" in one call (Redis, SQLite); `Consumer.extend` keeps each "message" (SQS)."""
    lease: float | None = None
    """Seconds until what is not renewed comes back."""
    max_lease: float | None = None
    """The longest that one delivery can be held. A task whose hard time limit exceeds it is refused at start-up."""
    max_delay: float = 0.0
    """Seconds a message can be held back. Beyond: the core hops, or uses `delay_store`, or refuses."""
    delay_precision: float = 1.0
    """Seconds by which a delay may end late (never early)."""
    priorities: int = 1
    """Levels kept apart. Else: the core sorts what it has fetched."""
    attempts: Literal["exact", "lower-bound", "no"] = "no"
    """How far `Delivery.attempt` can be trusted."""
    exchanges: bool = False
    """Routes by exchange and routing key. Else: the core resolves bindings to queues before publishing."""
    fan_out: bool = False
    """Has `broadcast` and `subscribe`. Else: another bus, or no events and no remote control."""
    ordered: Literal["no", "key", "queue"] = "no"
    """What keeps its order: nothing, the messages of one `key`, or a whole queue."""
    deduplicates: float = 0.0
    """Seconds during which a second message with the same `dedup` is dropped."""
    max_body: int | None = None
    """Bytes. A larger body: the core offloads it if told where to, else refuses before sending."""
    exact_stats: bool = False
    """Whether `stats` counts, rather than estimates."""
    durable: Literal["none", "process", "host", "disk"] = "none"
    """What a confirmed message survives: nothing, the broker's own kill -9, a restart of the host, loss of power."""
    processes: bool = True
    """Whether processes other than its maker's can reach it (memory cannot be reached; prefork is refused then)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Which messages of an exchange a queue takes."""

    exchange: str
    exchange_type: str = "direct"
    """direct, topic, fanout, or what the broker knows besides."""
    routing_key: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue as `declare` creates it."""

    name: str
    bindings: tuple[Binding, ...] = ()
    durable: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    """This transport's own, untouched by the core."""
    dead: bool = True
    """Whether a dead-letter queue is created with it; its name is always `<name>.dead`."""


@dataclass(slots=True, kw_only=True)
class Message:
    """What a broker moves; by convention not modified once published or received."""

    queue: str
    body: bytes
    id: str
    headers: dict[str, Any] = field(default_factory=dict)
    """JSON-able; returned exactly as sent."""
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    reply_to: str | None = None
    correlation_id: str | None = None
    priority: int | None = None
    """None: not given, which counts as 0. A larger number comes first, on every broker; 0 to 9 are portable."""
    eta: float | None = None
    """Unix time before which it is not delivered."""
    key: str | None = None
    """Messages of one key keep their order where the broker can keep it."""
    dedup: str | None = None
    exchange: str = ""
    routing_key: str = ""
    options: Mapping[str, Any] | None = None
    """Publish options of this transport's own."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One message in our hands until it is settled."""

    message: Message
    receipt: Any
    """Picklable; carries the claim that fences a late ack."""
    attempt: int = 1
    """1 for the first start of this message, 2 after one start that was charged, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """How full a queue is; None where the broker cannot tell."""

    ready: int | None = None
    leased: int | None = None
    delayed: int | None = None
    oldest_age: float | None = None
    """Seconds since the oldest ready message could first have been received."""


class BrokerError(Exception):
    """The broker failed us; it is safe to try again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One message that `publish` could not hand over."""

    message: Message
    error: Exception
    certain: bool
    """True: the broker does not have it. False: unknown; publish it again under the same id."""


class PublishError(BrokerError):
    """Some messages of a batch were not taken; the others are sent."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        self.failures = tuple(failures)
        first = self.failures[0].error if self.failures else "no reason given"
        super().__init__(f"{len(self.failures)} message(s) not published; the first: {first}")


class Fatal(BrokerError):
    """Wrong password, no permission, no such host name: trying again cannot help."""


class Unsupported(BrokerError):
    """The broker cannot do this at all."""


DEATH = "umbel-death"
"""The header of a dead letter: {"reason", "queue" (where it died), "at" (Unix time), "attempt"}."""


def buried(delivery: Delivery, reason: str, at: float) -> Message:
    """The message as its dead-letter queue keeps it: bytes and headers intact, and the reason beside them."""
    message = delivery.message
    death = {"reason": reason, "queue": message.queue, "at": at, "attempt": delivery.attempt}
    # What a stranger has sent may have headers that are no mapping: that may be just why it dies.
    kept = message.headers if isinstance(message.headers, dict) else {"umbel-headers": message.headers}
    headers = {**kept, DEATH: death}
    return replace(message, queue=f"{message.queue}.dead", headers=headers, eta=None, exchange="", routing_key="")


class Consumer(ABC):
    """One child's stream of deliveries. Only `receive` is bound to one thread."""

    broker: Broker
    """The broker that made it, through which the defaults below publish."""

    @abstractmethod
    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        """Up to `limit` deliveries as soon as there is one, or none after `timeout` seconds, or at once after close.

        Never waits to fill a batch. Raises BrokerError when the connection is lost: the core then consumes anew.
        """

    @abstractmethod
    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Done with these, for good. One that is no longer ours is skipped silently."""

    def requeue(self, deliveries: Sequence[Delivery], *, delay: float = 0.0, charge: bool = True) -> None:
        """Give back for another delivery, after `delay` seconds. `charge=False`: it was never started.

        Default: publish copies, then ack (attempts are not counted then).
        """
        eta = time.time() + delay if delay > 0 else None
        self.broker.publish([replace(delivery.message, eta=eta) for delivery in deliveries])
        self.ack(deliveries)

    def dead_letter(self, deliveries: Sequence[Delivery], reason: str) -> None:
        """Move to the queue's dead-letter queue, as `buried`. Default: publish there, then ack."""
        self.broker.publish([buried(delivery, reason, time.time()) for delivery in deliveries])
        self.ack(deliveries)

    def extend(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """held_by "message": hold for another lease from now; returns those that were lost meanwhile."""
        raise Unsupported(f"{type(self).__name__} cannot extend a single delivery")

    @abstractmethod
    def close(self) -> None:
        """Wake a blocked receive and give unsettled deliveries back at once, uncharged. Twice is fine."""


class Subscription(ABC):
    """A stream of broadcasts."""

    @abstractmethod
    def receive(self, timeout: float) -> Sequence[tuple[str, bytes]]:
        """Topics and bodies, as soon as there is one, or none after `timeout` seconds or once closed."""

    @abstractmethod
    def close(self) -> None:
        """Wake a blocked receive. Twice is fine."""


class Settler(ABC):
    """Settles in one round trip what else takes three; only for a broker whose server is the result store's too."""

    @abstractmethod
    def settle(
        self,
        consumer: Consumer,
        results: Sequence[tuple[Result, Delivery]],
        messages: Sequence[Message],
        done: Sequence[Delivery],
        *,
        ttl: float | None,
    ) -> Sequence[Delivery]:
        """Store the results, publish the messages, ack `done`: all of it or nothing, in that order.

        A result whose delivery is no longer ours is refused, as are late acks; the deliveries lost are returned.
        """


class Broker(ABC):
    """A connection to one broker. Thread-safe; connects lazily; never used in a process other than its maker's."""

    capabilities: Capabilities = Capabilities()

    @abstractmethod
    def declare(self, queues: Sequence[Queue]) -> None:
        """Create what does not exist, dead-letter queues included; adopt what does."""

    @abstractmethod
    def publish(self, messages: Sequence[Message]) -> None:
        """In order, in as few round trips as possible; returns once the broker is responsible for all.

        Within its deadline, else PublishError, whose failures name those that it has not taken.
        """

    @abstractmethod
    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        """One consumer for all queues of a child, the earlier queue not starving the later.

        `owner` is unique to the process that consumes; `prefetch` bounds what is held unsettled.
        """

    def renew(self, owner: str) -> None:
        """held_by "owner": hold all it holds for another lease. From any process, one round trip."""
        raise Unsupported(f"{type(self).__name__} does not hold by owner")

    def release(self, owner: str, started: Collection[str]) -> None:
        """held_by "owner": its process is dead; give back at once all it held, also what it was never told of.

        Only the messages whose ids are in `started` are charged an attempt.
        """
        raise Unsupported(f"{type(self).__name__} does not hold by owner")

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """How full the queues are. Default: unknown."""
        return {name: QueueStats() for name in queues}

    def queues(self) -> Sequence[str]:
        """Names of the queues that exist, dead-letter queues included."""
        raise Unsupported(f"{type(self).__name__} cannot list its queues")

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        """Look at up to `limit` messages, the next first, without taking them."""
        raise Unsupported(f"{type(self).__name__} cannot browse")

    def purge(self, queue: str) -> int | None:
        """Delete the ready messages only; how many there were, or None if the broker does not tell."""
        raise Unsupported(f"{type(self).__name__} cannot purge")

    def delete(self, queues: Sequence[str]) -> None:
        """Delete the queues with all they hold; those that do not exist are skipped."""
        raise Unsupported(f"{type(self).__name__} cannot delete queues")

    def broadcast(self, topic: str, body: bytes) -> None:
        """Send to every present subscriber of the topic; nobody listening is fine."""
        raise Unsupported(f"{type(self).__name__} has no fan-out")

    def subscribe(self, topics: Sequence[str]) -> Subscription:
        """What is broadcast on these topics from now on."""
        raise Unsupported(f"{type(self).__name__} has no fan-out")

    def settler(self, backend: ResultBackend) -> Settler | None:
        """How to settle in one round trip if `backend` lives on the same server; None (the default): it does not."""
        return None

    def close(self) -> None:
        """Close every connection and consumer. Twice is fine."""
