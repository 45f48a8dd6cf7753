"""The agent, on a thread here, with a memory broker and result store."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from umbel.backends.memory import MemoryBackend
from umbel.brokers.memory.broker import MemoryBroker
from umbel.brokers.memory.hub import Hub
from umbel.exceptions import TimeLimitExceeded, WorkerLostError
from umbel.results.codec import decode_body
from umbel.serialization.registry import Serializers
from umbel.spec import BackendError, BrokerError, Capabilities, Consumer, Message, Queue, Result
from umbel.worker import agent as agent_module
from umbel.worker.agent import run_agent
from umbel.worker.channel import Channel
from umbel.worker.death import Death, Failed
from umbel.worker.options import WorkerOptions

T = TypeVar("T")
LEASE = 0.3


class Store(MemoryBackend):
    """A store that can be out of order."""

    broken = False
    tries = 0

    def store(self, results: Sequence[Result], *, ttl: float | None) -> None:
        self.tries += 1
        if self.broken:
            raise BackendError("the store is down")
        super().store(results, ttl=ttl)


class Bench:
    """An agent at work, and the supervisor's end of its line."""

    def __init__(self, **broker: Any) -> None:
        self.hub = Hub()
        self.verbs: list[str] = []
        self.failing: set[str] = set()
        self.once: set[str] = set()
        """Verbs that fail from the second time."""
        self.client = MemoryBroker(self.hub, lease=LEASE)
        self.client.declare([Queue(name="q")])
        self.store = Store(self.hub)
        self.broker = MemoryBroker(self.hub, fault=self._fault, **({"lease": LEASE} | broker))
        app: Any = SimpleNamespace(
            broker=self.broker,
            backend=self.store,
            serializers=Serializers(),
            conf=SimpleNamespace(result_expires=60.0, result_serializer="json"),
        )
        self.app = app
        ours, theirs = socket.socketpair()
        self.line = Channel(ours)
        self.heard: list[dict[str, Any]] = []
        self.exit_code: int | None = None
        options = WorkerOptions(hostname="w@h", queues=("q",))

        def work() -> None:
            self.exit_code = run_agent(app, options, theirs)
            theirs.close()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def _fault(self, verb: str) -> None:
        self.verbs.append(verb)
        if verb in self.failing or (verb in self.once and self.verbs.count(verb) > 1):
            raise BrokerError("the broker is down")

    def holding(self, owner: str, ids: Sequence[str]) -> Consumer:
        """A consumer that has received messages of these ids."""
        self.client.publish([Message(queue="q", body=b"{}", id=id) for id in ids])
        consumer = self.client.consume(["q"], owner=owner, prefetch=100)
        assert [delivery.message.id for delivery in consumer.receive(100, 1.0)] == list(ids)
        return consumer

    def received(self, count: int, timeout: float = 2.0) -> dict[str, int]:
        """What another consumer gets: ids and attempts."""
        consumer = self.client.consume(["q"], owner="next", prefetch=100)
        got: dict[str, int] = {}
        deadline = time.monotonic() + timeout
        while len(got) < count and (left := deadline - time.monotonic()) > 0:
            got |= {delivery.message.id: delivery.attempt for delivery in consumer.receive(100, left)}
        return got

    def released(self) -> list[str]:
        self.heard += self.line.receive()
        return [message["released"] for message in self.heard if "released" in message]

    def result(self, id: str) -> tuple[Result, Any]:
        result = self.store.fetch([id])[id]
        return result, decode_body(self.app.serializers, result, frozenset({"application/json"}))

    def stop(self) -> None:
        self.line.send({"stop": True})
        self.thread.join(5.0)
        self.line.close()
        assert not self.thread.is_alive()


def until(look: Callable[[], T], timeout: float = 5.0) -> T:
    """What `look` finds, once it is true."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.005)
    return found


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.line.close()
    bench.thread.join(5.0)


def dead(owner: str, charged: Sequence[str] = (), failed: Sequence[Failed] = ()) -> dict[str, Any]:
    return {
        "dead": Death(owner=owner, reason="killed by SIGKILL", charged=list(charged), failed=list(failed)).to_dict()
    }


def test_what_the_living_hold_stays_theirs_for_many_leases(bench: Bench) -> None:
    bench.line.send({"alive": ["a"]})
    bench.holding("a", ["1"])
    assert bench.received(1, 4 * LEASE) == {}


def test_what_a_dead_owner_held_is_back_and_only_the_started_are_charged(bench: Bench) -> None:
    bench.line.send({"alive": ["a", "b", "next"]})
    bench.holding("a", ["1", "2"])
    bench.holding("b", ["3"])
    killed = time.monotonic()
    bench.line.send(dead("a", ["2"]))
    assert bench.received(2) == {"1": 1, "2": 2}
    assert time.monotonic() - killed < LEASE
    until(lambda: bench.released() == ["a"])
    assert bench.received(1, 2 * LEASE) == {}


def test_the_failure_of_a_task_past_its_limit_is_stored_before_its_message_is_back(bench: Bench) -> None:
    bench.holding("a", ["1"])
    bench.line.send(dead("a", ["1"], [Failed(id="1", limit=2.5, attempt=65538, generation=1)]))
    assert bench.received(1) == {"1": 2}
    result, error = bench.result("1")
    assert (result.state, result.terminal) == ("FAILURE", True)
    assert (result.attempt, result.generation) == (65538, 1)
    assert isinstance(error, TimeLimitExceeded)
    assert error.args == (2.5,)


def test_a_lost_task_that_was_acknowledged_early_has_failed(bench: Bench) -> None:
    bench.line.send(dead("a", [], [Failed(id="1")]))
    until(bench.released)
    _, error = bench.result("1")
    assert isinstance(error, WorkerLostError)
    assert "killed by SIGKILL" in str(error)


def test_renewing_is_tried_until_the_broker_answers_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bench.failing.add("renew")
    bench.line.send({"alive": ["a"]})
    bench.holding("a", ["1"])
    until(lambda: bench.verbs.count("renew") >= 3)
    bench.failing.clear()
    until(lambda: "The leases of a are renewed again" in caplog.text)
    assert caplog.text.count("cannot be renewed") == 1


def test_releasing_is_tried_until_the_broker_answers_again(bench: Bench) -> None:
    bench.failing.add("release")
    bench.line.send(dead("a", ["1"], [Failed(id="1", limit=1.0)]))
    until(lambda: bench.verbs.count("release") >= 3)
    assert bench.released() == []
    bench.failing.clear()
    until(lambda: bench.released() == ["a"])
    assert bench.store.tries == 1


def test_a_release_waits_for_the_store_but_not_forever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "STORE_PATIENCE", 0.5)
    bench.store.broken = True
    told = time.monotonic()
    bench.line.send(dead("a", ["1"], [Failed(id="1", limit=1.0)]))
    until(lambda: bench.store.tries >= 2)
    assert bench.released() == []
    until(bench.released)
    assert time.monotonic() - told >= 0.5


def test_what_a_dead_owners_last_request_still_claimed_goes_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "SECOND_LOOK", 0.1)
    bench = Bench(lease=60.0)
    bench.once.add("release")
    bench.line.send(dead("a", ["1"]))
    until(bench.released)
    bench.holding("a", ["1"])
    bench.once.clear()
    assert bench.received(1) == {"1": 1}
    bench.stop()


def test_a_broker_that_holds_by_connection_is_asked_for_nothing() -> None:
    bench = Bench(capabilities=Capabilities(held_by="connection", processes=False), lease=None)
    bench.line.send({"alive": ["a"]})
    bench.line.send(dead("b", ["1"]))
    until(lambda: bench.released() == ["b"])
    bench.stop()
    assert not {"renew", "release"} & set(bench.verbs)


def test_it_leaves_when_told_to_after_what_is_left_to_bury(bench: Bench) -> None:
    bench.failing.add("release")
    bench.line.send(dead("a"))
    until(lambda: "release" in bench.verbs)
    bench.line.send({"stop": True})
    bench.thread.join(0.3)
    assert bench.thread.is_alive()
    bench.failing.clear()
    bench.thread.join(5.0)
    assert bench.exit_code == 0
    assert bench.released() == ["a"]


def test_it_leaves_when_the_supervisor_is_gone(bench: Bench) -> None:
    bench.failing.add("release")
    bench.line.send(dead("a"))
    until(lambda: "release" in bench.verbs)
    bench.line.close()
    bench.thread.join(5.0)
    assert not bench.thread.is_alive()


def test_it_says_that_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "TICK", 0.05)
    bench = Bench()

    def ticks() -> int:
        bench.heard += bench.line.receive()
        return sum("tick" in message for message in bench.heard)

    until(lambda: ticks() >= 4)
    assert bench.heard[0] == {"ready": True}
    bench.stop()
