"""What a sqlite URL says: the file, and how to use it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

LEASE = 30.0
"""Seconds until what an owner holds, and does not renew, comes back."""
TIMEOUT = 10.0
"""Seconds that a call waits for a file which somebody else is writing to."""
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One database file, and the options of one broker or result store on it."""

    path: str
    """Absolute, symbolic links resolved."""
    fast: bool = False
    """Do not wait for the disk: what was confirmed survives a crash of the process, not a loss of power."""
    timeout: float = TIMEOUT
    lease: float = LEASE
    unsafe_network: bool = False
    """Use the file although it is on a network file system."""

    @classmethod
    def of(cls, path: str | os.PathLike[str], **options: Any) -> Location:
        """The location of a file, which need not exist yet."""
        return cls(path=os.path.realpath(os.fspath(path)), **options)


def parse(url: str, options: Mapping[str, Any]) -> Location | None:
    """The location that a URL names; None if it is not a sqlite URL. The URL's own options win over `options`."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        return None
    if parts.netloc or parts.fragment:
        hint = f"sqlite:///{parts.netloc}{parts.path}"
        raise ValueError(f"{url}: a file's URL has three slashes, and four if the path is absolute; try {hint}")
    path = unquote(parts.path[1:])
    if path == ":memory:":
        raise ValueError(f"{url}: nobody else could reach a database in memory; use memory:// instead")
    if not path or path.endswith("/"):
        raise ValueError(f"{url}: no file is named; try sqlite:///queue.db, or sqlite:////var/lib/proj/queue.db")
    if "\0" in path:
        raise ValueError(f"{url!r}: a file's name cannot have a NUL in it")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if name not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise ValueError(f"{url}: sqlite:// has no option {name!r}; it has {known}")
    given = {name: value for name, value in {**options, **query}.items() if name in _OPTIONS}
    return Location.of(path, **{name: _OPTIONS[name](name, value) for name, value in given.items()})


def _flag(name: str, value: object) -> bool:
    text = str(value).lower()
    if text not in TRUE + FALSE:
        raise ValueError(f"sqlite://: {name} must be 1 or 0, not {value!r}")
    return text in TRUE


def _seconds(name: str, value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"sqlite://: {name} must be a number of seconds above 0, not {value!r}")
    return seconds


_OPTIONS = {"fast": _flag, "timeout": _seconds, "lease": _seconds, "unsafe_network": _flag}
