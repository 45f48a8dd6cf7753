"""What a task needs of its app, beyond what results and canvas do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from umbel.results.applike import AppLike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.message.call import Call


class Sender(AppLike, Protocol):
    """An app, as calls are made for it."""

    def next_generations(self, ids: Sequence[str]) -> dict[str, int]:
        """The generations to send ids of the caller's own choice in: after one that has ended begins the next."""

    async def asend(self, calls: Sequence[Call]) -> None:
        """Send without blocking the running loop; all that is sent in one of its turns goes out together."""


class Owner(Sender, Protocol):
    """The application that a task belongs to."""

    strict_typing: bool
    """Whether arguments are checked at the call, of tasks that do not say."""

    def finalize(self, auto: bool = False) -> None:
        """See to it that all tasks are there, with their options; RuntimeError where that was to be done by hand."""

    def reduce_task(self, name: str, module: str) -> tuple[Any, ...]:
        """How a task is pickled: as the place to find it at."""
