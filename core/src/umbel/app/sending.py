"""An app sends: calls become messages, and these go to the broker."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from umbel import signals
from umbel.app.asending import LoopSender
from umbel.app.connected import Connected
from umbel.app.publishing import Policy, body_of, error_of, policy_of, publish
from umbel.canvas.plan import plan
from umbel.canvas.sending import add_child, inherit, running
from umbel.canvas.signature import Signature
from umbel.exceptions import AlwaysEagerIgnored
from umbel.message.encode import encode
from umbel.results.result import AsyncResult
from umbel.task.making import check_containers, make_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from umbel.message.call import Call
    from umbel.spec import Failure, Message

_NOTHING: Mapping[str, Any] = {}


class Sending(Connected):
    """An app that sends calls."""

    def __init__(self, changes: Mapping[str, Any]) -> None:
        super().__init__(changes)
        self._loops: WeakKeyDictionary[Any, LoopSender] = WeakKeyDictionary()
        self._policy: tuple[int, Policy] = (-1, Policy())

    def encode(self, calls: Sequence[Call]) -> list[Message]:
        """The messages of calls, whose queues exist then; the errors of bad calls come from here."""
        messages = self._messages(calls)
        self._connections().declare(messages)
        return messages

    def send(self, calls: Sequence[Call]) -> None:
        """Publish calls in one round trip; OperationalError when the broker did not take them, or not all of them."""
        messages = self._messages(calls)
        if messages:
            failures = publish(self._connections(), messages, self._policy_for(calls[0]))
            self._sent(calls, messages, failures)

    async def asend(self, calls: Sequence[Call]) -> None:
        """`send` without blocking the running loop; what is sent in one of its turns goes out together."""
        import asyncio  # noqa: PLC0415 - loaded already, since this runs on a loop; others need not load it

        loop = asyncio.get_running_loop()
        sender = self._loops.get(loop)
        if sender is None:
            sender = self._loops[loop] = LoopSender(self._publish)
        messages = self._messages(calls)
        if messages:
            failures = await sender.send(messages, self._policy_for(calls[0]), loop)
            self._sent(calls, messages, failures)

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        countdown: float | None = None,
        eta: Any = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Send a task by its name, which need not be known here; the options are those of `Task.apply_async`."""
        if self.conf.task_always_eager:
            warnings.warn("task_always_eager has no effect on send_task", AlwaysEagerIgnored, stacklevel=2)
        check_containers(args, kwargs)
        given = {"countdown": countdown, "eta": eta, "task_id": task_id, **options}
        call = make_call(name, args, kwargs, {key: value for key, value in given.items() if value is not None}, self)
        self.send((call,))
        result = self._handle(call)
        request = running() if options.get("add_to_parent", True) else None
        if request is not None:
            add_child(request, result)
        return result

    def send_tasks(self, tasks: Iterable[Any], **options: Any) -> list[Any]:
        """Send many, of any kind, in one publish: their handles, in order.

        Each is a signature, or a tuple of a task or its name, and perhaps its args, kwargs and options. The options
        given here are defaults for all of them.
        """
        calls: list[Call] = []
        handles: list[Any] = []
        request = running()
        for item in tasks:
            if isinstance(item, Signature):
                given = {name: value for name, value in options.items() if name not in item.options}
                if request is not None:
                    inherit(request, given, self.conf)
                planned = plan(item, app=self, **given)
                calls += planned.calls
                handles.append(planned.result)
            else:
                calls.append(self._named(item, options))
                handles.append(self._handle(calls[-1]))
        self.send(calls)
        if request is not None:
            for handle in handles:
                if handle is not None:
                    add_child(request, handle)
        return handles

    def next_generations(self, ids: Sequence[str]) -> dict[str, int]:
        """The generations for ids of the caller's own choice: one that has ended before begins its next."""
        backend = self.backend
        known = {} if backend is None else backend.fetch(ids)
        return {id: known[id].generation + int(known[id].terminal) if id in known else 0 for id in ids}

    def _messages(self, calls: Sequence[Call]) -> list[Message]:
        tasks, table, conf = self.tasks, self.routes, self.conf
        serializers, reply_to, origin = self.serializers, self.thread_oid, self._connections().origin
        now = time.time()
        messages = []
        for call in calls:
            task = tasks.get(call.task)
            defaults = _NOTHING if task is None else task.resolved.sent
            options = call.options
            name = options.get("route_name") or call.task if options else call.task
            to = table.destination(name, call.args, call.kwargs, options, defaults)
            messages.append(encode(call, defaults, to, serializers, conf, now=now, origin=origin, reply_to=reply_to))
        if signals.before_task_publish.receivers:
            for call, message in zip(calls, messages, strict=True):
                self._announce(call, message)
        return messages

    def _announce(self, call: Call, message: Message) -> None:
        """Tell who wants to know before a task is sent; the headers are theirs to add to."""
        signals.before_task_publish.send(
            sender=call.task,
            body=body_of(call),
            exchange=message.exchange,
            routing_key=message.routing_key,
            headers=message.headers,
            properties={
                "correlation_id": message.correlation_id,
                "reply_to": message.reply_to,
                "priority": message.priority,
            },
            declare=[message.queue],
            retry_policy=self.conf.task_publish_retry_policy,
        )

    def _policy_for(self, call: Call) -> Policy:
        """How often to try; the settings' policy is worked out once for each revision of them."""
        if "retry" in call.options or "retry_policy" in call.options:
            return policy_of(self.conf, call.options)
        revision = self.conf.revision
        if self._policy[0] != revision:
            self._policy = (revision, policy_of(self.conf, {}))
        return self._policy[1]

    def _publish(self, messages: Sequence[Message], policy: Policy) -> list[Failure]:
        return publish(self._connections(), messages, policy)

    def _sent(self, calls: Sequence[Call], messages: Sequence[Message], failures: Sequence[Failure]) -> None:
        """Tell who wants to know of those that were sent, and the caller of those that were not."""
        if signals.after_task_publish.receivers:
            failed = {id(failure.message) for failure in failures}
            for call, message in zip(calls, messages, strict=True):
                if id(message) not in failed:
                    signals.after_task_publish.send(
                        sender=call.task,
                        body=body_of(call),
                        headers=message.headers,
                        exchange=message.exchange,
                        routing_key=message.routing_key,
                    )
        if failures:
            raise error_of(failures, len(messages), self.broker_url)

    def _named(self, item: Any, defaults: Mapping[str, Any]) -> Call:
        """The call that a tuple describes."""
        if not isinstance(item, tuple) or not 1 <= len(item) <= 4:
            raise TypeError(
                f"send_tasks: {item!r:.100} is neither a signature nor a tuple (task, args, kwargs, options)"
            )
        task, args, kwargs, options = (*item, None, None, None)[:4]
        check_containers(args, kwargs)
        known = self.tasks.get(task) if isinstance(task, str) else task
        if known is not None and known.resolved.checks:
            known.arguments.check(args or (), kwargs)
        name = task if isinstance(task, str) else task.name
        return make_call(name, args, kwargs, {**defaults, **(options or {})}, self)

    def _handle(self, call: Call) -> AsyncResult[Any]:
        result: AsyncResult[Any] = AsyncResult(call.id, None, call.task, self)
        task = self.tasks.get(call.task)
        if call.options.get("ignore_result", task is not None and task.resolved.ignore_result):
            result.ignored = True
        return result
