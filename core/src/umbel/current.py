"""Which app and which running task the present code belongs to, and what lower layers may ask of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from umbel.message.call import Call
    from umbel.message.context import Context
    from umbel.results.waiter import Waiter
    from umbel.serialization.registry import Serializers
    from umbel.spec import Broker, Message, ResultBackend


class AppLike(Protocol):
    """What results, canvas, tasks and worker need of the app; they hold one and never import it."""

    main: str | None
    conf: Any
    """Settings, by attribute."""

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The registered tasks, by name."""

    @property
    def serializers(self) -> Serializers: ...

    @property
    def broker(self) -> Broker:
        """The completed broker, of this process."""

    @property
    def backend(self) -> ResultBackend | None:
        """The result store, of this process; None where results are disabled."""

    @property
    def waiter(self) -> Waiter:
        """Who waits for results on behalf of all threads of this process."""

    @property
    def thread_oid(self) -> str:
        """The id of this thread as a receiver of replies."""

    def encode(self, calls: Sequence[Call]) -> list[Message]:
        """Route and serialize; the errors of bad calls come from here."""

    def send(self, calls: Sequence[Call]) -> None:
        """Encode and publish in one round trip; OperationalError when the broker did not take them."""


current_app: ContextVar[AppLike | None] = ContextVar("umbel_app", default=None)
current_request: ContextVar[Context | None] = ContextVar("umbel_request", default=None)
"""The request of the task that is running here; each links to the one that it interrupted (`outer`)."""

_default: list[AppLike] = []
"""The app of threads that have set none, as Celery's API demands: the one piece of module state beside the two above."""


def set_default_app(app: AppLike) -> None:
    """Make it the app of every thread that has set none."""
    _default[:] = [app]


def get_app() -> AppLike | None:
    """The app set in this context, else the default one, else None."""
    return current_app.get() or (_default[0] if _default else None)
