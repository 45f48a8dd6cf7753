"""A whole task queue in one thread: real encoding, a real memory store, and faults wherever one can strike."""

from __future__ import annotations

import random
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from umbel.backends.memory import MemoryBackend
from umbel.canvas.builtin import builtin_tasks
from umbel.canvas.following import Join, Steps
from umbel.canvas.signature import Signature
from umbel.canvas.steps import concerns, from_stored, is_complete, on_failure, on_joined, on_success
from umbel.clock import ManualClock
from umbel.current import current_request
from umbel.message.call import Call
from umbel.message.context import Context
from umbel.message.decode import decode
from umbel.message.encode import encode
from umbel.results.codec import encode_failure, encode_value
from umbel.results.eager import EagerResult
from umbel.results.failure import ExceptionTypes
from umbel.results.waiter import Waiter
from umbel.routing.destination import Destination
from umbel.serialization.registry import Serializers
from umbel.spec import Delivery, Message, Result
from umbel.states import FAILURE, SUCCESS

BOUNDARIES = ("ran", "stored", "arrived", "claimed", "followed", "partly published", "published", "acked")
"""Where a worker can die, in the order in which it comes there."""


class Crash(BaseException):
    """The worker has died here."""


class FakeTask:
    """What canvas and results ask of a task."""

    def __init__(self, app: Harness, name: str, run: Callable[..., Any], *, bind: bool = False) -> None:
        self.app = app
        self.name = name
        self.run = run
        self.bind = bind
        self.ignore_result: bool | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def apply(self, args: Sequence[Any], kwargs: dict[str, Any], task_id: str = "eager", **options: Any) -> Any:
        try:
            return EagerResult(task_id, self.run(*args, **kwargs), SUCCESS)
        except Exception as exc:
            return EagerResult(task_id, exc, FAILURE)

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        return Signature(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        return Signature(self, args, kwargs, immutable=True)


class Harness:
    """An app, its broker (a deque), its store and its one worker."""

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        self.main = "harness"
        self.conf = SimpleNamespace(
            task_serializer="json",
            task_compression=None,
            task_default_priority=None,
            result_serializer="json",
            accept_content=["json"],
            result_accept_content=None,
            result_expires=86400.0,
            task_always_eager=False,
            task_inherit_parent_priority=False,
            task_allow_error_cb_on_chord_header=False,
            **settings,
        )
        self.tasks: dict[str, FakeTask] = {}
        self.serializers = Serializers()
        self.exception_types = ExceptionTypes()
        self.clock = ManualClock()
        self.backend: Any = MemoryBackend(clock=self.clock)
        self.waiter = Waiter(MemoryBackend(self.backend.hub))
        self.thread_oid = "the-client"
        self.queue: deque[Delivery] = deque()
        self.publishes: list[list[Call]] = []
        """What was published together."""
        self.sent: Counter[str] = Counter()
        self.ran: list[tuple[str, str, Any]] = []
        """Name, id and arguments of each run of a task's function."""
        self.crashes: dict[str, list[str]] = {}
        """By task id: the boundaries at which its worker still has to die."""
        self.done: list[Delivery] = []
        self.random = random.Random(seed)
        for name, function in builtin_tasks(self).items():
            self.task(function, name=name)

    @property
    def broker(self) -> Any:
        raise AssertionError("nothing here may publish by itself")

    def task(self, function: Callable[..., Any], *, name: str | None = None, bind: bool = False) -> FakeTask:
        """Register a function."""
        task = FakeTask(self, name or function.__name__, function, bind=bind)
        self.tasks[task.name] = task
        return task

    # -- the app -----------------------------------------------------------------------------------------------------

    def encode(self, calls: Sequence[Call]) -> list[Message]:
        where = Destination("celery")
        return [
            encode(call, {}, where, self.serializers, self.conf, now=0.0, origin="harness", reply_to=self.thread_oid)
            for call in calls
        ]

    def send(self, calls: Sequence[Call]) -> None:
        self.publishes.append(list(calls))
        self.publish(self.encode(calls))

    def next_generations(self, ids: Sequence[str]) -> dict[str, int]:
        known = self.backend.fetch(ids)
        return {id: known[id].generation + int(known[id].terminal) if id in known else 0 for id in ids}

    def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.sent[message.id] += 1
            self.queue.append(Delivery(message=message, receipt=None))

    # -- the worker --------------------------------------------------------------------------------------------------

    def work(self, *, shuffled: bool = True, limit: int = 10_000) -> None:
        """Run whatever there is until nothing is left."""
        while self.queue:
            limit -= 1
            assert limit, "the queue does not become empty"
            if shuffled:
                self.queue.rotate(self.random.randrange(len(self.queue)))
            self.deliver(self.queue.popleft())

    def deliver(self, delivery: Delivery) -> None:
        """One delivery to its end, or to the worker's death, after which it comes again."""
        try:
            self._handle(delivery)
            self.done.append(delivery)
        except Crash:
            self.redeliver(delivery)

    def redeliver(self, delivery: Delivery) -> None:
        """Deliver it again, as a broker does whose lease has ended."""
        self.queue.append(Delivery(message=delivery.message, receipt=None, attempt=delivery.attempt + 1))

    def crash(self, task_id: str, *boundaries: str) -> None:
        """Let the worker die at these boundaries of this task, one after the other."""
        assert set(boundaries) <= set(BOUNDARIES)
        self.crashes.setdefault(task_id, []).extend(boundaries)

    def _at(self, boundary: str, request: Context) -> None:
        planned = self.crashes.get(request.id or "")
        if planned and planned[0] == boundary:
            planned.pop(0)
            raise Crash(boundary)

    def _handle(self, delivery: Delivery) -> None:
        accept = self.serializers.accepting(["json"])
        request = decode(delivery, self.serializers, accept, max_size=1 << 20)
        steps, result = self._known(request), None
        if steps is None:
            steps, result = self._run(request)
        self._at("ran", request)
        self._settle(request, steps, result)

    def _known(self, request: Context) -> Steps | None:
        assert request.delivery is not None
        if request.delivery.attempt == 1 and not request.umbel_resent:
            return None
        stored = self.backend.fetch([request.id]).get(request.id)
        if stored is None or not stored.terminal or stored.generation < request.umbel_generation:
            return None
        return from_stored(self, request, stored)

    def _run(self, request: Context) -> tuple[Steps, Result]:
        task = self.tasks[request.task or ""]
        request._task = task
        token = current_request.set(request)
        self.ran.append((task.name, request.id or "", (request.args, request.kwargs)))
        name = self.conf.result_serializer
        steps = Steps()
        try:
            value = task.run(*request.args, **request.kwargs)
            if concerns(request):
                steps = on_success(self, request, value)
            state, text = SUCCESS, None
            body, content_type = encode_value(self.serializers, value, name)
        except Exception as exc:
            text, state = traceback.format_exc(), FAILURE
            if concerns(request):
                steps = on_failure(self, request, exc, FAILURE, text)
            body, content_type = encode_failure(self.serializers, exc, name)
        finally:
            current_request.reset(token)
        meta: dict[str, Any] = {"children": [child.as_tuple() for child in request.children]}
        if text:
            meta["traceback"] = text
        assert request.delivery is not None
        return steps, Result(
            id=request.id or "", state=state, body=body, content_type=content_type, terminal=True,
            attempt=request.delivery.attempt, generation=request.umbel_generation, meta=meta,
        )  # fmt: skip

    def _settle(self, request: Context, steps: Steps, result: Result | None) -> None:
        if result is not None:
            self.backend.store([result], ttl=None)
        self._at("stored", request)
        calls, results = list(steps.calls), list(steps.results)
        waiting = list(steps.joins)
        while waiting:
            sizes = self.backend.arrive([join.arrival for join in waiting], ttl=60.0)
            self._at("claimed" if waiting[0].gathered is not None else "arrived", request)
            further: list[Join] = []
            for join, size in zip(waiting, sizes, strict=True):
                if is_complete(join, size):
                    more = on_joined(self, join, self.backend.gather(join.arrival.barrier))
                    calls.extend(more.calls)
                    results.extend(more.results)
                    further.extend(more.joins)
            waiting = further
        self.backend.store(results, ttl=None)
        self._at("followed", request)
        messages = self.encode(calls)
        half = len(messages) // 2
        if calls:
            self.publishes.append(calls)
        self.publish(messages[:half])
        self._at("partly published", request)
        self.publish(messages[half:])
        self._at("published", request)
        planned = self.crashes.get(request.id or "")
        if planned and planned[0] == "acked":
            planned.pop(0)  # the delivery is gone: what comes after the ack is lost for good, and may be
            return
        self.backend.forget(steps.forget)

    # -- looking -----------------------------------------------------------------------------------------------------

    def runs(self, name: str) -> list[Any]:
        """The arguments of each run of a task."""
        return [args for task, _, (args, _) in self.ran if task == name]

    def times(self, task_id: str) -> int:
        """How often the function ran under this id."""
        return sum(id == task_id for _, id, _ in self.ran)

    def barriers(self) -> int:
        """How many barriers the store holds."""
        return len(self.backend.hub.results._barriers)
