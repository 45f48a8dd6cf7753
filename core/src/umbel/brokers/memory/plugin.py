"""memory:// and memory://NAME: all that name one NAME in one process share a hub, and nothing outside sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from umbel.backends.memory import MemoryBackend
from umbel.brokers.memory.broker import MemoryBroker
from umbel.brokers.memory.hub import Hub
from umbel.spec import Broker, ResultBackend
from umbel.spec.hooks import hookimpl

UMBEL_SPEC = 1


class MemoryPlugin:
    """The hubs of this process, by name."""

    def __init__(self) -> None:
        self._hubs: dict[str, Hub] = {}
        self._pid = os.getpid()

    def hub(self, name: str) -> Hub:
        if self._pid != os.getpid():
            # A forked process begins anew: what it inherited is a copy that nobody else reads.
            self._hubs, self._pid = {}, os.getpid()
        return self._hubs.setdefault(name, Hub())

    @hookimpl
    def umbel_broker(self, url: str, options: Mapping[str, Any]) -> Broker | None:
        """A broker on the hub that the URL names; ``?lease=3`` sets the seconds that a claim lasts."""
        parsed = _parse(url)
        if parsed is None:
            return None
        name, query = parsed
        lease = query.get("lease", options.get("lease"))
        return MemoryBroker(self.hub(name), lease=None if lease is None else _seconds("lease", lease))

    @hookimpl
    def umbel_result_backend(self, url: str, options: Mapping[str, Any]) -> ResultBackend | None:
        """A result store on the hub that the URL names."""
        parsed = _parse(url)
        return None if parsed is None else MemoryBackend(self.hub(parsed[0]))


def _parse(url: str) -> tuple[str, dict[str, str]] | None:
    parts = urlsplit(url)
    if parts.scheme != "memory":
        return None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for option in query:
        if option != "lease":
            raise ValueError(f"memory:// has no option {option!r}; it has 'lease'")
    return parts.netloc + parts.path.rstrip("/"), query


def _seconds(name: str, value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"memory://: {name} must be a number of seconds above 0, not {value!r}")
    return seconds


_plugin = MemoryPlugin()
umbel_broker = _plugin.umbel_broker
umbel_result_backend = _plugin.umbel_result_backend
