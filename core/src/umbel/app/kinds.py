"""What the value of a setting may be: how it is checked, and how that is said to whoever got it wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from math import isfinite
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of value."""

    expects: str
    """What it must be, to be read after "must be"."""
    take: Callable[[Any], Any]
    """The value as it is kept; TypeError or ValueError for any other."""


def _boolean(value: Any) -> bool:
    if isinstance(value, bool) or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise TypeError


def _whole(lowest: int) -> Callable[[Any], int]:
    def take(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError
        if value < lowest:
            raise ValueError
        return value

    return take


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if not isfinite(value) or value < 0:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise TypeError
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return names


def _modules(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else _names(value)


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError
    return value


def _any(value: Any) -> Any:
    return value


def one_of(*words: Any) -> Kind:
    """One of these."""

    def take(value: Any) -> Any:
        if value not in words:
            raise ValueError
        return value

    return Kind(f"one of {', '.join(map(repr, words))}", take)


def _rate(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, (int, float)):
        if not isfinite(value) or value < 0:
            raise ValueError
        return value
    number, _, unit = _text(value).partition("/")
    if not isfinite(float(number)) or float(number) < 0 or unit.strip() not in ("", "s", "m", "h"):
        raise ValueError
    return value


def _concurrency(value: Any) -> Any:
    return value if value == "auto" else _whole(1)(value)


def _urls(value: Any) -> Any:
    return value if isinstance(value, str) else _names(value)


def _expires(value: Any) -> Any:
    return None if value == 0 and not isinstance(value, bool) else _seconds(value)


def _delivery_mode(value: Any) -> Any:
    modes = {"persistent": 2, "transient": 1, 1: 1, 2: 2}
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value not in modes:
        raise ValueError
    return modes[value]


BOOLEAN = Kind("True or False", _boolean)
COUNT = Kind("a whole number, 0 or more", _whole(0))
POSITIVE = Kind("a whole number, 1 or more", _whole(1))
SECONDS = Kind("a number of seconds, 0 or more, or a timedelta", _seconds)
TEXT = Kind("text", _text)
NAMES = Kind("a list of text", _names)
MODULES = Kind("a list of names of modules", _modules)
MAPPING = Kind("a dictionary", _mapping)
ANYTHING = Kind("anything", _any)
RATE = Kind("a number per second, or text such as '10/s', '100/m' or '5/h'", _rate)
CONCURRENCY = Kind("a whole number, 1 or more, or 'auto'", _concurrency)
URLS = Kind("a URL, or a list of them", _urls)
EXPIRES = Kind("a number of seconds or a timedelta; None or 0 for never", _expires)
DELIVERY_MODE = Kind("2 (persistent) or 1 (transient)", _delivery_mode)
