"""What happened, as whoever did it wrote it down: one JSON object a line, one write an event."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":"), default=repr).encode
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def now() -> float:
    """Seconds since boot, the same in every process of the machine, whatever is done to the wall clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def boot_id() -> str:
    """What tells this boot from the next one; empty where the machine does not say."""
    try:
        return _BOOT_ID.read_text().strip()[:8]
    except OSError:
        return ""


@dataclass(slots=True)
class Event:
    """One line of a history."""

    kind: str
    id: str = ""
    at: float = 0.0
    pid: int = 0
    boot: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """A field of this kind of event."""
        return self.data.get(name, default)


@dataclass(slots=True)
class Log:
    """A history that has been read, in the order of time."""

    events: list[Event] = field(default_factory=list)
    torn: int = 0
    """Lines that cannot be read: their writers were killed while writing."""

    def of(self, kind: str) -> list[Event]:
        """All events of a kind."""
        return [event for event in self.events if event.kind == kind]


class History:
    """Appends events to a file; every process of a run has its own, on the same path."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._fd: int | None = None
        self._boot = boot_id()

    def write(self, kind: str, id: str = "", /, **data: Any) -> float:
        """Append one event; returns its time. One write with O_APPEND: lines of many processes do not mix."""
        if self._fd is None:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        at = now()
        line = _encode({"at": at, "pid": os.getpid(), "boot": self._boot, "event": kind, "id": id, **data})
        # A kill may cut a write at the end of a page. The line feed in front keeps the next event off the stump.
        os.write(self._fd, b"\n" + line.encode() + b"\n")
        return at

    def close(self) -> None:
        """Close the file; a later event opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Tail:
    """Reads a history while it is being written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.torn = 0
        self._offset = 0

    def read(self) -> list[Event]:
        """The events since the last call, in the order of the file."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        events = []
        for line in whole.split(b"\n"):
            if not line.strip():
                continue
            event = _parse(line)
            if event is None:
                self.torn += 1
            else:
                events.append(event)
        return events


def read(path: str | Path) -> Log:
    """A whole history, sorted by time; what cannot be read is counted."""
    tail = Tail(path)
    events = tail.read()
    with Path(path).open("rb") as file:
        file.seek(tail._offset)
        rest = file.read()
    return Log(sorted(events, key=lambda event: event.at), tail.torn + bool(rest.strip()))


def _parse(line: bytes) -> Event | None:
    try:
        data = json.loads(line)
        return Event(data.pop("event"), data.pop("id"), data.pop("at"), data.pop("pid"), data.pop("boot"), data)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
