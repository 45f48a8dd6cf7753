"""The broker, the result store and the waiter of one process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from umbel.app.home import default_url
from umbel.exceptions import ImproperlyConfigured
from umbel.results.reading import DISABLED as NO_RESULTS
from umbel.results.waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from umbel.app.conf import Conf
    from umbel.plugins.manager import Plugins
    from umbel.spec import Broker, Message, Queue, ResultBackend

SAME_FILE = ("sqlite", "memory")
"""Schemes of brokers that are result stores too, and are taken as such where no store is named."""
DISABLED = ("disabled", "disabled://")
"""Words for no result store."""
ELSEWHERE = ("broker_read_url", "broker_write_url")
OLD = ("broker_host", "broker_transport")
"""Settings that say where messages go, the last two only without a URL. Ignored, messages would go astray."""
PASSED_ON = {
    "broker_connection_timeout": "connect_timeout",
    "broker_heartbeat": "heartbeat",
    "broker_login_method": "login_method",
    "broker_use_ssl": "ssl",
}
"""Settings that a transport gets among its options, where they are given, by what they are called there."""


def broker_url(conf: Conf, home: str) -> str:
    """Where messages go; ImproperlyConfigured where the settings say more than can be done."""
    url = conf.broker_url
    for name in ELSEWHERE if url else (*ELSEWHERE, *OLD):
        if conf[name] and conf[name] != url:
            raise ImproperlyConfigured(f"the setting {name!r} is not supported: say broker_url")
    if not url:
        return default_url(home)
    several = [url] if isinstance(url, str) else list(url)
    several = [each.strip() for part in several for each in _split(part)]
    if len(several) > 1:
        raise ImproperlyConfigured("broker_url names several brokers; failing over is not supported yet: name one")
    return several[0]


def _split(url: str) -> list[str]:
    """The URLs of a list joined by semicolons. One without a scheme after it is part of a password."""
    parts: list[str] = []
    for part in url.split(";"):
        if parts and "://" not in part:
            parts[-1] += f";{part}"
        else:
            parts.append(part)
    return parts


def result_url(conf: Conf, home: str) -> str | None:
    """Where results go: as said, else with the messages where that can be, else nowhere (None)."""
    given = conf.result_backend
    if given:
        return None if given in DISABLED else str(given)
    url = broker_url(conf, home)
    return url if url.partition(":")[0] in SAME_FILE else None


class Connections:
    """Made when first asked for, by one thread for all. Of no use in another process than its maker's."""

    def __init__(
        self, conf: Conf, home: str, plugins: Plugins, declarations: Callable[[Iterable[str]], list[Queue]]
    ) -> None:
        self.origin = f"gen{os.getpid()}@{_node_name()}"
        """Who sends, in messages."""
        self._conf = conf
        self._home = home
        self._plugins = plugins
        self._declarations = declarations
        self._lock = threading.RLock()
        self._broker: Broker | None = None
        self._backend: ResultBackend | None = None
        self._has_backend: bool | None = None
        self._waiter: Waiter | None = None
        self._declared: set[str] = set()

    @property
    def broker(self) -> Broker:
        """The broker, with all that the core relies on."""
        if self._broker is None:
            with self._lock:
                if self._broker is None:
                    self._broker = self._make_broker()
        return self._broker

    @property
    def backend(self) -> ResultBackend | None:
        """The result store, or None."""
        if self._has_backend is None:
            with self._lock:
                if self._has_backend is None:
                    self._backend = self._make_backend()
                    self._has_backend = self._backend is not None
        return self._backend

    @property
    def waiter(self) -> Waiter:
        """Who waits for results."""
        if self._waiter is None:
            backend = self.backend
            if backend is None:
                raise NotImplementedError(NO_RESULTS)
            with self._lock:
                if self._waiter is None:
                    self._waiter = Waiter(backend)
        return self._waiter

    def declare(self, messages: Iterable[Message]) -> None:
        """Declare the queues that these go to, unless that was done before."""
        declared = self._declared
        wanted = [message.queue for message in messages if message.queue not in declared]
        if wanted:
            names = list(dict.fromkeys(wanted))
            self.broker.declare(self._declarations(names))
            declared.update(names)

    def close(self) -> None:
        """Close what there is. Twice is fine."""
        with self._lock:
            for thing in (self._waiter, self._backend, self._broker):
                if thing is not None:
                    thing.close()

    def _make_broker(self) -> Broker:
        # What only senders and workers need: a program that defines tasks starts without it.
        from umbel.brokers.complete import complete  # noqa: PLC0415

        conf, url = self._conf, broker_url(self._conf, self._home)
        if url == default_url(self._home):
            self._make_home()
        options = dict(conf.broker_transport_options)
        for name, passed in PASSED_ON.items():
            if conf.value_set_for(name):
                options.setdefault(passed, conf[name])
        store = self._plugins.broker(conf.delay_store, {}) if conf.delay_store else None
        return complete(self._plugins.broker(url, options), delay_store=store, offload=conf.task_offload_url)

    def _make_backend(self) -> ResultBackend | None:
        conf = self._conf
        url = result_url(conf, self._home)
        if url is None:
            return None
        if url == default_url(self._home):
            self._make_home()
        options: dict[str, Any] = {**conf.result_backend_transport_options, "broker_url": broker_url(conf, self._home)}
        return self._plugins.backend(url, options)

    def _make_home(self) -> None:
        try:
            os.makedirs(self._home, exist_ok=True)
        except OSError as exc:
            raise ImproperlyConfigured(
                f"the queue's folder {self._home} cannot be made: {exc.strerror}; set UMBEL_HOME to another, "
                "or broker_url to where messages go"
            ) from exc


def _node_name() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "localhost")
