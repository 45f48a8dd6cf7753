"""Names of workers: unique among those of one user on one host."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from umbel.exceptions import DuplicateNodenameWarning, ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":  # names are not guarded there
    import fcntl

DEFAULT_NAME = "celery"
"""The part before the @ where none is given, as Celery's."""
MOST = 1000
"""Suffixes tried for a default name."""
LONGEST_FILE = 200
"""Bytes of a lock file's name; a longer one is hashed."""


@dataclass(slots=True)
class NodeName:
    """A name that no other worker of this user has here, until it is closed or the process ends."""

    name: str
    _lock: int | None = None

    def close(self) -> None:
        """Give the name up. Twice is fine. In a forked process: let go of it, and its parent keeps it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class _TakenError(Exception):
    """Another process has the name."""


def resolve_name(given: str | None = None, *, hostname: str | None = None) -> NodeName:
    """The name of a worker, expanded and taken.

    None is ``celery@%h``; if that is taken, a suffix is added and DuplicateNodenameWarning says so. A name that was
    asked for, and is taken, raises ImproperlyConfigured.
    """
    wanted = expand(given or "%h", hostname)
    if given:
        try:
            return _take(wanted)
        except _TakenError as exc:
            raise ImproperlyConfigured(
                f"the worker name {wanted} is taken by {exc}: give this worker another one with -n, for example "
                f"-n {next(_suffixed(wanted))}"
            ) from None
    try:
        return _take(wanted)
    except _TakenError as exc:
        holder = str(exc)
    for name in _suffixed(wanted):
        with contextlib.suppress(_TakenError):
            taken = _take(name)
            warnings.warn(
                f"{wanted} is taken by {holder}: this worker is called {name}. Choose its name with -n.",
                DuplicateNodenameWarning,
                stacklevel=2,
            )
            return taken
    raise ImproperlyConfigured(f"{MOST} workers are called {wanted} with a number: give this one a name with -n")


def expand(pattern: str, hostname: str | None = None) -> str:
    """Replace %h (host and domain), %n (host), %d (domain) and %%; a bare word is the part after ``celery@``."""
    full = hostname or socket.gethostname()
    host, _, domain = full.partition(".")
    values = {"h": full, "n": host, "d": domain, "%": "%"}
    text, rest = "", pattern
    while "%" in rest:
        before, _, rest = rest.partition("%")
        if rest[:1] not in values:
            raise ImproperlyConfigured(f"worker name {pattern!r}: %{rest[:1]} is not one of %h, %n, %d, %%")
        text += before + values[rest[:1]]
        rest = rest[1:]
    text += rest
    if not text.strip() or text.endswith("@"):
        raise ImproperlyConfigured(f"worker name {pattern!r} gives {text!r}: a host name is missing")
    return text if "@" in text else f"{DEFAULT_NAME}@{text}"


def runtime_directory() -> Path:
    """A directory of this user's own for what lives as long as a process; created if need be."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        path = Path(base, "umbel")
    else:
        path = Path(tempfile.gettempdir(), f"umbel-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{path} is not a directory of this user's own")
    return path


def _suffixed(name: str) -> Iterator[str]:
    base, _, host = name.partition("@")
    return (f"{base}-{number}@{host}" for number in range(2, MOST + 2))


def _take(name: str) -> NodeName:
    if sys.platform == "win32":
        return NodeName(name)
    file = quote(name, safe="@")
    if len(file) > LONGEST_FILE:
        file = hashlib.sha256(name.encode()).hexdigest()
    try:
        path = runtime_directory() / f"{file}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        warnings.warn(f"nobody sees to it that {name} is unique: {exc}", DuplicateNodenameWarning, stacklevel=3)
        return NodeName(name)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 100, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise _TakenError(f"process {holder}" if holder else "another process") from None
    # The file stays when the name is given up: deleting it could take it from under the next holder.
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return NodeName(name, lock)
