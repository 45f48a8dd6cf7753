"""What any broker has to be: a model of where each message is, driven by Hypothesis beside the real one.

A message is ready, delayed, leased, dead or gone, and in one place only: that is the invariant. A test module makes
a subclass of `BrokerModel` with a harness of its own and runs `Subclass.TestCase`. It is written for brokers that
hold by owner, count attempts exactly and keep the order of a queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from umbel.spec import DEATH, Message, Queue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from umbel.spec import Broker, Consumer, Delivery

QUEUES = ("a", "b")
PREFETCH = 6
LEVELS = 10


class Harness(Protocol):
    """One set of queues, and the time that it goes by."""

    def open(self) -> Broker:
        """Another client of the same queues."""

    def now(self) -> float:
        """Unix time as the broker sees it."""

    def advance(self, seconds: float) -> None:
        """Let time pass, and let whatever it makes due happen."""

    def close(self) -> None:
        """Clean up."""


@dataclass
class Item:
    """One message, and where the model says that it is."""

    number: int
    message: Message
    place: str
    due: float = 0.0
    until: float = 0.0
    owner: str = ""
    claim: int = 0
    charged: int = 0
    alone: bool = False
    ordered: bool = True
    """Whether it has never been delayed, so that its place in the queue follows from when it was sent."""

    @property
    def level(self) -> int:
        """Its priority as the broker keeps it."""
        return min(max(self.message.priority or 0, 0), LEVELS - 1)


@dataclass
class Held:
    """A delivery that a client has been given, and may try to settle at any time."""

    delivery: Delivery
    item: Item
    claim: int
    owner: str


@dataclass
class Client:
    """One process: a connection, an owner, and its present consumer."""

    broker: Broker
    owner: str
    consumer: Consumer
    queues: tuple[str, ...] = QUEUES
    held: list[Held] = field(default_factory=list)


sent = st.fixed_dictionaries(
    {
        "queue": st.sampled_from(QUEUES),
        "body": st.binary(max_size=20),
        "times": st.sampled_from([1, 1, 1, 10_000]),
        "priority": st.none() | st.integers(-1, 11),
        "delay": st.none() | st.sampled_from([-5.0, 1.0, 7.5, 60.0]),
        "headers": st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3), max_size=2),
        "same_id": st.booleans(),
    }
)
some = st.integers(0, 1000)


class BrokerModel(RuleBasedStateMachine):
    """Do anything in any order; the broker and the model agree after each step."""

    def make_harness(self) -> Harness:
        """The broker to test."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.harness = self.make_harness()
        self.items: list[Item] = []
        self.claims = 0
        self.steady = 0.0
        self.clients: list[Client] = []
        for number in range(2):
            broker = self.harness.open()
            broker.declare([Queue(name=name) for name in QUEUES])
            owner = f"owner{number}"
            consumer = broker.consume(QUEUES, owner=owner, prefetch=PREFETCH)
            self.clients.append(Client(broker, owner, consumer))
        self.lease = self.clients[0].broker.capabilities.lease or 0.0

    # --- what the model knows -------------------------------------------------------------------------------------

    def at(self, place: str, queue: str | None = None) -> list[Item]:
        """The items in a place."""
        return [one for one in self.items if one.place == place and queue in (None, one.message.queue)]

    def pass_time(self) -> None:
        """Do what time has made due."""
        now = self.harness.now()
        for item in self.at("delayed"):
            if item.due <= now:
                item.place = "ready"
        for item in self.at("leased"):
            if item.until <= self.steady:
                self.give_back(item, charge=True, alone=True)

    def give_back(self, item: Item, *, charge: bool, alone: bool = False) -> None:
        """It is ready again."""
        item.place = "ready"
        item.charged += charge
        item.alone = alone

    def ours(self, held: Iterable[Held]) -> list[Held]:
        """Those that are still leased to whoever holds them; a claim counts once."""
        found = {}
        for one in held:
            if one.item.place == "leased" and one.item.claim == one.claim and one.item.owner == one.owner:
                found[one.claim] = one
        return list(found.values())

    def pick(self, client: Client, picks: list[int]) -> list[Held]:
        """Some deliveries: of this client's, stale ones included, or now and then a stranger's."""
        choice = client.held if not picks or picks[0] % 5 else [one for each in self.clients for one in each.held]
        return [choice[number % len(choice)] for number in dict.fromkeys(picks)] if choice else []

    # --- what clients do ------------------------------------------------------------------------------------------

    @rule(which=some, batch=st.lists(sent, max_size=6))
    def publish(self, which: int, batch: list[dict[str, Any]]) -> None:
        messages = []
        for one in batch:
            number = len(self.items)
            delay = one["delay"]
            eta = None if delay is None else self.harness.now() + delay
            message = Message(
                queue=one["queue"],
                body=one["body"] * one["times"],
                id="same" if one["same_id"] else f"id{number}",
                headers={**one["headers"], "number": number},
                priority=one["priority"],
                eta=eta,
            )
            delayed = delay is not None and delay > 0
            item = Item(number, message, "delayed" if delayed else "ready", due=eta or 0.0, ordered=not delayed)
            self.items.append(item)
            messages.append(message)
        self.clients[which % 2].broker.publish(messages)

    @rule(which=some, limit=st.integers(0, 8))
    def receive(self, which: int, limit: int) -> None:
        client = self.clients[which % 2]
        room = min(limit, PREFETCH - len(self.ours(client.held)))
        available = [one for one in self.at("ready") if one.message.queue in client.queues]
        deliveries = client.consumer.receive(limit, 0.0)
        assert len(deliveries) <= max(room, 0)
        assert deliveries or not available or room <= 0, "something was ready, and nothing came"
        batch = [self.claimed(client, delivery) for delivery in deliveries]
        assert len(batch) == 1 or not any(item.alone for item in batch), "it was to come alone"
        self.in_order(batch)

    def claimed(self, client: Client, delivery: Delivery) -> Item:
        """The delivery is of an item that was ready, and as it was sent."""
        item = self.items[delivery.message.headers["number"]]
        assert item.place == "ready", f"it was {item.place}"
        message = delivery.message
        assert (message.body, message.headers, message.id) == (item.message.body, item.message.headers, item.message.id)
        assert (message.queue, message.priority) == (item.message.queue, item.message.priority)
        assert delivery.attempt == item.charged + 1
        self.claims += 1
        item.place, item.owner, item.claim = "leased", client.owner, self.claims
        item.until = self.steady + self.lease
        client.held.append(Held(delivery, item, self.claims, client.owner))
        return item

    def in_order(self, batch: list[Item]) -> None:
        """By priority, and as sent among equals; and nothing was left out that should have come before."""
        for queue in QUEUES:
            mine = [item for item in batch if item.message.queue == queue]
            levels = [item.level for item in mine]
            assert levels == sorted(levels, reverse=True)
            for level in set(levels):
                numbers = [item.number for item in mine if item.level == level and item.ordered]
                assert numbers == sorted(numbers)
                left = [item.number for item in self.at("ready", queue) if item.level == level and item.ordered]
                assert not numbers or not left or min(left) > max(numbers)
            if mine:
                assert all(item.level <= levels[-1] for item in self.at("ready", queue))

    @rule(which=some, picks=st.lists(some, max_size=5))
    def ack(self, which: int, picks: list[int]) -> None:
        client = self.clients[which % 2]
        held = self.pick(client, picks)
        client.consumer.ack([one.delivery for one in held])
        for one in self.ours(one for one in held if one.owner == client.owner):
            one.item.place = "gone"

    @rule(
        which=some, picks=st.lists(some, max_size=5), delay=st.sampled_from([0.0, 0.0, 3.0, 60.0]), charge=st.booleans()
    )
    def requeue(self, which: int, picks: list[int], delay: float, charge: bool) -> None:
        client = self.clients[which % 2]
        held = self.pick(client, picks)
        client.consumer.requeue([one.delivery for one in held], delay=delay, charge=charge)
        for one in self.ours(one for one in held if one.owner == client.owner):
            self.give_back(one.item, charge=charge)
            if delay:
                one.item.place, one.item.due, one.item.ordered = "delayed", self.harness.now() + delay, False

    @rule(which=some, picks=st.lists(some, max_size=3))
    def dead_letter(self, which: int, picks: list[int]) -> None:
        client = self.clients[which % 2]
        held = self.pick(client, picks)
        client.consumer.dead_letter([one.delivery for one in held], "why not")
        for one in self.ours(one for one in held if one.owner == client.owner):
            one.item.place = "dead"

    @rule(which=some, queues=st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a")]))
    def consume_anew(self, which: int, queues: tuple[str, ...]) -> None:
        client = self.clients[which % 2]
        client.consumer.close()
        for one in self.ours(client.held):
            self.give_back(one.item, charge=False)
        client.queues = queues
        client.consumer = client.broker.consume(queues, owner=client.owner, prefetch=PREFETCH)

    @rule(which=some)
    def renew(self, which: int) -> None:
        owner = self.clients[which % 2].owner
        self.clients[0].broker.renew(owner)
        for item in self.at("leased"):
            if item.owner == owner:
                item.until = self.steady + self.lease

    @rule(which=some, picks=st.lists(some, max_size=3))
    def release(self, which: int, picks: list[int]) -> None:
        """The owner's process has died; the other one says so."""
        client, other = self.clients[which % 2], self.clients[(which + 1) % 2]
        mine = self.ours(client.held)
        started = {mine[number % len(mine)].item.message.id for number in picks} if mine else set()
        other.broker.release(client.owner, started)
        for one in mine:
            charge = one.item.message.id in started
            self.give_back(one.item, charge=charge, alone=charge or one.item.alone)

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0, 31.0, 100.0]))
    def advance(self, seconds: float) -> None:
        self.steady += seconds
        self.harness.advance(seconds)
        self.pass_time()

    @rule(queue=st.sampled_from(QUEUES))
    def purge(self, queue: str) -> None:
        ready = self.at("ready", queue)
        assert self.clients[0].broker.purge(queue) == len(ready)
        for item in ready:
            item.place = "gone"

    @rule(queue=st.sampled_from(QUEUES), declare=st.booleans())
    @precondition(lambda self: len(self.items) > 10)
    def delete(self, queue: str, declare: bool) -> None:
        broker = self.clients[0].broker
        broker.delete([queue])
        assert queue not in broker.queues()
        broker.declare([Queue(name=queue)])
        for item in self.items:
            if item.message.queue == queue and item.place != "dead":
                item.place = "gone"

    # --- what is always so ----------------------------------------------------------------------------------------

    @invariant()
    def every_message_is_in_its_one_place(self) -> None:
        if not hasattr(self, "clients"):
            return
        broker = self.clients[1].broker
        known = broker.stats([*QUEUES, *(f"{name}.dead" for name in QUEUES)])
        for name in QUEUES:
            counts = tuple(len(self.at(place, name)) for place in ("ready", "leased", "delayed", "dead"))
            real = known[name]
            assert (real.ready, real.leased, real.delayed, known[f"{name}.dead"].ready) == counts

    def teardown(self) -> None:
        """Whatever the model says is there can be had in the end, and nothing else."""
        if not hasattr(self, "clients"):
            return
        try:
            for client in self.clients:
                client.consumer.close()
            self.harness.advance(1000.0)
            self.drain(QUEUES, {item.number for item in self.items if item.place not in ("dead", "gone")})
            self.drain([f"{name}.dead" for name in QUEUES], {item.number for item in self.at("dead")})
            for item in self.at("dead"):
                assert DEATH not in item.message.headers
        finally:
            for client in self.clients:
                client.broker.close()
            self.harness.close()

    def drain(self, queues: Iterable[str], expected: set[int]) -> None:
        """Receive all there is."""
        consumer = self.clients[0].broker.consume(list(queues), owner="drain", prefetch=1000)
        found = []
        while deliveries := consumer.receive(100, 0.0):
            found += [delivery.message.headers["number"] for delivery in deliveries]
            consumer.ack(deliveries)
        consumer.close()
        assert sorted(found) == sorted(expected)
