"""The handle of a group of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.results.base import ResultBase, result_from_tuple
from umbel.results.codec import encode_value
from umbel.results.reading import accepted, app_of, backend_of
from umbel.results.resultset import ResultSet
from umbel.spec import Result
from umbel.states import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from umbel.results.applike import AppLike
    from umbel.spec import ResultBackend

SAVED = "celery-taskset-meta-"
"""What the ids of saved groups begin with: Celery's own key, under which a store that follows its layout keeps them."""

__all__ = ["SAVED", "GroupResult", "ResultSet"]


class GroupResult(ResultSet, kind="group"):
    """The handle of a group: its id, and its members' handles."""

    __slots__ = ("id",)

    def __init__(
        self,
        id: str | None = None,
        results: Iterable[Any] | None = None,
        parent: ResultBase | None = None,
        app: AppLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(results or (), app=app)
        self.id = id
        self.parent = parent

    @property
    def children(self) -> list[Any]:
        """The members' handles."""
        return self.results

    def as_tuple(self) -> tuple[Any, ...]:
        return (self.id, self.parent and self.parent.as_tuple()), [result.as_tuple() for result in self.results]

    def save(self, backend: ResultBackend | None = None) -> None:
        """Keep the handle itself in the store, for `restore` in any process."""
        app = self.app
        store = backend or backend_of(app)
        body, content_type = encode_value(app.serializers, {"result": self.as_tuple()}, app.conf.result_serializer)
        row = Result(id=f"{SAVED}{self.id}", state=SUCCESS, body=body, content_type=content_type, terminal=True)
        store.forget([row.id])  # the first final state would stay, and the group may have grown since
        store.store([row], ttl=app.conf.result_expires)

    def delete(self, backend: ResultBackend | None = None) -> None:
        """Undo `save`."""
        (backend or self.backend).forget([f"{SAVED}{self.id}"])

    @classmethod
    def restore(cls, id: str, backend: ResultBackend | None = None, app: AppLike | None = None) -> GroupResult | None:
        """The handle that was saved under this id; None if there is none."""
        found_app = app_of(app)
        row = (backend or backend_of(found_app)).fetch([f"{SAVED}{id}"]).get(f"{SAVED}{id}")
        if row is None:
            return None
        data = found_app.serializers.loads(row.body, row.content_type, "utf-8", accepted(found_app))
        restored: GroupResult = result_from_tuple(data["result"], found_app)
        return restored

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (other.id, other.results, other.parent) == (self.id, self.results, self.parent)
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:  # type: ignore[override]  # unlike a set of results, a group has an id
        return hash(self.id)

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(str(result.id) for result in self.results)}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, self.results, self.parent)
