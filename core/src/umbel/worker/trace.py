"""One delivery becomes an outcome: decoded, judged, run, and what follows from it worked out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from umbel import signals
from umbel.clock import boot_time
from umbel.current import current_request
from umbel.exceptions import (
    Ignore,
    InvalidMessage,
    NotRegistered,
    Reject,
    Retry,
    TaskRevokedError,
    WorkerLostError,
)
from umbel.message.decode import decode
from umbel.message.times import to_unix
from umbel.states import FAILURE, IGNORED, REJECTED, RETRY, STARTED, SUCCESS
from umbel.worker.finish import Finish, attempt_order
from umbel.worker.outcome import Outcome, Running
from umbel.worker.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from umbel.message.context import Context
    from umbel.results.applike import AppLike
    from umbel.spec import Delivery
    from umbel.worker.limits import SoftLimit
    from umbel.worker.options import WorkerOptions
    from umbel.worker.page import Slot
    from umbel.worker.ratelimit import RateLimits
    from umbel.worker.revoked import Revoked


class Tracer:
    """Runs tasks for one child; every method may be called from any of its threads."""

    def __init__(
        self,
        app: AppLike,
        options: WorkerOptions,
        *,
        page: Slot | None,
        revoked: Revoked,
        ack_early: Callable[[Delivery], None],
    ) -> None:
        self.app = app
        self.options = options
        self._recipes = {name: Recipe(task, app, options) for name, task in app.tasks.items()}
        self._page = page
        self._revoked = revoked
        self._rates: RateLimits | None = options.rates
        self._serializers = app.serializers
        self._accept = app.serializers.accepting(app.conf.accept_content)
        self._finish = Finish(app, options)
        self._ack_early = ack_early
        """Acknowledges a delivery at once."""

    def recipe(self, name: Any) -> Recipe | None:
        """How to run the task of this name, also one that was registered after the worker started; None: unknown."""
        known = self._recipes.get(name)
        if known is None and name in self.app.tasks:
            known = self._recipes[name] = Recipe(self.app.tasks[name], self.app, self.options)
        return known

    def run(self, delivery: Delivery, slot: int, soft: SoftLimit | None) -> Outcome:
        """Run a plain function's task to its end. `soft` raises the soft time limit, where the thread can."""
        running = self.begin(delivery, slot)
        if isinstance(running, Outcome):
            return running
        request, recipe = running.request, running.recipe
        token = current_request.set(request)
        try:
            limit = (request.timelimit and request.timelimit[1]) or recipe.soft_time_limit
            if limit and soft is not None:
                with soft.armed(limit):
                    value = recipe.call(*request.args, **request.kwargs)
            else:
                value = recipe.call(*request.args, **request.kwargs)
        except BaseException as exc:  # noqa: BLE001 - whatever a task raises is its outcome, SystemExit too
            return self.failed(running, exc)
        else:
            return self.succeeded(running, value)
        finally:
            current_request.reset(token)

    def begin(self, delivery: Delivery, slot: int, *, hard: bool = True) -> Running | Outcome:
        """Judge a delivery: about to run, or its outcome is clear already. `hard`: its limit is kept by a kill."""
        try:
            request = decode(
                delivery,
                self._serializers,
                self._accept,
                max_size=self.options.max_message_size,
                hostname=self.options.hostname,
            )
        except InvalidMessage as exc:
            return self._finish.poison(delivery, exc)
        recipe = self.recipe(request.task)
        if recipe is None:
            return self._finish.quarantined(delivery, request, NotRegistered(request.task), str(request.task))
        verdict = self._judged(delivery, request, recipe)
        if verdict is not None:
            return verdict
        running = Running(delivery, request, recipe, slot, time.monotonic())
        request.called_directly = False
        request._task = recipe.task
        if self._page is not None:
            limit = (hard and ((request.timelimit and request.timelimit[0]) or recipe.time_limit)) or 0.0
            deadline = boot_time() + limit if limit else 0.0
            order = attempt_order(request, delivery)
            self._page.begin(slot, delivery.message.id, deadline, recipe.policy, limit, order, request.umbel_generation)
        if not recipe.acks_late:
            self._ack_early(delivery)
            running.acked = True
        if recipe.track_started:
            self._finish.store_state(
                request, delivery, STARTED, {"pid": os.getpid(), "hostname": self.options.hostname}
            )
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                sender=recipe.task, task_id=request.id, task=recipe.task, args=request.args, kwargs=request.kwargs
            )
        if recipe.before_start:
            outcome = self._before_start(running)
            if outcome is not None:
                return outcome
        return running

    def _before_start(self, running: Running) -> Outcome | None:
        request = running.request
        token = current_request.set(request)
        try:
            running.recipe.task.before_start(request.id or "", request.args, request.kwargs)
        except BaseException as exc:  # noqa: BLE001 - a failing handler fails its task, as in Celery
            return self.failed(running, exc)
        finally:
            current_request.reset(token)
        return None

    def _judged(self, delivery: Delivery, request: Context, recipe: Recipe) -> Outcome | None:
        """The outcome of what must not run, or not now; None if it may."""
        if delivery.attempt > 1 or request.umbel_resent:
            known = self._finish.known(delivery, request, recipe)
            if known is not None:
                return known
            limit = self.options.delivery_limit
            if delivery.attempt > limit:
                error = WorkerLostError(f"worker lost x{delivery.attempt - 1}: {limit} starts and no end")
                return self._finish.quarantined(delivery, request, error, recipe.name)
        if request.expires is not None and to_unix(request.expires) < time.time():
            return self._finish.revoked(delivery, request, TaskRevokedError("expired"), expired=True)
        if self._revoked.ids and request.id in self._revoked.ids:
            known = self._finish.known(delivery, request, recipe)
            if known is not None or request.umbel_generation == 0:
                return known or self._finish.revoked(delivery, request, TaskRevokedError("revoked"), expired=False)
        if recipe.rate_limit and self._rates is not None:
            wait = self._rates.take(recipe.name)
            if wait > 0:
                return Outcome(delivery, request, action="requeue", delay=wait, charge=False)
        return None

    def internal_error(self, delivery: Delivery, exc: Exception) -> Outcome:
        """The outcome where something of ours broke."""
        return self._finish.internal_error(delivery, exc)

    def succeeded(self, running: Running, value: Any) -> Outcome:
        """The outcome of a task that has returned."""
        return self._ended(running, self._finish.success(running, value), SUCCESS, value)

    def failed(self, running: Running, exc: BaseException) -> Outcome:
        """The outcome of a task that has raised."""
        finish = self._finish
        if isinstance(exc, Retry):
            return self._ended(running, finish.retry(running, exc), RETRY, exc)
        if isinstance(exc, Ignore):
            return self._ended(running, Outcome(running.delivery, running.request), IGNORED, exc)
        if isinstance(exc, Reject):
            return self._ended(running, finish.reject(running, exc), REJECTED, exc)
        return self._ended(running, finish.failure(running, exc), FAILURE, exc)

    def _ended(self, running: Running, outcome: Outcome, state: str, value: Any) -> Outcome:
        if self._page is not None:
            self._page.end(running.slot)
        if signals.task_postrun.receivers:
            request = running.request
            signals.task_postrun.send(
                sender=running.recipe.task,
                task_id=request.id,
                task=running.recipe.task,
                args=request.args,
                kwargs=request.kwargs,
                retval=value,
                state=outcome.result.state if outcome.result is not None else state,
            )
        return outcome
