"""What logs and monitors show of arguments: never an error, never longer than asked."""

from __future__ import annotations

from typing import Any

LENGTH = 1024
"""Characters, as in Celery."""
LEVELS = 3
"""Containers within each other that are shown, the outermost counted."""
_TINY = 100
"""Characters of a text that is shown without being measured first."""
_FEW = 10
"""Members of a container that is shown without its parts being measured first."""
_PLAIN = frozenset((int, float, bool, type(None)))
_BRACKETS: dict[Any, tuple[str, str]] = {
    tuple.__repr__: ("(", ")"),
    list.__repr__: ("[", "]"),
    dict.__repr__: ("{", "}"),
    set.__repr__: ("{", "}"),
    frozenset.__repr__: ("frozenset({", "})"),
}


def short_repr(value: Any, length: int = LENGTH, levels: int = LEVELS) -> str:
    """A repr of about `length` characters at most; texts are cut before they are shown, deep containers are dots."""
    if _is_tiny(value):
        try:
            text = repr(value)
        except Exception:  # noqa: BLE001 - a number of more digits than Python prints, a key of the user's own class
            text = ""
        if text and len(text) <= length and text.isascii():
            return text
    pieces: list[str] = []
    _write(value, pieces, length, levels)
    text = "".join(pieces)
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair cannot be sent
    return text.replace("\x00", "\\x00")


def _is_tiny(value: Any) -> bool:
    if not isinstance(value, (tuple, list, dict)) or len(value) > _FEW:
        return False
    for part in value.values() if isinstance(value, dict) else value:
        kind = type(part)
        if kind not in _PLAIN and (kind is not str or len(part) > _TINY):
            return False
    return True


def _write(value: Any, pieces: list[str], left: int, levels: int) -> int:
    """Append the value's repr; returns how many characters may follow."""
    shown = type(value).__repr__
    brackets = _BRACKETS.get(shown)
    if brackets is None or not value:
        text = _repr(value, left)
    elif levels <= 0:
        text = "...".join(brackets)
    else:
        return _write_container(value, brackets, pieces, left, levels)
    pieces.append(text)
    return left - len(text)


def _write_container(value: Any, brackets: tuple[str, str], pieces: list[str], left: int, levels: int) -> int:
    opening, closing = brackets
    pieces.append(opening)
    left -= len(opening) + len(closing)
    pairs = isinstance(value, dict)
    first = True
    for item in value.items() if pairs else value:
        if not first:
            pieces.append(", ")
            left -= 2
        if left <= 0:
            pieces.append("...")
            break
        if pairs:
            left = _write(item[0], pieces, left, levels - 1)
            pieces.append(": ")
            left = _write(item[1], pieces, left - 2, levels - 1)
        else:
            left = _write(item, pieces, left, levels - 1)
        first = False
    if isinstance(value, tuple) and len(value) == 1:
        pieces.append(",")
    pieces.append(closing)
    return left


def _repr(value: Any, left: int) -> str:
    left = max(left, 0)
    cut = isinstance(value, (str, bytes, bytearray)) and len(value) > left
    try:
        text = repr(value[:left] if cut else value)
    except Exception as exc:  # noqa: BLE001 - the argument's own method, and only for show
        return f"<unrepresentable {type(value).__name__}: {type(exc).__name__}>"
    return f"{text[: left + 2]}..." if cut or len(text) > left + 3 else text
