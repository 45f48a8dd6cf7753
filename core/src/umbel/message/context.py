"""`task.request`: what a running task can know of its own call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from umbel.spec import Delivery

HEADERS = frozenset(
    (
        "lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr kwargsrepr "
        "origin ignore_result replaced_task_nesting stamped_headers stamps compression umbel_generation umbel_resent"
    ).split()
)
"""The headers of a task message; every other header is the user's own."""


class Context:
    """The fields of one call. Attributes that the message does not bring have the defaults below."""

    task: str | None = None
    id: str | None = None
    args: Any = None
    kwargs: Any = None
    lang: str = "py"
    shadow: str | None = None
    eta: str | None = None
    expires: str | None = None
    group: str | None = None
    group_index: int | None = None
    retries: int = 0
    timelimit: Any = None
    """[hard, soft], seconds or None each."""
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool = False
    replaced_task_nesting: int = 0
    stamped_headers: list[str] | None = None
    stamps: Mapping[str, Any] | None = None
    compression: str | None = None
    umbel_generation: int = 0
    umbel_resent: bool = False
    callbacks: list[Any] | None = None
    errbacks: list[Any] | None = None
    chain: list[Any] | None = None
    chord: Any = None
    headers: Mapping[str, Any] | None = None
    """The headers that are not the protocol's own."""
    delivery: Delivery | None = None
    """What it came in; None where it did not come from a broker."""
    called_directly: bool = True
    is_eager: bool = False
    hostname: str | None = None
    """The name of the worker."""
    logfile: str | None = None
    loglevel: int | None = None
    utc: bool = True
    outer: Context | None = None
    """The request that this one interrupted: a task called directly inside another."""
    _task: Any = None
    """The task that is running."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set fields from a mapping, keywords, or both."""
        self.__dict__.update(*args, **kwargs)

    def clear(self) -> None:
        """Back to the defaults."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """A field, or the default where there is none of that name."""
        return getattr(self, key, default)

    def __repr__(self) -> str:
        return f"<Context: {vars(self)!r}>"

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    @property
    def children(self) -> list[Any]:
        """The results of the tasks that this one has sent; made when first asked for."""
        children: list[Any] | None = self.__dict__.get("_children")
        if children is None:
            children = self.__dict__["_children"] = []
        return children

    @property
    def time_limit(self) -> float | None:
        """The hard limit that the caller gave, seconds."""
        return self.timelimit[0] if self.timelimit else None

    @property
    def soft_time_limit(self) -> float | None:
        """The soft limit that the caller gave, seconds."""
        return self.timelimit[1] if self.timelimit else None

    @property
    def reply_to(self) -> str | None:
        """Where an RPC result goes."""
        return self.delivery.message.reply_to if self.delivery else None

    @property
    def correlation_id(self) -> str | None:
        """The id that a reply carries: the task's own."""
        return (self.delivery.message.correlation_id if self.delivery else None) or self.id

    @property
    def delivery_info(self) -> dict[str, Any]:
        """exchange, routing_key, priority and whether it was delivered before; empty outside a worker."""
        if self.delivery is None:
            return {}
        message = self.delivery.message
        return {
            "exchange": message.exchange,
            "routing_key": message.routing_key or message.queue,
            "priority": message.priority,
            "redelivered": self.delivery.attempt > 1,
        }
