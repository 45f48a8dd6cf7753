"""The whole file that the author of a result store reads."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

POLL = 0.05
"""Seconds between two looks of a watcher whose store cannot notify."""


class BackendError(Exception):
    """The result store failed us; it is safe to try again."""


@dataclass(slots=True, kw_only=True)
class Result:
    """What is known of one task; by convention not modified once made."""

    id: str
    state: str
    body: bytes = b""
    """The encoded value, exception or progress; opaque to the store."""
    content_type: str = "application/json"
    attempt: int = 1
    """Which start of the task says so."""
    generation: int = 0
    """0, or larger where the same id was sent anew or replayed: a later generation replaces an earlier one."""
    terminal: bool = False
    """Whether the state is final: then nothing of the same generation replaces it."""
    meta: dict[str, Any] = field(default_factory=dict)
    """JSON-able: name, worker, times, traceback, children, group, parents."""


@dataclass(slots=True, kw_only=True)
class Arrival:
    """One member that has come to a barrier, with its value."""

    barrier: str
    member: str
    value: bytes


class Watcher(ABC):
    """News of results. One per process serves all its waiters; `add` and `remove` from any thread, `next` from one."""

    @abstractmethod
    def add(self, ids: Sequence[str]) -> None:
        """Watch these too; what is known of them already comes first."""

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> None:
        """Stop watching these."""

    @abstractmethod
    def next(self, timeout: float) -> Sequence[Result]:
        """What changed, as soon as there is something; or nothing after `timeout` seconds or once closed."""

    @abstractmethod
    def close(self) -> None:
        """Wake a blocked `next`. Twice is fine."""


class ResultBackend(ABC):
    """A connection to one result store. Thread-safe, connects lazily, of use in its maker's process only."""

    joins: bool = True
    """Whether `arrive` works. A store that cannot join (rpc://) says False, and a chord is refused at the call."""
    processes: bool = True
    """Whether processes other than its maker's can reach it."""

    @abstractmethod
    def store(self, results: Sequence[Result], *, ttl: float | None) -> None:
        """Replace earlier states and announce to watchers, atomically each; kept for `ttl` seconds (None: for good).

        Within a generation the first terminal state wins, and an older attempt's state is refused. A later
        generation replaces an earlier one, an earlier never a later. What is refused is dropped silently.
        """

    @abstractmethod
    def fetch(self, ids: Sequence[str]) -> dict[str, Result]:
        """What is known, in one round trip; unknown ids are left out."""

    @abstractmethod
    def forget(self, ids: Sequence[str]) -> None:
        """Delete the results, and the barriers, of these names; unknown ones are skipped."""

    @abstractmethod
    def arrive(self, arrivals: Sequence[Arrival], *, ttl: float) -> Sequence[int]:
        """Put each member with its value into the set `barrier` unless it is there; each set's size after it.

        Each atomically; a member that is there keeps its first value. Each arrival renews the barrier's ttl (seconds).
        """

    def gather(self, barrier: str) -> dict[str, bytes]:
        """The values of the members that have arrived."""
        raise BackendError(f"{type(self).__name__} cannot gather")

    def watch(self) -> Watcher:
        """News of results; the default looks every POLL seconds."""
        return _Polling(self)

    def close(self) -> None:
        """Close every connection and watcher. Twice is fine."""


class _Polling(Watcher):
    def __init__(self, backend: ResultBackend) -> None:
        self._backend = backend
        self._seen: dict[str, Result | None] = {}
        self._closed = False

    def add(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._seen.setdefault(id, None)

    def remove(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._seen.pop(id, None)

    def next(self, timeout: float) -> Sequence[Result]:
        deadline = time.monotonic() + timeout
        while not self._closed:
            watched = list(self._seen)
            news = [
                result
                for id, result in self._backend.fetch(watched).items()
                if id in self._seen and self._seen[id] != result
            ]
            for result in news:
                self._seen[result.id] = result
            left = deadline - time.monotonic()
            if news or left <= 0:
                return news
            time.sleep(min(POLL, left))
        return []

    def close(self) -> None:
        self._closed = True
