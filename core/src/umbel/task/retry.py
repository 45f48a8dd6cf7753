"""Trying a task again: because it says so, or because of what it raised."""

from __future__ import annotations

import random
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic

from umbel.canvas.signature import Signature
from umbel.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from umbel.task.calling import Calling
from umbel.task.making import check_containers, make_call
from umbel.task.resolving import classes
from umbel.task.running import P, R

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from umbel.message.context import Context
    from umbel.task.owner import Owner

DOUBLINGS = 60
"""Retries after which a pause grows no more, whatever its limit is: numbers have an end."""


class Retrying(Calling[P, R], Generic[P, R]):
    """A task that can be tried again."""

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | str | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Have it run again, under the same id: raises Retry, which the task lets pass (``raise self.retry()``).

        The new message leaves when the task has ended with that error, so do not catch it; with `throw=False` it
        leaves at once, and the Retry is returned. After `max_retries`, `exc` is raised, or MaxRetriesExceededError.
        Where no worker runs the task, the present error is raised.
        """
        request = self.request
        if request.called_directly:
            _raise(exc or sys.exc_info()[1] or Retry("Task can be retried"))
        limit = self.max_retries if max_retries is None else max_retries
        retries = request.retries + 1
        if limit is not None and retries > limit:
            _raise(exc or self._exceeded(request, limit))
        if eta is None and countdown is None:
            countdown = self.default_retry_delay
        sig = self.signature_from_request(
            request, args, kwargs, eta=eta, countdown=countdown, retries=retries, **options
        )
        reason = exc or sys.exc_info()[1]
        when: Any = eta or countdown
        again = Retry(exc=reason, when=when, is_eager=request.is_eager, sig=sig)
        call = make_call(self.name, sig.args, sig.kwargs, sig.options, self.app)
        if throw:
            again.call = call
            raise again
        if request.is_eager:
            sig.apply()
        else:
            self._send_now([call])
        return again

    def _send_now(self, calls: Sequence[Any]) -> None:
        try:
            self.app.send(calls)
        except Exception as error:
            raise Reject(error, requeue=False) from error

    def _exceeded(self, request: Context, limit: int) -> MaxRetriesExceededError:
        return self.MaxRetriesExceededError(
            f"Can't retry {self.name}[{request.id}]: it was retried {request.retries} times (max_retries is {limit})",
            task_args=request.args,
            task_kwargs=request.kwargs,
        )

    def signature_from_request(
        self,
        request: Context | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        **extra_options: Any,
    ) -> Signature:
        """The call that is running here as a signature, to be made again: to the same place, under the same id."""
        request = request or self.request
        check_containers(args, kwargs)
        given = {name: value for name, value in extra_options.items() if value is not None}
        options = {**execution_options(request), **_place(request, queue), **given}
        args, kwargs = self._arguments_again(request, args, kwargs)
        return Signature(self, args, kwargs, options, app=self.app)

    subtask_from_request = signature_from_request

    def _arguments_again(self, request: Context, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments of the request, with those given in place of its own; neither is there twice."""
        had_args, had_kwargs = request.args or (), request.kwargs or {}
        if args is not None and kwargs is not None:
            return args, kwargs
        if args is not None:
            names = self.arguments.positional[: len(args)]
            return args, {name: value for name, value in had_kwargs.items() if name not in names}
        if kwargs is not None:
            return self.arguments.rebind(had_args, had_kwargs, kwargs)
        return had_args, had_kwargs

    def bind(self, app: Owner) -> None:
        """Belong to this app, and retry by itself what `autoretry_for` names."""
        super().bind(app)
        if self.autoretry_for and "run" not in vars(self):
            vars(self)["run"] = _retried_async(self, self.run) if self.is_async else _retried(self, self.run)

    def _again_after(self, exc: BaseException) -> BaseException:
        """What to raise for an error of `autoretry_for`: a Retry, or at the end the error itself."""
        options = dict(self.retry_kwargs)
        if self.retry_backoff:
            options["countdown"] = backoff(
                1.0 if self.retry_backoff is True else self.retry_backoff,
                self.request.retries,
                self.retry_backoff_max,
                jitter=self.retry_jitter,
            )
        try:
            self.retry(exc=exc, **options)
        except BaseException as error:  # noqa: BLE001 - it is raised by the caller
            return error
        return exc  # throw=False is among retry_kwargs

    def _retries(self, exc: BaseException) -> bool:
        """Whether an error is to be retried automatically."""
        if isinstance(exc, (Ignore, Reject, Retry, *classes(self.dont_autoretry_for))):
            return False
        return isinstance(exc, classes(self.autoretry_for))


def _retried(task: Retrying[Any, Any], run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def retried(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except BaseException as exc:
            if task._retries(exc):
                error = task._again_after(exc)
                if error is not exc:
                    raise error from exc
            raise

    return retried


def _retried_async(task: Retrying[Any, Any], run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    async def retried(*args: Any, **kwargs: Any) -> Any:
        try:
            return await run(*args, **kwargs)
        except BaseException as exc:
            if task._retries(exc):
                error = task._again_after(exc)
                if error is not exc:
                    raise error from exc
            raise

    return retried


def backoff(factor: float, retries: int, maximum: float, *, jitter: bool) -> float:
    """Seconds to wait before the next try: `factor`, doubled with each retry, up to `maximum`.

    With jitter a random part of them, so that those who failed together do not come back together.
    """
    seconds = min(maximum, factor * 2 ** min(retries, DOUBLINGS))
    return random.uniform(0, seconds) if jitter else seconds


def execution_options(request: Context) -> dict[str, Any]:
    """The options that a request was sent with, for another one in its stead."""
    hard, soft = request.timelimit or (None, None)
    stamps = {name: (request.stamps or {}).get(name) for name in request.stamped_headers or ()}
    options = {
        "task_id": request.id,
        "umbel_generation": request.umbel_generation,
        "root_id": request.root_id,
        "group_id": request.group,
        "group_index": request.group_index,
        "shadow": request.shadow,
        "chord": request.chord,
        "chain": request.chain,
        "link": request.callbacks,
        "link_error": request.errbacks,
        "expires": request.expires,
        "time_limit": hard,
        "soft_time_limit": soft,
        "headers": dict(request.headers) if request.headers else None,
        "retries": request.retries,
        "reply_to": request.reply_to,
        "replaced_task_nesting": request.replaced_task_nesting or None,
        "ignore_result": request.ignore_result or None,
        "stamped_headers": request.stamped_headers,
        **stamps,
    }
    return {name: value for name, value in options.items() if value is not None}


def _place(request: Context, queue: str | None) -> dict[str, Any]:
    """Where it came from."""
    if request.delivery is None:
        return {"queue": queue} if queue else {}
    message = request.delivery.message
    place: dict[str, Any] = {"priority": message.priority, "key": message.key}
    if queue:
        place["queue"] = queue
    elif message.exchange:
        place.update(exchange=message.exchange, routing_key=message.routing_key)
    else:
        place["queue"] = message.routing_key or message.queue
    return {name: value for name, value in place.items() if value is not None}


def _raise(error: BaseException) -> None:
    """Raise it; what is being handled is shown as its cause."""
    current = sys.exc_info()[1]
    if current is None or current is error:
        raise error
    raise error from current
