"""An app's connections, and what messages are made with."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from umbel.app.configured import Configured
from umbel.app.connections import Connections
from umbel.message.ids import new_id
from umbel.plugins.manager import Plugins
from umbel.results.failure import ExceptionTypes
from umbel.routing.table import RouteTable
from umbel.serialization.registry import Serializers
from umbel.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from umbel.results.waiter import Waiter
    from umbel.spec import Broker, Queue, ResultBackend, Router, Serializer


class Connected(Configured):
    """An app that reaches a broker and a result store.

    Each process has connections of its own, made when the first is asked for; the settings are those of that moment.
    """

    def __init__(self, changes: Mapping[str, Any]) -> None:
        super().__init__(changes)
        self._processes: dict[int, Connections] = {}
        self._routes: tuple[int, RouteTable] | None = None
        self._oids = threading.local()
        self._pid = os.getpid()
        self.on_after_fork = Signal(name="app.on_after_fork")
        """Sent in a forked process, before it first connects."""

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks, by name."""
        raise NotImplementedError

    @property
    def broker(self) -> Broker:
        """The broker, with all that it lacks added; of this process."""
        return self._connections().broker

    @property
    def backend(self) -> ResultBackend | None:
        """The result store, of this process; None where results are disabled."""
        return self._connections().backend

    @property
    def waiter(self) -> Waiter:
        """Who waits for results on behalf of all threads of this process."""
        return self._connections().waiter

    @cached_property
    def plugins(self) -> Plugins:
        """The brokers, stores, serializers and routers that are installed."""
        return Plugins()

    @cached_property
    def serializers(self) -> Serializers:
        """The serializers; those that settings name are loaded when they are needed."""
        return Serializers(self._serializers)

    @cached_property
    def exception_types(self) -> ExceptionTypes:
        """The classes that errors of tasks are rebuilt as: Python's, the library's, and those registered here."""
        return ExceptionTypes()

    @property
    def routes(self) -> RouteTable:
        """Where calls go."""
        known, revision = self._routes, self.conf.revision
        if known is None or known[0] != revision:
            table = RouteTable(self.conf, router=self._router, tasks=self.tasks)
            known = self._routes = (self.conf.revision, table)
        return known[1]

    def queue_names(self) -> list[str]:
        """The queues of the settings: those that a worker consumes which is not told otherwise."""
        return [queue.name for queue in self.routes.declarations()]

    def declare(self, queues: Iterable[str] | None = None) -> Sequence[Queue]:
        """Create these queues, or those of the settings, where they do not exist; as they were declared."""
        declarations = self.routes.declarations(queues)
        self.broker.declare(declarations)
        return declarations

    @cached_property
    def oid(self) -> str:
        """An id of this app in this process."""
        return new_id()

    @property
    def thread_oid(self) -> str:
        """An id of this thread, by which replies reach it."""
        oids = self._oids
        try:
            oid: str = oids.oid
        except AttributeError:
            oid = oids.oid = new_id()
        return oid

    def close(self) -> None:
        """Close the connections of this process; the next use opens others. Twice is fine."""
        connections = self._processes.pop(os.getpid(), None)
        if connections is not None:
            connections.close()

    def _connections(self) -> Connections:
        # Those of a parent process stay in here too: to drop them would close them, in a process that must not.
        pid = os.getpid()
        return self._processes.get(pid) or self._connect(pid)

    def _connect(self, pid: int) -> Connections:
        made = Connections(self.conf, self.home, self.plugins, self._declarations)
        found = self._processes.setdefault(pid, made)  # another thread may have been quicker
        if found is made and pid != self._pid:
            self._pid = pid
            self.on_after_fork.send(sender=self)
        return found

    def _declarations(self, names: Iterable[str]) -> list[Queue]:
        return self.routes.declarations(names)

    def _serializers(self, names: Sequence[str]) -> list[Serializer]:
        return self.plugins.serializers(names)

    def _router(self, name: str) -> Router:
        return self.plugins.router(name, dict(self.conf.items()))
