"""From a signature to the calls that have to be published now, and the handle of their result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umbel.canvas.compiling import Compiler
from umbel.canvas.nodes import Fork, Gather, Node, Seq, Step, attach, innermost, prepend
from umbel.canvas.wire import wire
from umbel.message.call import Call
from umbel.message.ids import derived_id, new_id
from umbel.results.group import GroupResult
from umbel.results.result import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from umbel.results.applike import AppLike
    from umbel.results.base import ResultBase


@dataclass(slots=True)
class Plan:
    """What to publish, in one go, and what to return to the caller."""

    calls: list[Call]
    result: Any
    """An AsyncResult or a GroupResult; None for an empty chain."""
    given: list[str]
    """The ids in it that were there before: they may have been used before, too."""


class Derived:
    """Makes the ids of one task's children: the same ones each time that task is run again."""

    __slots__ = ("_kind", "_made", "_parent")

    def __init__(self, parent: str, kind: str) -> None:
        self._parent = parent
        self._kind = kind
        self._made = 0

    def __call__(self) -> str:
        self._made += 1
        return derived_id(self._parent, self._kind, self._made - 1)


def plan(
    sig: Mapping[str, Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    app: AppLike,
    ids: Callable[[], str] = new_id,
    **options: Any,
) -> Plan:
    """The calls of any signature that can go out now; what follows them travels inside them, frozen.

    `args` and `kwargs` go before the first task's own, or every first one's of a group. Options are those of
    `apply_async`; `task_id` is the last task's, or the group's. Nothing is sent, and nothing that is given is changed.
    NotImplementedError for a chord where the result store cannot join.
    """
    compiler = compiler_of(app, ids)
    seq = compiler.compile(sig)
    if not seq:
        return Plan([], None, [])
    if args or kwargs:
        prepend(seq[0], tuple(args), dict(kwargs or ()))
    root_id, parent_id = options.pop("root_id", None), options.pop("parent_id", None)
    if options:
        compiler.apply(seq, options)
    result = handle(seq, app)
    if isinstance(seq[0], Fork) and len(result) == 1 and isinstance(result[0], GroupResult):
        result = result[0]  # as in Celery: the handle of a group of nothing but a chain that ends in a group
    emitter = _Emitter(app, root_id, parent_id)
    emitter.emit(seq)
    return Plan(emitter.calls, result, compiler.given)


def compiler_of(app: AppLike, ids: Callable[[], str]) -> Compiler:
    """A compiler with the app's settings."""
    return Compiler(ids, header_errors=bool(getattr(app.conf, "task_allow_error_cb_on_chord_header", False)))


def handle(seq: Seq, app: AppLike, parent: ResultBase | None = None) -> Any:
    """The handle of a list's value, with those of the nodes before it as its parents."""
    for node in seq:
        parent = _handle(node, app, parent)
    return parent


def _handle(node: Node, app: AppLike, parent: ResultBase | None) -> ResultBase:
    if isinstance(node, Step):
        result: AsyncResult[Any] = AsyncResult(node.id, app=app, parent=parent)
        ignored = node.options.get("ignore_result") if node.options else None
        if ignored is None:
            ignored = getattr(app.tasks.get(node.task), "ignore_result", None)
        if ignored:
            result.ignored = True
        return result
    group = GroupResult(node.id, [handle(member, app) for member in node.members], parent=parent, app=app)
    if isinstance(node, Gather):
        return _handle(node.body, app, group)
    return group


class _Emitter:
    def __init__(self, app: AppLike, root_id: str | None, parent_id: str | None) -> None:
        self.calls: list[Call] = []
        self._app = app
        self._root_id = root_id
        self._parent_id = parent_id
        self._reply_to: str | None = getattr(app, "thread_oid", None)

    def emit(self, seq: Seq) -> None:
        """The calls of the first node, with the others inside them."""
        head = seq[0]
        if len(seq) > 1:
            end, first = innermost(seq[-1]), innermost(head)
            assert isinstance(first, Step)
            follows: list[Any] = []
            if isinstance(end, Step) and end.chain:
                follows, end.chain = end.chain, None
            behind = [wire(node, self._reply_to) for node in reversed(seq[1:])]
            first.chain = [*follows, *behind, *(first.chain or ())]
            for node in seq[1:]:
                self._check(node)
        self._emit(head)

    def _emit(self, node: Node) -> None:
        if isinstance(node, Step):
            self.calls.append(self._call(node))
        elif isinstance(node, Fork):
            for index, member in enumerate(node.members):
                attach(member, node.id, index, None)
                self.emit(member)
        else:
            self._check(node)
            if not node.members:
                prepend(node.body, ([],), {})
                self._emit(node.body)
                return
            chord = wire(node.body, self._reply_to)
            chord["options"]["chord_size"] = len(node.members)
            for index, member in enumerate(node.members):
                attach(member, node.id, index, chord)
                self.emit(member)

    def _call(self, step: Step) -> Call:
        return Call(
            task=step.task,
            id=step.id,
            args=step.args,
            kwargs=step.kwargs,
            options=step.options,
            retries=step.retries,
            root_id=step.root_id or self._root_id or step.id,
            parent_id=step.parent_id or self._parent_id,
            group_id=step.group,
            group_index=step.index,
            callbacks=step.links,
            errbacks=step.errors,
            chain=step.chain or None,
            chord=step.chord,
            replaced_task_nesting=step.nesting,
        )

    def _check(self, node: Node) -> None:
        """Refuse at the call what could never be joined, rather than leave it waiting."""
        if isinstance(node, Gather) and node.members:
            ensure_joins(self._app)


def ensure_joins(app: AppLike) -> None:
    """NotImplementedError, naming the setting, unless the result store can join the members of chords."""
    backend = app.backend
    if backend is None:
        raise NotImplementedError(
            "a chord (or a group in a chain with something behind it) needs a result store to join its members: "
            "set result_backend"
        )
    if not backend.joins:
        raise NotImplementedError(
            f"the result store ({type(backend).__name__}) cannot join the members of a chord: set result_backend to "
            "one that can, for example sqlite:// or redis://"
        )
