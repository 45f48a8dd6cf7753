"""What follows from the end of a task. Worked out again after a crash it comes to the same, so nothing happens twice.

Every id is in the task's message already, or derived from its own. A chord is complete when the *set* of its members
is: each leaves its value once, under its index. Whoever finds the set complete claims it under that index, so that
of late duplicates only that same member's sends the body again, under the body's one id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas.barrier import CLAIM, claim_name, failure_frame, read_all, value_frame
from umbel.canvas.compiling import kind_of
from umbel.canvas.errbacks import call_errbacks
from umbel.canvas.failing import Failing
from umbel.canvas.following import Join, Steps, id_of, join_of, marked
from umbel.canvas.plan import Derived, plan
from umbel.canvas.sending import add_child
from umbel.exceptions import ChordError
from umbel.results.reading import value_of
from umbel.spec import Arrival
from umbel.states import FAILURE, REVOKED, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from umbel.message.context import Context
    from umbel.results.applike import AppLike
    from umbel.spec import Result

BARRIERS = "umbel_barriers"
"""The header of a chord's body that names the barriers to be forgotten once it is done."""

__all__ = [
    "BARRIERS",
    "Join",
    "Steps",
    "concerns",
    "from_stored",
    "is_complete",
    "on_failure",
    "on_joined",
    "on_success",
]


def concerns(request: Context) -> bool:
    """Whether anything follows from the end of this task; else there is no need to ask further."""
    return (
        request.callbacks is not None
        or request.errbacks is not None
        or request.chain is not None
        or request.chord is not None
        or (request.headers is not None and BARRIERS in request.headers)
    )


def on_success(app: AppLike, request: Context, value: Any, encoded: tuple[bytes, str] | None = None) -> Steps:
    """What follows from a value: callbacks, the chain's next step, the chord's member.

    What is sent is noted among the request's children: encode those afterwards. `encoded` saves a chord's member
    from encoding the value again.
    """
    steps = Steps(forget=_useless(request))
    parent = request.id or ""
    for index, callback in enumerate(request.callbacks or ()):
        _child(app, steps, request, callback, value, Derived(parent, f"callback{index}"))
    if request.chain:
        *rest, following = request.chain
        _child(app, steps, request, following, value, Derived(parent, "chain"), chain=rest or None)
    if request.chord is not None:
        frame = value_frame(app, value, encoded)
        steps.joins.append(join_of(request, request.chord, request.group, request.group_index, request.id, frame))
    return steps


def on_failure(
    app: AppLike,
    request: Context,
    exc: BaseException,
    state: str,
    traceback: str | None,
    *,
    in_place: bool = True,
) -> Steps:
    """What follows from a failure: errbacks, the same failure of the rest of the chain, the chord's failed member.

    Errbacks that take three arguments are called at once. None is called for a revoked task, as in Celery.
    """
    steps = Steps(forget=_useless(request))
    if request.errbacks and state != REVOKED:
        steps.calls.extend(marked(call_errbacks(app, request, exc, traceback, in_place=in_place), request))
    if request.chain:
        failing = Failing(app, steps, request, exc, state, traceback)
        for sig in reversed(request.chain):
            failing.fail(sig)
    if request.chord is not None:
        frame = failure_frame(app, exc, request.id or "")
        steps.joins.append(join_of(request, request.chord, request.group, request.group_index, request.id, frame))
    return steps


def from_stored(app: AppLike, request: Context, result: Result) -> Steps:
    """The same once more, for a task whose end an earlier delivery of it has stored."""
    value = value_of(app, result)
    if result.state == SUCCESS:
        return on_success(app, request, value, (result.body, result.content_type) if result.body else None)
    # Errbacks that are called in place have been, before the failure was stored.
    return on_failure(app, request, value, result.state, result.meta.get("traceback"), in_place=False)


def is_complete(join: Join, size: int) -> bool:
    """Whether a barrier of this size has all its members."""
    if join.gathered is not None:
        return True
    wanted = _size(join.chord)
    return wanted is not None and size >= wanted


def on_joined(app: AppLike, join: Join, values: dict[str, bytes], error: BaseException | None = None) -> Steps:
    """What follows from a complete barrier: first a claim, then, for whoever made it first, the body or its failure.

    `values` is what was gathered at the join's own barrier. `error` says why the body could not be sent.
    """
    steps = Steps()
    if error is not None:
        _fail_body(app, steps, join, ChordError(f"Callback error: {error!r}"), error)
        return steps
    gathered = join.gathered
    if gathered is None:
        wanted = _size(join.chord) or 0
        if len(values) < wanted:
            return steps  # forgotten meanwhile: the body is done
        if wanted > 1:
            steps.joins.append(_claim(join, values))
            return steps
        gathered = values
    elif values.get(CLAIM) != join.arrival.value:
        return steps  # another member's arrival completed it, and its delivery stands for the body
    try:
        members = read_all(app, gathered)
    except Exception as exc:  # noqa: BLE001 - whatever is wrong with a member's value, the body must not be stuck
        _fail_body(app, steps, join, ChordError(f"Join error: {exc!r}"), exc)
        return steps
    failed = next((member for member in members if not member.ok), None)
    if failed is not None:
        broken = ChordError(f"Dependency {failed.task_id} raised {failed.value!r}")
        _fail_body(app, steps, join, broken, failed.value)
        return steps
    barrier = join.arrival.barrier.removesuffix(claim_name("")) if join.gathered is not None else join.arrival.barrier
    body = _noting(_body(join.chord), [barrier, claim_name(barrier)])
    ids = Derived(id_of(body) or barrier, "body")
    _child(app, steps, join.request, body, [member.value for member in members], ids, trail=False)
    for call in steps.calls:
        # A duplicate of a member can send it again, and overtake it: for a body one look at the store is worth it.
        call.resent = True
    return steps


def _claim(join: Join, values: dict[str, bytes]) -> Join:
    arrival = Arrival(barrier=claim_name(join.arrival.barrier), member=CLAIM, value=join.arrival.member.encode())
    return Join(arrival, join.chord, join.request, gathered=values)


def _noting(sig: Mapping[str, Any], barriers: Sequence[str]) -> dict[str, Any]:
    """A copy whose end, once it has come, lets these barriers be forgotten.

    A group has no end of its own, and its first member may be done before its last one is sent: there the barrier
    lives on for its time.
    """
    kind, kwargs = kind_of(sig), sig["kwargs"]
    if kind == "chord":
        return {**sig, "kwargs": {**kwargs, "body": _noting(kwargs["body"], barriers)}}
    if kind == "chain" and kwargs["tasks"]:
        first, *rest = kwargs["tasks"]
        return {**sig, "kwargs": {**kwargs, "tasks": [_noting(first, barriers), *rest]}}
    if kind is not None:
        return dict(sig)
    options = sig["options"]
    headers = options.get("headers") or {}
    noted = {**headers, BARRIERS: [*headers.get(BARRIERS, ()), *barriers]}
    return {**sig, "options": {**options, "headers": noted}}


def _useless(request: Context) -> list[str]:
    names = request.headers.get(BARRIERS) if request.headers else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _fail_body(app: AppLike, steps: Steps, join: Join, exc: BaseException, cause: BaseException) -> None:
    exc.__cause__ = cause
    body = _body(join.chord)
    # Each task of a group gets its member's own error, as in Celery.
    seen = cause if kind_of(body) == "group" else exc
    Failing(app, steps, join.request, seen, FAILURE, None).fail(body, errbacks=True)


def _child(
    app: AppLike,
    steps: Steps,
    request: Context,
    sig: Mapping[str, Any],
    value: Any,
    ids: Derived,
    *,
    trail: bool = True,
    **options: Any,
) -> None:
    if getattr(app.conf, "task_inherit_parent_priority", False):
        options["priority"] = request.delivery_info.get("priority")
    planned = plan(
        sig, (value,), app=app, ids=ids, root_id=request.root_id or request.id, parent_id=request.id, **options
    )
    steps.calls.extend(marked(planned.calls, request))
    if trail and planned.result is not None:
        add_child(request, planned.result)


def _size(chord: Mapping[str, Any]) -> int | None:
    size = (chord.get("options") or {}).get("chord_size")
    return size if isinstance(size, int) else None


def _body(chord: Mapping[str, Any]) -> dict[str, Any]:
    """The body without what concerns the barrier."""
    options = {name: value for name, value in (chord.get("options") or {}).items() if name != "chord_size"}
    return {**chord, "options": options}
