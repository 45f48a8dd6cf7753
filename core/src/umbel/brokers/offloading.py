"""Bodies that are too large for the broker: put where there is room, and a claim check sent in their place."""

from __future__ import annotations

import hashlib
import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from umbel.brokers.wrapping import Rewritten, WrappedConsumer, Wrapper, carries, translated
from umbel.clock import SystemClock
from umbel.exceptions import InvalidMessage
from umbel.spec import Broker, BrokerError, Consumer, Delivery, Failure, Message, PublishError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.brokers.bodies import BodyStore
    from umbel.clock import Clock

CLAIM = "umbel_claim"
"""The header that says where the body is: {"name", "size", "sha256"}."""
PLACEHOLDER = b"offloaded"
"""The body of a message whose own lies elsewhere; not empty, since not every broker takes an empty one."""
TTL = 30 * 86400.0
"""Seconds for which a body is kept that nobody asks for, from when its message is due."""
GRACE = 3600.0
"""Seconds for which a body is kept whose ack may have come too late, in which case its message comes again."""
SWEEP_EVERY = 60.0
SWEEP = 1000
"""Bodies that one sweep looks at."""

logger = logging.getLogger("umbel.broker")


class OffloadingBroker(Wrapper):
    """Takes bodies of any size. Without a store it refuses the large ones, before anything is sent.

    A body is deleted when its message is acked, not when it is dead-lettered; and when nobody has asked for it for
    `ttl` seconds. Queues that are purged or deleted leave their bodies to that.
    """

    def __init__(
        self,
        inner: Broker,
        store: BodyStore | None,
        *,
        threshold: int | None = None,
        ttl: float = TTL,
        clock: Clock | None = None,
    ) -> None:
        most = inner.capabilities.max_body
        super().__init__(inner, inner.capabilities if store is None else replace(inner.capabilities, max_body=None))
        self.store = store
        self.ttl = ttl
        self.clock: Clock = clock or SystemClock()
        limits = [limit for limit in (most, threshold if store else None) if limit is not None]
        self.limit = min(limits, default=float("inf"))
        """Bytes of a body that is sent as it is."""
        self._next_sweep = self.clock.steady() + SWEEP_EVERY * random.random()

    def publish(self, messages: Sequence[Message]) -> None:
        rewritten, failures = self._offload(messages)
        if rewritten is None:
            self.inner.publish(messages)
            return
        try:
            if rewritten:
                self.inner.publish([inner for _, inner in rewritten])
        except PublishError as error:
            self.unsent([failure.message for failure in error.failures if failure.certain])
            failures += translated(error, rewritten).failures
        if failures:
            raise PublishError(failures)

    def rewrite(self, messages: Sequence[Message]) -> Rewritten | None:
        rewritten, failures = self._offload(messages)
        if failures:
            self.unsent([inner for _, inner in rewritten or ()])
            raise PublishError(failures)
        return rewritten

    def unsent(self, messages: Sequence[Message]) -> None:
        self.discard([name for message in messages if (name := _name(message)) is not None])

    def _offload(self, messages: Sequence[Message]) -> tuple[Rewritten | None, list[Failure]]:
        """Each message with what is sent for it, None: all as they are; and those that cannot be sent."""
        limit = self.limit
        if not any(len(message.body) > limit or carries(message, CLAIM) for message in messages):
            return None, []
        large = [message for message in messages if len(message.body) > limit]
        claims, failures = self._check_in(large)
        failed = {id(failure.message) for failure in failures}
        rewritten: Rewritten = []
        for message in messages:
            if id(message) in failed:
                continue
            # A claim that we have not made ourselves could be anybody's.
            headers = {name: value for name, value in message.headers.items() if name != CLAIM}
            claim = claims.get(id(message))
            if claim is None:
                rewritten.append((message, replace(message, headers=headers)))
            else:
                headers[CLAIM] = claim
                rewritten.append((message, replace(message, headers=headers, body=PLACEHOLDER)))
        return rewritten, failures

    def _check_in(self, large: Sequence[Message]) -> tuple[dict[int, dict[str, object]], list[Failure]]:
        if not large:
            return {}, []
        if self.store is None:
            return {}, [
                Failure(
                    message,
                    Unsupported(
                        f"a body of {len(message.body)} bytes, of which this broker takes {self.limit}: "
                        "set `task_offload_url` to a directory that all workers reach"
                    ),
                    certain=True,
                )
                for message in large
            ]
        self.sweep()
        now = self.clock.now()
        untils = [max(message.eta or now, now) + self.ttl for message in large]
        try:
            names = self.store.put([message.body for message in large], untils)
        except OSError as error:
            reason = BrokerError(f"the body could not be offloaded: {error}")
            return {}, [Failure(message, reason, certain=True) for message in large]
        return {
            id(message): {"name": name, "size": len(message.body), "sha256": _digest(message.body)}
            for message, name in zip(large, names, strict=True)
        }, []

    def discard(self, names: Sequence[str]) -> None:
        """Delete bodies that nobody needs; what fails is left to the sweep."""
        if names and self.store is not None:
            try:
                self.store.delete(names)
            except (OSError, LookupError) as error:
                logger.warning("offloaded bodies could not be deleted: %s", error)

    def sweep(self) -> None:
        """Delete some outdated bodies, if it is time for that."""
        if self.store is not None and self.clock.steady() >= self._next_sweep:
            self._next_sweep = self.clock.steady() + SWEEP_EVERY * random.uniform(0.75, 1.25)
            try:
                self.store.sweep(self.clock.now(), SWEEP)
            except OSError as error:
                logger.warning("outdated bodies could not be swept: %s", error)

    def load(self, message: Message) -> Message:
        """The message with its own body, which raises InvalidMessage when it is gone. OSError: try again."""
        headers = {name: value for name, value in message.headers.items() if name != CLAIM}
        try:
            return replace(message, body=self._body(message), headers=headers)
        except LookupError as error:
            lost = Unreadable(queue=message.queue, body=b"", id=message.id, headers=headers)
            lost.reason = f"the body of message {message.id} was offloaded and is gone: {error}"
            return lost

    def _body(self, message: Message) -> bytes:
        claim = message.headers.get(CLAIM)
        name = _name(message)
        if name is None or not isinstance(claim, dict):
            raise LookupError(f"the header {CLAIM!r} is damaged")
        if self.store is None:
            # A dead letter, which can be sent again: waiting here would make all others wait for a mistake.
            raise LookupError("`task_offload_url` is not set here as it was where the message was sent")
        body = self.store.get(name)
        if len(body) != claim.get("size") or _digest(body) != claim.get("sha256"):
            raise LookupError(f"{name} is not what was put there")
        return body

    def consume(self, queues: Sequence[str], *, owner: str, prefetch: int) -> Consumer:
        return self.keep(OffloadingConsumer(self, self.inner.consume(queues, owner=owner, prefetch=prefetch)))

    def browse(self, queue: str, limit: int) -> Sequence[Message]:
        messages = self.inner.browse(queue, limit)
        try:
            return [self.load(message) if carries(message, CLAIM) else message for message in messages]
        except OSError as error:
            raise BrokerError(f"offloaded bodies cannot be read: {error}") from error

    def close(self) -> None:
        super().close()
        if self.store is not None:
            self.store.close()


class Unreadable(Message):
    """A message whose body is gone for good. Whoever asks for it is told so, and its neighbours are not concerned."""

    __slots__ = ("reason",)
    reason: str

    @property
    def body(self) -> bytes:
        raise InvalidMessage(self.reason)

    @body.setter
    def body(self, body: bytes) -> None:
        """Its class demands a body; there is none."""

    def __repr__(self) -> str:
        return f"Unreadable(queue={self.queue!r}, id={self.id!r}, reason={self.reason!r})"


@dataclass(slots=True, kw_only=True)
class Loaded(Delivery):
    """A delivery with its own body, and the one that the broker gave."""

    original: Delivery
    name: str | None
    since: float
    """Steady time before which it was not ours."""
    until: float
    """What its body's `keep_until` was made when it was read."""


class OffloadingConsumer(WrappedConsumer):
    """Reads bodies back when they are received, and deletes them once their messages are done."""

    broker: OffloadingBroker

    def original(self, delivery: Delivery) -> Delivery:
        return delivery.original if type(delivery) is Loaded else delivery

    def receive(self, limit: int, timeout: float) -> Sequence[Delivery]:
        since = self.broker.clock.steady()
        fetched = self.inner.receive(limit, timeout)
        if not any(carries(delivery.message, CLAIM) for delivery in fetched):
            return fetched
        try:
            return [self._loaded(one, since) if carries(one.message, CLAIM) else one for one in fetched]
        except OSError as error:
            self.inner.requeue(fetched, charge=False)
            raise BrokerError(f"offloaded bodies cannot be read: {error}") from error

    def _loaded(self, delivery: Delivery, since: float) -> Delivery:
        broker = self.broker
        message = broker.load(delivery.message)
        until = broker.clock.now() + broker.ttl
        name = None if isinstance(message, Unreadable) else _name(delivery.message)
        if name is not None and broker.store is not None:
            broker.store.keep([name], until)
        return Loaded(
            message=message,
            receipt=delivery.receipt,
            attempt=delivery.attempt,
            original=delivery,
            name=name,
            since=since,
            until=until,
        )

    def dead_letter(self, deliveries: Sequence[Delivery], reason: str) -> None:
        super().dead_letter(deliveries, reason)
        broker = self.broker
        names = [one.name for one in deliveries if type(one) is Loaded and one.name is not None]
        if names and broker.store is not None:
            broker.store.keep(names, broker.clock.now() + broker.ttl)

    def settled(self, deliveries: Sequence[Delivery], lost: Sequence[Delivery] | None) -> None:
        loaded = [one for one in deliveries if type(one) is Loaded and one.name is not None]
        if not loaded:
            return
        gone = {id(one) for one in lost or ()}
        lease = self.broker.inner.capabilities.lease
        now = self.broker.clock.steady()
        certain: list[str] = []
        for one in loaded:
            assert one.name is not None
            if lost is not None:
                if id(one) not in gone:
                    certain.append(one.name)
            elif lease is not None and now - one.since < lease:
                certain.append(one.name)
            else:
                self._retire(one.name, one.until)
        self.broker.discard(certain)

    def _retire(self, name: str, until: float) -> None:
        """Let the sweep have it after a while: had the ack come too late, somebody else would need the body yet."""
        store = self.broker.store
        if store is not None:
            try:
                store.keep([name], self.broker.clock.now() + GRACE, instead_of=until)
            except OSError as error:
                logger.warning("an offloaded body is kept for longer than it need be: %s", error)


def _name(message: Message) -> str | None:
    claim = message.headers.get(CLAIM) if carries(message, CLAIM) else None
    name = claim.get("name") if isinstance(claim, dict) else None
    return name if isinstance(name, str) else None


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
