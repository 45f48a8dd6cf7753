"""Handing messages to the broker, as often as the policy says, and telling what was not taken."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from umbel.exceptions import BrokerError, Fatal, OperationalError, PublishError, Unsupported
from umbel.plugins.urls import mask_text
from umbel.spec import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.app.connections import Connections
    from umbel.message.call import Call
    from umbel.spec import Message

HOPELESS = (Fatal, Unsupported)
"""Errors that another try would not mend."""
KEYS = frozenset(("max_retries", "interval_start", "interval_step", "interval_max", "retry_errors"))


class Policy(NamedTuple):
    """How often to try, and the pauses."""

    max_retries: float = 0
    """Infinite for no end."""
    interval_start: float = 0.0
    """Seconds, as the next two."""
    interval_step: float = 0.2
    interval_max: float = 1.0

    def pause(self, retries: int) -> float:
        """Seconds to wait after so many tries again."""
        return min(self.interval_max, self.interval_start + self.interval_step * retries)


def policy_of(conf: Any, options: Mapping[str, Any]) -> Policy:
    """What a call's options `retry` and `retry_policy` say, else the settings."""
    wanted = options.get("retry")
    if not (conf.task_publish_retry if wanted is None else wanted):
        return Policy()
    policy = {**conf.task_publish_retry_policy, **(options.get("retry_policy") or {})}
    wrong = sorted(map(str, policy.keys() - KEYS))
    if wrong:
        raise TypeError(f"retry_policy has no {', '.join(wrong)}; it has {', '.join(sorted(KEYS))}")
    policy.pop("retry_errors", None)
    limit = policy.get("max_retries", 3)
    return Policy(**{**policy, "max_retries": float("inf") if limit is None else limit})


def publish(connections: Connections, messages: Sequence[Message], policy: Policy) -> list[Failure]:
    """What the broker has not taken in the end, and why; empty if it has all. The same ids are sent in each try."""
    given_up: list[Failure] = []
    left = messages
    retries = 0
    while True:
        try:
            connections.declare(left)
            connections.broker.publish(left)
            return given_up
        except PublishError as exc:
            failures = list(exc.failures)
        except BrokerError as exc:
            failures = [Failure(message, exc, certain=False) for message in left]
        given_up += [failure for failure in failures if isinstance(failure.error, HOPELESS)]
        again = [failure for failure in failures if not isinstance(failure.error, HOPELESS)]
        if not again or retries >= policy.max_retries:
            return given_up + again
        left = [failure.message for failure in again]
        time.sleep(policy.pause(retries))
        retries += 1


def error_of(failures: Sequence[Failure], total: int, url: str) -> Exception:
    """The error that tells the caller, with the broker's own as its cause."""
    first = failures[0].error
    if all(isinstance(failure.error, Unsupported) for failure in failures):
        return first
    cause = first if len(failures) == 1 else PublishError(failures)
    many = "the message was" if total == 1 else f"{len(failures)} of {total} messages were"
    unknown = "" if all(failure.certain for failure in failures) else " (or it is not known whether it has)"
    error = OperationalError(f"{many} not taken by the broker{unknown}: {mask_text(str(first), url)}")
    error.__cause__ = cause
    return error


def body_of(call: Call) -> tuple[Any, Any, Mapping[str, Any]]:
    """A message's body before it was serialized, for signals."""
    embed = {"callbacks": call.callbacks, "errbacks": call.errbacks, "chain": call.chain, "chord": call.chord}
    return call.args, call.kwargs, embed
