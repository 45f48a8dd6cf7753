"""The options of a task: which there are, and whether what is given can be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SENT = (
    "queue", "exchange", "exchange_type", "routing_key", "priority", "expires", "serializer", "compression",
    "delivery_mode", "mandatory", "immediate",
)  # fmt: skip
"""Options that are defaults of a call's."""
KNOWN = frozenset(
    """
    typing max_retries default_retry_delay autoretry_for dont_autoretry_for retry_kwargs retry_backoff
    retry_backoff_max retry_jitter rate_limit time_limit soft_time_limit ignore_result store_errors_even_if_ignored
    store_eager_result track_started trail send_events acks_late acks_on_failure_or_timeout acks_on_failure
    acks_on_timeout reject_on_worker_lost retry_on_worker_lost throws shadow_name resultrepr_maxsize
    before_start on_success on_failure on_retry after_return
    """.split()
) | frozenset(SENT)  # fmt: skip
"""Options that tasks have. A base class may have more: whatever it has as an attribute."""
LATER = {
    "backend": "a result store per task",
    "pydantic": "validation by pydantic",
    "pydantic_strict": "validation by pydantic",
    "pydantic_context": "validation by pydantic",
    "pydantic_dump_kwargs": "validation by pydantic",
    "Strategy": "a worker strategy per task",
    "Request": "a request class per task",
}
"""Options of Celery's that are still to come; given as False or None they are accepted."""
NEAR = 0.6


def check_options(options: Mapping[str, Any], base: type) -> None:
    """TypeError for an option that neither tasks nor this base class have, with the name that was meant."""
    for name, value in options.items():
        if name in LATER:
            if value not in (False, None):
                raise NotImplementedError(f"the task option {name!r} ({LATER[name]}) is not supported yet")
        elif name not in KNOWN and not hasattr(base, name):
            import difflib  # noqa: PLC0415 - only for a name that is wrong

            known = [*KNOWN, "name", "base", "bind", "shared", "lazy", "filter"]
            near = difflib.get_close_matches(name, known, 1, NEAR)
            raise TypeError(f"no task option is named {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
