"""The outcomes of a task: its result encoded, what follows from it, its handlers, signals and log line."""

from __future__ import annotations

import logging
import time
import traceback
from typing import TYPE_CHECKING, Any

from umbel import signals
from umbel.canvas.steps import concerns, from_stored, on_failure, on_success
from umbel.exceptions import EncodeError, InvalidMessage, NotRegistered
from umbel.results.codec import encode_failure, encode_value
from umbel.results.reading import value_of
from umbel.spec import BackendError, BrokerError, Result
from umbel.states import FAILURE, READY_STATES, RETRY, REVOKED, SUCCESS
from umbel.worker.outcome import Outcome, Running

if TYPE_CHECKING:
    from umbel.canvas.steps import Steps
    from umbel.exceptions import Reject, Retry
    from umbel.message.context import Context
    from umbel.results.applike import AppLike
    from umbel.spec import Delivery
    from umbel.worker.options import WorkerOptions
    from umbel.worker.recipe import Recipe

logger = logging.getLogger("umbel.worker.trace")

VERDICT = "verdict"
"""In the meta of a result: the agent stored it, after the death of the child that ran the task."""


def attempt_order(request: Context, delivery: Delivery) -> int:
    """The place of this start among all starts of the task, for the result store's order.

    A retry is a new message whose attempts begin at 1 again, and must not look older than what it follows.
    """
    return (request.retries << 16) + delivery.attempt


class Finish:
    """Makes outcomes, for one child."""

    def __init__(self, app: AppLike, options: WorkerOptions) -> None:
        self._app = app
        self._options = options
        self._serializers = app.serializers
        self._serializer: str = app.conf.result_serializer
        self._extended = bool(app.conf.result_extended)
        self._stores = app.backend is not None

    def success(self, running: Running, value: Any) -> Outcome:
        """The task returned `value`."""
        request, recipe = running.request, running.recipe
        outcome = Outcome(running.delivery, request)
        runtime = time.monotonic() - running.since
        stored = self._stores and not (recipe.ignore_result or request.ignore_result)
        try:
            encoded = encode_value(self._serializers, value, recipe.serializer) if stored else None
            if concerns(request):
                self._follow(outcome, on_success(self._app, request, value, encoded))
            if encoded is not None:  # only now: what follows belongs to the children that the result names
                outcome.result = self._result(request, running.delivery, SUCCESS, *encoded)
        except (BrokerError, BackendError):
            raise
        except Exception as exc:  # noqa: BLE001 - a value or a callback that cannot be sent is the task's failure
            return self.failure(running, exc)
        if recipe.on_success or recipe.after_return:
            self._handle(running, recipe.on_success and "on_success", value, SUCCESS)
        if signals.task_success.receivers:
            signals.task_success.send(sender=recipe.task, result=value, runtime=runtime)
        if logger.isEnabledFor(logging.INFO):
            shown = f": {value!r:.200}" if self._options.show_arguments else ""
            self._log(logging.INFO, request, "succeeded in %.4gs%s", runtime, shown)
        return outcome

    def failure(self, running: Running, exc: BaseException) -> Outcome:
        """The task raised."""
        request, recipe = running.request, running.recipe
        expected = isinstance(exc, recipe.throws) if recipe.throws else False
        text = "".join(traceback.format_exception(exc))
        outcome = self._failed(running.delivery, request, exc, FAILURE, text)
        if (recipe.ignore_result or request.ignore_result) and not recipe.store_errors:
            outcome.result = None
        if not recipe.acks_on_failure:
            outcome.action, outcome.reason = "dead", f"{type(exc).__name__}: {exc}"
        if recipe.on_failure or recipe.after_return:
            self._handle(running, recipe.on_failure and "on_failure", exc, FAILURE, text)
        if signals.task_failure.receivers:
            signals.task_failure.send(
                sender=recipe.task,
                task_id=request.id,
                exception=exc,
                args=request.args,
                kwargs=request.kwargs,
                traceback=exc.__traceback__,
                einfo=text,
            )
        if expected:
            self._log(logging.INFO, request, "raised expected: %r", exc)
        else:
            self._log(logging.ERROR, request, "raised unexpected: %r\n%s", exc, text)
        return outcome

    def retry(self, running: Running, exc: Retry) -> Outcome:
        """The task is to run again; its new message leaves with the old one's acknowledgement."""
        request, recipe = running.request, running.recipe
        outcome = Outcome(running.delivery, request)
        cause = exc.exc if exc.exc is not None else exc
        text = "".join(traceback.format_exception(cause))
        if self._stores and not (recipe.ignore_result or request.ignore_result):
            body, content_type = encode_failure(self._serializers, cause, self._serializer)
            outcome.result = self._result(request, running.delivery, RETRY, body, content_type, text)
        call = getattr(exc, "call", None)
        if call is not None:
            call.resent = running.delivery.attempt > 1 or request.umbel_resent
            try:
                outcome.messages = self._app.encode([call])
            except Exception as error:  # noqa: BLE001 - a retry that cannot be sent is the task's failure
                return self.failure(running, error)
        if recipe.on_retry:
            self._handle(running, "on_retry", cause, RETRY, text, after=False)
        if signals.task_retry.receivers:
            signals.task_retry.send(sender=recipe.task, request=request, reason=exc, einfo=text)
        self._log(logging.INFO, request, "retry: %s", exc)
        return outcome

    def reject(self, running: Running, exc: Reject) -> Outcome:
        """The task refused its message."""
        request = running.request
        self._log(logging.INFO, request, "%s", exc)
        if exc.requeue:
            return Outcome(running.delivery, request, action="requeue")
        outcome = self._failed(running.delivery, request, exc, FAILURE, None)
        outcome.action, outcome.reason = "dead", f"rejected: {exc.reason}"
        if running.recipe.ignore_result or request.ignore_result:
            outcome.result = None
        return outcome

    def revoked(self, delivery: Delivery, request: Context, exc: Exception, *, expired: bool) -> Outcome:
        """The task must not run any more."""
        outcome = self._failed(delivery, request, exc, REVOKED, None)
        if signals.task_revoked.receivers:
            signals.task_revoked.send(
                sender=request._task, request=request, terminated=False, signum=None, expired=expired
            )
        self._log(logging.INFO, request, "discarded: %s", exc)
        return outcome

    def quarantined(self, delivery: Delivery, request: Context, exc: Exception, name: str) -> Outcome:
        """Nobody here can run it: to the dead letters, and whoever waits is told."""
        outcome = self._failed(delivery, request, exc, FAILURE, None)
        outcome.action, outcome.reason = "dead", f"{type(exc).__name__}: {exc}"
        if isinstance(exc, NotRegistered) and signals.task_unknown.receivers:
            signals.task_unknown.send(sender=self, message=delivery.message, exc=exc, name=name, id=request.id)
        logger.error("Task %s[%s] goes to the dead letters: %s", name, request.id, exc)
        return outcome

    def poison(self, delivery: Delivery, exc: InvalidMessage) -> Outcome:
        """A message that is no task: to the dead letters, bytes intact."""
        if signals.task_rejected.receivers:
            signals.task_rejected.send(sender=self, message=delivery.message, exc=exc)
        message = delivery.message
        logger.error("A message of queue %s goes to its dead letters (id %.80s): %s", message.queue, message.id, exc)
        outcome = Outcome(delivery, None, action="dead", reason=f"{type(exc).__name__}: {exc}")
        if self._stores and message.id:
            body, content_type = encode_failure(self._serializers, exc, self._serializer)
            outcome.result = Result(
                id=message.id, state=FAILURE, body=body, content_type=content_type, terminal=True,
                attempt=delivery.attempt, meta={"date_done": time.time()},
            )  # fmt: skip
        return outcome

    def known(self, delivery: Delivery, request: Context, recipe: Recipe) -> Outcome | None:
        """The outcome that an earlier start has stored, with all its steps done again; None if there is none."""
        backend = self._app.backend
        if backend is None or not request.id:
            return None
        stored = backend.fetch([request.id]).get(request.id)
        if stored is None or not stored.terminal or stored.generation < request.umbel_generation:
            return None
        if stored.meta.get(VERDICT):
            # The agent has stored this in place of a child that it killed: nobody has drawn the consequences yet.
            return self.failure(Running(delivery, request, recipe, 0, time.monotonic()), value_of(self._app, stored))
        outcome = Outcome(delivery, request)
        self._follow(outcome, from_stored(self._app, request, stored))
        self._log(logging.INFO, request, "was finished before (%s); not run again", stored.state)
        return outcome

    def store_state(self, request: Context, delivery: Delivery, state: str, value: Any) -> None:
        """Store a state that is not final, now."""
        backend = self._app.backend
        if backend is None or request.ignore_result:
            return
        body, content_type = encode_value(self._serializers, value, self._serializer)
        result = self._result(request, delivery, state, body, content_type)
        backend.store([result], ttl=self._app.conf.result_expires)

    def internal_error(self, delivery: Delivery, exc: Exception) -> Outcome:
        """Something of ours broke: the task is failed, never lost."""
        logger.error("internal error for message %s: %r", delivery.message.id, exc, exc_info=exc)
        return Outcome(delivery, None, action="dead", reason=f"internal error: {exc!r}")

    def _failed(
        self, delivery: Delivery, request: Context, exc: BaseException, state: str, text: str | None
    ) -> Outcome:
        outcome = Outcome(delivery, request)
        if self._stores:
            try:
                body, content_type = encode_failure(self._serializers, exc, self._serializer)
            except EncodeError as error:
                body, content_type = encode_failure(self._serializers, error, self._serializer)
            outcome.result = self._result(request, delivery, state, body, content_type, text)
        if concerns(request):
            try:
                self._follow(outcome, on_failure(self._app, request, exc, state, text))
            except (BrokerError, BackendError):
                raise
            except Exception:
                logger.exception("Task %s[%s]: its errbacks could not be sent", request.task, request.id)
        return outcome

    def _result(
        self,
        request: Context,
        delivery: Delivery,
        state: str,
        body: bytes,
        content_type: str,
        text: str | None = None,
    ) -> Result:
        terminal = state in READY_STATES
        meta: dict[str, Any] = {"date_done": time.time()} if terminal else {}
        if text is not None:
            meta["traceback"] = text
        if request.group is not None:
            meta["group_id"] = request.group
        if request.parent_id is not None:
            meta["parent_id"] = request.parent_id
        children = request.__dict__.get("_children")
        if children:
            meta["children"] = [child.as_tuple() for child in children]
        if self._extended:
            meta.update(
                name=request.task, args=request.args, kwargs=request.kwargs, worker=self._options.hostname,
                retries=request.retries, queue=delivery.message.queue,
            )  # fmt: skip
        return Result(
            id=request.id or "",
            state=state,
            body=body,
            content_type=content_type,
            attempt=attempt_order(request, delivery),
            generation=request.umbel_generation,
            terminal=terminal,
            meta=meta,
        )

    def _follow(self, outcome: Outcome, steps: Steps) -> None:
        outcome.joins = steps.joins
        outcome.further = steps.results
        outcome.forget = steps.forget
        if steps.calls:
            outcome.messages = self._app.encode(steps.calls)

    def _handle(
        self,
        running: Running,
        handler: str | bool,
        value: Any,
        state: str,
        text: str | None = None,
        *,
        after: bool = True,
    ) -> None:
        """Call the user's handlers; their errors are logged and change nothing, as in Celery."""
        request, task = running.request, running.recipe.task
        id = request.id or ""
        try:
            if handler == "on_success":
                task.on_success(value, id, request.args, request.kwargs)
            elif handler == "on_failure":
                task.on_failure(value, id, request.args, request.kwargs, text)
            elif handler == "on_retry":
                task.on_retry(value, id, request.args, request.kwargs, text)
            if after and running.recipe.after_return:
                task.after_return(state, value, id, request.args, request.kwargs, text)
        except Exception:
            logger.exception("Task %s[%s]: a handler of it failed", request.task, request.id)

    def _log(self, level: int, request: Context, text: str, *args: Any) -> None:
        if logger.isEnabledFor(level):
            name = request.shadow or request.task
            logger.log(
                level,
                f"Task %s[%s] {text}",
                name,
                request.id,
                *args,
                extra={"data": {"name": name, "id": request.id}},
            )
