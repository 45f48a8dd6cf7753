"""What results, canvas, tasks and worker need of the app; they hold one and never import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from umbel.message.call import Call
    from umbel.results.failure import ExceptionTypes
    from umbel.results.waiter import Waiter
    from umbel.serialization.registry import Serializers
    from umbel.spec import Broker, Message, ResultBackend


class AppLike(Protocol):
    """An application, as the layers below it see it."""

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
    def exception_types(self) -> ExceptionTypes:
        """The classes that errors of tasks are rebuilt as."""

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

    def next_generations(self, ids: Sequence[str]) -> Mapping[str, int]:
        """For ids that may have been used before: 0, or larger where that has ended and a new one begins."""
