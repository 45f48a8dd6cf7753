"""Which servers the tests can use, and what became of each in this run.

A server is one `Server` in SERVERS; a test that needs it is marked `@pytest.mark.needs_server("its name")`. It is
skipped, with the reason, where the machine has none; it fails instead if UMBEL_REQUIRE_SERVERS names it or says "all".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that some tests need."""

    name: str
    missing: Callable[[], str | None]
    """Why this machine cannot run it, or None if it can. Called at most once a run."""


SERVERS: tuple[Server, ...] = ()
"""None yet: all of the core runs on memory and SQLite."""


@dataclass(slots=True)
class Choice:
    """The servers that this run uses, does without, and may not do without."""

    servers: Sequence[Server]
    asked: frozenset[str]
    """Those that `--servers` allows."""
    required: frozenset[str]
    """Those that UMBEL_REQUIRE_SERVERS names."""
    ran: dict[str, int] = field(default_factory=dict)
    """How many tests ran against each."""
    reasons: dict[str, str | None] = field(default_factory=dict)

    def why_not(self, name: str) -> str | None:
        """Why tests cannot use the server, or None if they can. KeyError: there is no such server."""
        if name not in self.reasons:
            server = {server.name: server for server in self.servers}[name]
            self.reasons[name] = server.missing() if name in self.asked else "left out by --servers"
        return self.reasons[name]

    def missing(self) -> list[str]:
        """Servers that are required, and cannot be used."""
        return [server.name for server in self.servers if server.name in self.required and self.why_not(server.name)]

    def report(self) -> list[str]:
        """A line for each server: run, or not and why."""
        if not self.servers:
            return ["none is needed: everything so far runs on memory and SQLite"]
        lines = []
        for server in self.servers:
            reason = self.why_not(server.name)
            must = " (and is required)" if reason and server.name in self.required else ""
            count = self.ran.get(server.name, 0)
            lines.append(f"{server.name}: not run{must}: {reason}" if reason else f"{server.name}: {count} tests ran")
        return lines


def choose(servers: Sequence[Server], option: str, environ: Mapping[str, str]) -> Choice:
    """What `--servers` and UMBEL_REQUIRE_SERVERS ask for. ValueError: they name a server that does not exist."""
    names = [server.name for server in servers]
    return Choice(
        servers,
        _names(option, names, "--servers"),
        _names(environ.get("UMBEL_REQUIRE_SERVERS", "none"), names, "UMBEL_REQUIRE_SERVERS"),
    )


def _names(text: str, known: Sequence[str], source: str) -> frozenset[str]:
    if text == "all":
        return frozenset(known)
    asked = {word.strip() for word in text.split(",")} - {"", "none"}
    unknown = sorted(asked - set(known))
    if unknown:
        there_are = ", ".join(known) or "no servers yet"
        raise ValueError(f"{source} names {', '.join(unknown)}; there are: {there_are} (or all, none)")
    return frozenset(asked)
