"""Moments in messages: Unix time inside, ISO 8601 on the wire, and a moment without a zone is UTC."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from math import isfinite
from typing import Any

LONGEST = 64
"""Characters that a moment on the wire may take."""
_seconds: tuple[int, str] = (0, "1970-01-01T00:00:00")
"""The second that was last written, for there are many messages in one."""


def to_iso(moment: float) -> str:
    """Unix time as ISO 8601 in UTC, to the microsecond, as Celery writes it."""
    global _seconds  # noqa: PLW0603 - a cache of one, replaced as a whole
    whole, micros = divmod(round(moment * 1_000_000), 1_000_000)
    second, text = _seconds
    if second != whole:
        try:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        except (OverflowError, ValueError, OSError) as exc:
            raise ValueError(f"{moment} is beyond the years that a message can name") from exc
        if len(text) != 19:  # a year before 1000 or after 9999
            raise ValueError(f"{moment} is beyond the years that a message can name")
        _seconds = (whole, text)
    return f"{text}.{micros:06d}+00:00" if micros else f"{text}+00:00"


@lru_cache(maxsize=1024)
def to_unix(text: str) -> float:
    """Unix time of a moment on the wire; ValueError if it is none."""
    if len(text) > LONGEST:
        raise ValueError(f"{text[:LONGEST]!r}... is no moment in ISO 8601")
    return from_datetime(datetime.fromisoformat(text))


def from_datetime(moment: datetime) -> float:
    """Unix time; without a zone it is UTC."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()  # noqa: UP017


def local_to_utc(text: str) -> str:
    """A moment on the wire that, without a zone, is in this machine's: as Celery before 4.0 sent it if told to."""
    return datetime.fromisoformat(text).astimezone(timezone.utc).isoformat()  # noqa: UP017


def after(seconds: Any, name: str, now: float) -> float:
    """Unix time so many seconds from now; TypeError or ValueError that names the option."""
    if type(seconds) is not int and (isinstance(seconds, bool) or not isinstance(seconds, (int, float))):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}")
    if not isfinite(seconds):
        raise ValueError(f"{name} must be finite, not {seconds}")
    return now + seconds


def at(moment: Any, name: str, now: float) -> float:
    """Unix time of a datetime, ISO 8601 text, or timedelta from now; TypeError or ValueError that names the option."""
    try:
        if isinstance(moment, datetime):
            return from_datetime(moment)
        if isinstance(moment, str):
            return to_unix(moment)
        if isinstance(moment, timedelta):
            return now + moment.total_seconds()
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{name}={moment!r} is no moment: {exc}") from exc
    raise TypeError(f"{name} must be a datetime, ISO 8601 text or a timedelta, not {type(moment).__name__}")


def written(moment: Any, unix: float) -> str:
    """The moment `unix` on the wire; a datetime keeps the zone that the caller gave it."""
    if isinstance(moment, datetime):
        return moment.isoformat() if moment.tzinfo is not None else f"{moment.isoformat()}+00:00"
    return to_iso(unix)


def expiry(expires: Any, now: float) -> float:
    """Unix time at which a task expires: `expires` as the caller gave it, a number being seconds from now."""
    if isinstance(expires, (int, float)):
        return after(expires, "expires", now)
    return at(expires, "expires", now)
