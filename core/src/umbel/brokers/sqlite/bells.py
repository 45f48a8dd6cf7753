"""Bells between the processes of a host: a waiting one costs nothing, and whoever commits wakes just those it must.

Each waiter has a FIFO and a slot on the board, a file that all of them have mapped. It says WAITING there, *then* looks
into the database, then sleeps on its FIFO. Who commits looks at the board after the commit. So either the waiter sees
the commit, or the committer sees the waiter: no wake-up is lost. A slot that was rung is marked, so that the next
committer rings somebody else.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
import threading
from collections.abc import Collection, Iterable
from zlib import crc32

SLOTS = 1024
"""Consumers, watchers and subscriptions on one file, all processes together."""
ENTRY = struct.Struct("<QBBxx13I")
"""Owner, kind, how many names, and the names' checksums."""
NAMES, NUMBER = 13, 9
"""How many names fit, and the offset of their number."""
EVERY = 255
"""As the number of names: any name."""
COUNTER = SLOTS + SLOTS * ENTRY.size
SIZE = COUNTER + 8

BUSY, WAITING, RUNG = 1, 2, 3
"""States of a slot; 0: nobody's."""
CONSUMER, WATCHER, SUBSCRIBER = 1, 2, 3
"""Kinds of waiters."""


def marks(names: Iterable[str]) -> frozenset[int]:
    """What stands on the board for the names. Two names may have one mark: then a bell rings once too often."""
    return frozenset(crc32(name.encode("utf-8", "surrogatepass")) for name in names)


def open_as(path: str, mode: int) -> int:
    """A descriptor of the file, which is made with this mode whatever the umask."""
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.fchmod(file, mode)
        return file


class Board:
    """The board of one database, as this process has it mapped."""

    def __init__(self, folder: str, mode: int) -> None:
        self._folder = folder
        self._mode = mode
        file = open_as(os.path.join(folder, "board"), mode)
        try:
            if os.fstat(file).st_size < SIZE:
                os.ftruncate(file, SIZE)
            self._map = mmap.mmap(file, SIZE)
        finally:
            os.close(file)

    @property
    def log_pages(self) -> int:
        """About how many pages the database's log has grown since the last checkpoint. For whoever may write to it."""
        return int.from_bytes(self._map[COUNTER:SIZE], "little")

    @log_pages.setter
    def log_pages(self, pages: int) -> None:
        self._map[COUNTER:SIZE] = pages.to_bytes(8, "little")

    def hang(self, owner: int, slot: int, kind: int) -> Bell:
        """A bell for a new owner, whose slot nobody else has."""
        path = self._path(owner)
        os.mkfifo(path)
        os.chmod(path, self._mode)
        # For writing as well: without a writer, a FIFO is always readable.
        file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._write(slot, owner, kind, None)
        self._map[slot] = BUSY
        return Bell(self, owner, slot, kind, file)

    def take_down(self, owner: int, slot: int) -> None:
        """Free the slot of an owner that is gone. Nobody may be hanging a bell there at the same time."""
        if self._entry(slot)[0] == owner:
            self._map[slot] = 0
        try:
            os.unlink(self._path(owner))
        except FileNotFoundError:
            pass

    def sweep(self, owners: Collection[int]) -> None:
        """Remove the FIFOs of owners that are not among these."""
        for name in os.listdir(self._folder):
            prefix, _, owner = name.partition("-")
            if prefix == "bell" and owner.isdigit() and int(owner) not in owners:
                os.unlink(os.path.join(self._folder, name))

    def ring(self, kind: int, names: Collection[int] | None = None, count: int = SLOTS) -> None:
        """Wake up to `count` that wait for one of these names; None: whatever they wait for."""
        states = self._map[:SLOTS]
        slot = states.find(WAITING)
        while slot >= 0 and count > 0:
            if self._concerns(slot, kind, names):
                self._map[slot] = RUNG
                count -= self._strike(self._entry(slot)[0])
            slot = states.find(WAITING, slot + 1)

    def waiting(self) -> bool:
        """Whether anybody waits for anything."""
        return self._map.find(bytes((WAITING,)), 0, SLOTS) >= 0

    def present(self, kind: int, names: Collection[int]) -> bool:
        """Whether anybody of the kind, waiting or not, is interested in one of these names."""
        states = self._map[:SLOTS]
        return any(state and self._concerns(slot, kind, names) for slot, state in enumerate(states.rstrip(b"\0")))

    def _concerns(self, slot: int, kind: int, names: Collection[int] | None) -> bool:
        _, its_kind, number, *own = self._entry(slot)
        return its_kind == kind and (number == EVERY or names is None or any(name in names for name in own[:number]))

    def _entry(self, slot: int) -> tuple[int, ...]:
        return ENTRY.unpack_from(self._map, SLOTS + slot * ENTRY.size)

    def _write(self, slot: int, owner: int, kind: int, names: Collection[int] | None) -> None:
        """Others read this at any moment: until the names are complete, it says that any name will do."""
        start = SLOTS + slot * ENTRY.size
        precise = names is not None and len(names) <= NAMES
        listed = (*names, *(0,) * (NAMES - len(names))) if names is not None and precise else (0,) * NAMES
        ENTRY.pack_into(self._map, start, owner, kind, EVERY, *listed)
        if names is not None and precise:
            self._map[start + NUMBER] = len(names)

    def _strike(self, owner: int) -> bool:
        try:
            file = os.open(self._path(owner), os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            # Its process is dead; its owner is reaped soon.
            return False
        try:
            os.write(file, b"\0")
        except BlockingIOError:
            pass  # full of rings that it has not heard yet
        except BrokenPipeError:
            return False
        finally:
            os.close(file)
        return True

    def _path(self, owner: int) -> str:
        return os.path.join(self._folder, f"bell-{owner}")


class Bell:
    """What one waiter sleeps on. `ring` is for any thread, the rest for the waiter's own."""

    def __init__(self, board: Board, owner: int, slot: int, kind: int, file: int) -> None:
        self.owner = owner
        self.slot = slot
        self.board = board
        self._kind = kind
        self._file = file
        self._open = True
        self._lock = threading.Lock()
        """Held to ring, and to close: the descriptor may be somebody else's file afterwards."""
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)

    def listen(self, names: Collection[int]) -> None:
        """What to be woken for; many names become any name."""
        self.board._write(self.slot, self.owner, self._kind, names)

    def arm(self) -> None:
        """From now on, whoever commits rings. Look into the database after this, and before `wait`."""
        self.board._map[self.slot] = WAITING

    def wait(self, timeout: float) -> None:
        """Sleep until it rings, or for `timeout` seconds."""
        self._poll.poll(max(timeout, 0.0) * 1000)

    def disarm(self) -> None:
        """Nobody needs to ring; what has rung is forgotten."""
        self.board._map[self.slot] = BUSY
        if not self._open:
            return
        try:
            while len(os.read(self._file, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def ring(self) -> None:
        """Wake this waiter."""
        with self._lock:
            if self._open:
                try:
                    os.write(self._file, b"\0")
                except BlockingIOError:
                    pass  # full of rings: it wakes anyway

    def close(self) -> None:
        """Nobody waits here any more. The slot and the FIFO are freed by `Board.take_down`."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._file)
