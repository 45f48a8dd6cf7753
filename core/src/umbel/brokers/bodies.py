"""Where bodies lie that are too large for a broker: a small interface, and the one kind that is built in."""

from __future__ import annotations

import os
import re
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import _ScandirIterator as ScandirIterator

_NAME = re.compile(r"[0-9a-f]{32}")
_SUFFIX = ".body"
_TEMPORARY = ".part"
SAME = 0.001
"""Seconds by which two moments may differ that are the same: file systems round."""
STALE_PART = 3600.0
"""Seconds after which a file that was never finished is taken for the leftover of a crash."""


class BodyStore(ABC):
    """Keeps bodies under names that it makes up itself. Thread-safe; every process of the app reaches the same."""

    @abstractmethod
    def put(self, bodies: Sequence[bytes], keep_until: Sequence[float]) -> list[str]:
        """The bodies' names, once all of them survive a crash. OSError: none is kept.

        `keep_until` is for `sweep`: the Unix time from which on nobody will ask for the body, as far as can be told.
        """

    @abstractmethod
    def get(self, name: str) -> bytes:
        """The body. LookupError: there is none, and will be none; OSError: it is safe to try again."""

    @abstractmethod
    def delete(self, names: Sequence[str]) -> None:
        """Delete these; unknown ones are skipped."""

    @abstractmethod
    def keep(self, names: Sequence[str], until: float, *, instead_of: float | None = None) -> None:
        """Another `keep_until` for these; unknown ones are skipped, and those whose own is not `instead_of`."""

    @abstractmethod
    def sweep(self, now: float, limit: int) -> int:
        """Look at up to `limit` bodies, going on where the last sweep stopped; how many were outdated and deleted."""

    def close(self) -> None:
        """Free what is held. Twice is fine."""


class DirectoryStore(BodyStore):
    """One file a body in one directory. A file's modification time is the moment until which it is kept."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._lock = threading.Lock()
        self._entries: ScandirIterator[str] | None = None
        """How far the sweep has come."""

    def put(self, bodies: Sequence[bytes], keep_until: Sequence[float]) -> list[str]:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = [os.urandom(16).hex() for _ in bodies]
        parts: list[Path] = []
        try:
            for name, body, until in zip(names, bodies, keep_until, strict=True):
                part = self.directory / (name + _TEMPORARY)
                parts.append(part)
                self._write(part, body, until)
            for name, part in zip(names, parts, strict=True):
                part.replace(self._path(name))
            self._flush_directory()
        except OSError:
            for part in parts:
                part.unlink(missing_ok=True)
            self.delete(names)
            raise
        return names

    def _write(self, part: Path, body: bytes, until: float) -> None:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.utime(descriptor, (until, until))
            os.fsync(descriptor)

    def _flush_directory(self) -> None:
        # A file's name survives a crash only once its directory has been written, too.
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        # Names come from messages, hence from anybody: nothing but what `put` makes up is ever part of a path.
        if not _NAME.fullmatch(name):
            raise LookupError(f"{name!r} is not the name of an offloaded body")
        return self.directory / (name + _SUFFIX)

    def get(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError as error:
            if not self.directory.is_dir():
                raise OSError(f"the directory of offloaded bodies is not there: {self.directory}") from error
            raise LookupError(f"there is no offloaded body {name}") from error

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def keep(self, names: Sequence[str], until: float, *, instead_of: float | None = None) -> None:
        for name in names:
            path = self._path(name)
            try:
                if instead_of is None or abs(path.stat().st_mtime - instead_of) < SAME:
                    os.utime(path, (until, until))
            except FileNotFoundError:
                continue

    def sweep(self, now: float, limit: int) -> int:
        deleted = 0
        with self._lock:
            if self._entries is None:
                try:
                    self._entries = os.scandir(self.directory)
                except FileNotFoundError:
                    return 0
            for _ in range(limit):
                entry = next(self._entries, None)
                if entry is None:
                    self._entries = None
                    break
                try:
                    if self._is_outdated(entry, now):
                        os.unlink(entry.path)
                        deleted += 1
                except FileNotFoundError:
                    continue
        return deleted

    def _is_outdated(self, entry: os.DirEntry[str], now: float) -> bool:
        stem, dot, suffix = entry.name.partition(".")
        if not _NAME.fullmatch(stem):
            return False
        status = entry.stat(follow_symlinks=False)
        if dot + suffix == _SUFFIX:
            return status.st_mtime < now
        return dot + suffix == _TEMPORARY and status.st_ctime < now - STALE_PART

    def close(self) -> None:
        with self._lock:
            if self._entries is not None:
                self._entries.close()
                self._entries = None


def body_store(url: str) -> BodyStore:
    """The store that a URL or a plain path names."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ImproperlyConfigured(
                f"task_offload_url: {url!r} names a host; a path has three slashes: file:///path"
            )
        path = unquote(parts.path)
    elif parts.scheme and "://" in url:
        raise ImproperlyConfigured(
            f"task_offload_url: {parts.scheme}:// is not known; give a directory or file:///path"
        )
    else:
        path = url
    if not path:
        raise ImproperlyConfigured("task_offload_url: the path is empty")
    return DirectoryStore(Path(path).absolute())
