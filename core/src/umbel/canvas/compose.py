"""What `|` makes of two signatures, and `chain(...)` of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.canvas.compiling import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def compose(left: Any, right: Any) -> Any:
    """Run `right` with the value of `left`. The left one is copied, the right one is used as it is."""
    return _joined(left.clone(), right)


def compose_all(sigs: Sequence[Any], empty: Any) -> Any:
    """The same from the left to the right, beginning with an empty chain. All but the last one are copied."""
    result = empty
    for sig in sigs[:-1]:
        result = _joined(result, sig.clone())
    return _joined(result, sigs[-1]) if sigs else result


def _joined(left: Any, right: Any) -> Any:
    kind = kind_of(left)
    if kind == "group":
        return left if _is_empty(right) else _chord(left, right)
    if kind == "chord":
        return _after_chord(left, right)
    if kind == "chain":
        return _after_chain(left, right)
    right = _only_member(right)
    return _chain(left, [left, *(right.tasks if kind_of(right) == "chain" else [right])])


def _after_chord(left: Any, right: Any) -> Any:
    right = _only_member(right)
    kind = kind_of(right)
    if kind == "chain":
        return _chain(left, [left, *right.tasks])
    if kind == "group":
        return _chain(left, [left, right])
    return _behind_body(left, right)


def _after_chain(left: Any, right: Any) -> Any:
    tasks = left.tasks
    if not tasks:
        return right if kind_of(right) is not None else _chain(left, [right])
    right = _only_member(right)
    kind = kind_of(right)
    if kind == "chain":
        for task in right.tasks:
            left = _after_chain(left, task)
        return left
    last = tasks[-1]
    last_kind = kind_of(last)
    if _is_empty(right):
        pass  # an empty group passes for nothing behind a chain
    elif _is_empty(last):
        tasks[-1] = right
    elif last_kind == "group" and kind != "group":
        tasks[-1] = _chord(last, right)
    elif last_kind == "chord" and kind != "chord":
        tasks[-1] = _behind_body(last, right)
    else:
        tasks.append(right)
    return left


def _behind_body(chord: Any, right: Any) -> Any:
    chord.body = right if chord.body is None else chord.body | right
    return chord


def _only_member(sig: Any) -> Any:
    """A group of one is that one; anything else is itself."""
    return sig.tasks[0] if kind_of(sig) == "group" and len(sig.tasks) == 1 else sig


def _is_empty(sig: Any) -> bool:
    return kind_of(sig) in ("group", "chain") and not sig.tasks


def _chain(left: Any, tasks: list[Any]) -> Any:
    return left.TYPES["chain"].of(tasks, app=left._app)


def _chord(header: Any, body: Any) -> Any:
    return header.TYPES["chord"](header, body, app=header._app)
