"""The page of memory that says what each child is running, and that outlives the child."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any, Literal

from umbel.message.ids import MAX_ID

_ID = MAX_ID + 1
"""Bytes set aside for an id."""
_NUMBERS = 4
"""Arrays of eight bytes per task: deadline, limit, attempt, generation."""
EARLY = 1
"""Acknowledged before it ran: nobody delivers it again. (True means the same.)"""
FAILS_IF_LOST = 2
"""`reject_on_worker_lost=False`: it has failed if its child dies, and is not run again."""
AGAIN_IF_OVERDUE = 4
"""`acks_on_timeout=False`: it runs again after its hard time limit, and has not failed."""
_NUMBERED = 128
"""The numbers of the entry were written, because they are not the usual ones."""


@dataclass(slots=True, kw_only=True)
class Started:
    """One task that a child has begun and not ended."""

    id: str
    deadline: float = 0.0
    """On `clock.boot_time`, when its child has to be killed; 0: never."""
    policy: int = 0
    """EARLY, FAILS_IF_LOST and AGAIN_IF_OVERDUE, added up."""
    limit: float = 0.0
    """The hard time limit behind the deadline, seconds."""
    attempt: int = 1
    generation: int = 0


class Slot:
    """One child's part of the page. The child writes, any process reads; each index is written by one thread.

    A write that a SIGKILL cuts short leaves no entry: the length of the id is cleared first and written last.
    """

    __slots__ = ("_attempts", "_count", "_deadlines", "_flags", "_generations", "_ids", "_lengths", "_limits")

    def __init__(self, view: memoryview, tasks: int) -> None:
        def numbers(place: int, kind: Literal["d", "Q"]) -> Any:
            return view[8 + 8 * tasks * place : 8 + 8 * tasks * (place + 1)].cast(kind)

        self._count = view[:8].cast("Q")
        self._deadlines = numbers(0, "d")
        self._limits = numbers(1, "d")
        self._attempts = numbers(2, "Q")
        self._generations = numbers(3, "Q")
        rest = view[8 + 8 * tasks * _NUMBERS :]
        self._lengths = rest[:tasks]
        self._flags = rest[tasks : 2 * tasks]
        self._ids = rest[2 * tasks : (2 + _ID) * tasks]

    def begin(
        self,
        index: int,
        id: str,
        deadline: float = 0.0,
        policy: int = 0,
        limit: float = 0.0,
        attempt: int = 1,
        generation: int = 0,
    ) -> None:
        """The task at this position has started; see `Started`. ValueError for an id of more than MAX_ID bytes."""
        try:
            name = id.encode()
        except UnicodeEncodeError:
            name = id.encode("utf-8", "surrogatepass")
        length = len(name)
        if length > MAX_ID:
            raise ValueError(f"an id of {length} bytes; at most {MAX_ID} are possible")
        self._lengths[index] = 0
        start = index * _ID
        self._ids[start : start + length] = name
        if deadline or attempt != 1 or generation:
            self._deadlines[index] = deadline
            self._limits[index] = limit
            self._attempts[index] = attempt
            self._generations[index] = generation
            self._flags[index] = _NUMBERED | policy
        else:
            self._flags[index] = policy
        self._lengths[index] = length

    def end(self, index: int) -> None:
        """The task at this position has ended, however it did."""
        self._lengths[index] = 0

    def count(self) -> None:
        """One more task is done with. Of two threads that say so at the same moment, one may be overlooked."""
        self._count[0] += 1

    def started(self) -> list[Started]:
        """What has begun and not ended. Of a child that still runs, an entry may be over when it is returned."""
        return [self._entry(index, length) for index, length in enumerate(bytes(self._lengths)) if length]

    def _entry(self, index: int, length: int) -> Started:
        start = index * _ID
        flags = self._flags[index]
        id = bytes(self._ids[start : start + length]).decode("utf-8", "surrogatepass")
        entry = Started(id=id, policy=flags & ~_NUMBERED)
        if flags & _NUMBERED:
            entry.deadline = self._deadlines[index]
            entry.limit = self._limits[index]
            entry.attempt = self._attempts[index]
            entry.generation = self._generations[index]
        return entry

    def next_deadline(self) -> float | None:
        """The earliest deadline of what is running; None if there is none."""
        if not bytes(self._lengths).strip(b"\0"):
            return None
        entries = zip(self._lengths, self._flags, self._deadlines, strict=True)
        return min((due for length, flags, due in entries if length and flags & _NUMBERED and due), default=None)

    @property
    def processed(self) -> int:
        """Tasks done with since the slot was cleared."""
        return int(self._count[0])

    def clear(self) -> None:
        """Make the slot ready for another child."""
        self._lengths[:] = bytes(len(self._lengths))
        self._count[0] = 0


class Page:
    """Memory shared by a supervisor and the processes that it forks afterwards."""

    def __init__(self, children: int, tasks: int) -> None:
        size = 8 + tasks * (8 * _NUMBERS + 2 + _ID)
        stride = -(-size // 64) * 64  # children do not share a cache line
        memory = memoryview(mmap.mmap(-1, max(children * stride, 1)))
        self._slots = [Slot(memory[stride * index : stride * index + size], tasks) for index in range(children)]

    def slot(self, index: int) -> Slot:
        """The part of the child of this number, from 0."""
        return self._slots[index]
