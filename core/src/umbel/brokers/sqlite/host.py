"""What the processes of one host share beside the database: a lock for whoever is alive, and bells for whoever waits.

All of it lies in the folder ``<file>-run``. `owners` is locked, a byte for each owner, by the process that it lives in:
the kernel drops such a lock when the process dies, however it dies, and containers that share the folder see it. A
process that closes any descriptor of a file loses all its locks on it, so each process opens it once.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable

from umbel.brokers.sqlite.bells import Board, open_as
from umbel.brokers.sqlite.faults import StorageError

BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Host:
    """This process's view of the others on the same database."""

    def __init__(self, path: str, owners: Iterable[int] = ()) -> None:
        self.folder = f"{path}-run"
        self.mine: set[int] = set()
        """Owners that live in this process. Their locks cannot be probed from here: a process never bars itself."""
        self._lock_file = os.path.join(self.folder, "owners")
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
            # Whoever may use the database may use this: read permission becomes permission to enter.
            if not os.path.isdir(self.folder):
                os.makedirs(self.folder, exist_ok=True)
                os.chmod(self.folder, mode | (mode & 0o444) >> 2)
            self._locks = open_as(self._lock_file, mode)
            self.board = Board(self.folder, mode)
            found = os.fstat(self._locks)
        except OSError as exc:
            raise StorageError(
                f"{self.folder}: cannot be used ({exc.strerror}); the processes that share the queue need to write"
                f" there, make it writable or remove it",
                fatal=not isinstance(exc, FileNotFoundError),
            ) from exc
        self._identity = (found.st_dev, found.st_ino)
        for owner in owners:
            self.hold(owner)

    def in_place(self) -> bool:
        """Whether the folder is still the one that others see."""
        try:
            found = os.stat(self._lock_file)
        except OSError:
            return False
        return self._identity == (found.st_dev, found.st_ino)

    def hold(self, owner: int) -> bool:
        """Show that the owner lives in this process, until it ends or lets go; False if another says so already."""
        if not self._lock(owner):
            return False
        self.mine.add(owner)
        return True

    def let_go(self, owner: int) -> None:
        """The owner is no longer alive."""
        self.mine.discard(owner)
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, owner)

    def is_dead(self, owner: int) -> bool:
        """Whether no process holds the owner."""
        if owner in self.mine or not self._lock(owner):
            return False
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, owner)
        return True

    def _lock(self, owner: int) -> bool:
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def close(self) -> None:
        """Let go of everything."""
        self.mine.clear()
        os.close(self._locks)


def boot_id() -> str:
    """Which boot of the machine this is; empty where nobody can tell, and then only locks show who is alive."""
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
