"""How a broker or a result store reaches its file: its own options, clock and errors over a session that is shared."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from umbel.brokers.sqlite.commits import After, Work
from umbel.brokers.sqlite.faults import StorageError
from umbel.brokers.sqlite.host import boot_id
from umbel.brokers.sqlite.session import Session
from umbel.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Collection

    from umbel.brokers.sqlite.host import Host
    from umbel.brokers.sqlite.location import Location
    from umbel.clock import Clock


SWEEP = 64
"""Results stored between two looks for expired ones."""


class Database:
    """One file. A forked process gets a session of its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._sessions: dict[int, Session] = {}

    def session(self) -> Session:
        """This process's session."""
        pid = os.getpid()
        session = self._sessions.get(pid)
        if session is None:
            for inherited in self._sessions.values():
                inherited.connections.disown()
            # Not under a lock, which a fork may have left locked for good; making a spare one costs nothing.
            session = self._sessions.setdefault(pid, Session(self.path))
        return session

    def frozen(self) -> Session | None:
        """This process's session, ready for a fork, if it has one."""
        session = self._sessions.get(os.getpid())
        if session is not None:
            session.connections.freeze()
        return session


class Registry:
    """The databases in use, so that all of one path share connections, locks and transactions."""

    def __init__(self) -> None:
        self._databases: WeakValueDictionary[str, Database] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._frozen: list[Session] = []
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
        )

    def database(self, path: str) -> Database:
        """The database of an absolute path."""
        with self._lock:
            database = self._databases.get(path)
            if database is None:
                database = self._databases[path] = Database(path)
            return database

    def _before_fork(self) -> None:
        self._lock.acquire()
        sessions = [database.frozen() for database in self._databases.values()]
        self._frozen = [session for session in sessions if session is not None]

    def _after_fork(self) -> None:
        for session in self._frozen:
            session.connections.thaw()
        self._frozen = []
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._frozen = []
        self._lock = threading.Lock()


_registry = Registry()


class Access:
    """One broker's or store's way to its database."""

    def __init__(
        self,
        location: Location,
        clock: Clock | None,
        raises: Callable[[StorageError], Exception],
        boot: str | None = None,
    ) -> None:
        self.location = location
        self.clock: Clock = clock or SystemClock()
        self.boot = boot_id() if boot is None else boot
        self.database = _registry.database(location.path)
        self._raises = raises
        self._joined: Session | None = None
        self._closed = False
        self._stored = 0

    @property
    def session(self) -> Session:
        """The open session of this process."""
        session = self.database.session()
        if session is not self._joined:
            if self._closed:
                raise self._raises(StorageError(f"{self.location.path}: is closed here", fatal=True))
            session.join(self, self.location)
            self._joined = session
        return session

    @property
    def host(self) -> Host:
        """The other processes on this database."""
        try:
            return self.session.host
        except StorageError as exc:
            raise self._raises(exc) from exc

    def read(self, work: Work, timeout: float | None = None) -> Any:
        """What `work` returns, given a connection to read with."""
        try:
            return self.session.read(work, self.location.timeout if timeout is None else timeout)
        except StorageError as exc:
            raise self._raises(exc) from exc

    def write(
        self,
        work: Work,
        *,
        durable: bool = True,
        timeout: float | None = None,
        weight: int = 0,
        after: After | None = None,
    ) -> Any:
        """What `work` returns, once it is committed; on disk, if `durable` and the file is not used in the fast way."""
        location = self.location
        try:
            return self.session.write(
                work,
                durable=durable and not location.fast,
                timeout=location.timeout if timeout is None else timeout,
                weight=weight,
                after=after,
            )
        except StorageError as exc:
            raise self._raises(exc) from exc

    def ring(self, kind: int, names: Collection[int] | None, count: int) -> None:
        """Wake up to `count` that wait for one of the names."""
        self.host.board.ring(kind, names, count)

    def spare(self, stored: int) -> int:
        """How many expired results to delete along with storing some: more than come, but not every time."""
        self._stored += stored
        if self._stored < SWEEP:
            return 0
        due, self._stored = 2 * self._stored, 0
        return due

    def error(self, fault: StorageError) -> Exception:
        """The fault as an error of our broker or result store."""
        return self._raises(fault)

    @property
    def closed(self) -> bool:
        """Whether `close` was called in this process."""
        return self._closed

    def close(self) -> None:
        """Leave the session; the last one out closes the file. Twice is fine."""
        self._closed = True
        joined, self._joined = self._joined, None
        if joined is not None and joined is self.database.session():
            joined.leave(self)
