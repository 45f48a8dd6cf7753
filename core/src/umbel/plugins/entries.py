"""Who claims which name, by the entry points of what is installed; nothing is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umbel.exceptions import PluginError
from umbel.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

TRANSPORTS = "umbel"
"""The group of brokers and result stores, named by the URL's scheme."""
SERIALIZERS = "umbel.serializers"
ROUTERS = "umbel.routers"
GROUPS = (TRANSPORTS, SERIALIZERS, ROUTERS)

# Looking through all that is installed takes 30 ms, most of it to import importlib.metadata: our own need not be found.
BUILT_IN = {
    TRANSPORTS: {"memory": "umbel.brokers.memory.plugin", "sqlite": "umbel.brokers.sqlite.plugin"},
    SERIALIZERS: dict.fromkeys(("json", "pickle", "yaml", "msgpack"), "umbel.serialization.builtin"),
    ROUTERS: {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One entry point: a distribution says that a name is its own."""

    group: str
    name: str
    value: str
    """The module that it names, maybe with an attribute after a colon."""
    distribution: str
    version: str
    plugin: Any = None
    """Given by the program itself, rather than found."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.value})"


class Entries:
    """The claims of one process, looked up once."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], Claim] = {}
        self._found: dict[str, list[Claim]] | None = None

    def give(self, claim: Claim) -> None:
        """Make the program's own plugin known, before any that is installed."""
        self._given[claim.group, claim.name] = claim

    def find(self, group: str, name: str) -> Claim | None:
        """Who claims the name; PluginError if two distributions do."""
        given = self._given.get((group, name))
        if given is not None:
            return given
        if self._found is None and name in BUILT_IN[group]:
            return _built_in(group, name)
        claims = self.claims(group, name)
        if len(claims) > 1:
            raise PluginError(conflict(claims))
        return claims[0] if claims else None

    def claims(self, group: str, name: str | None = None) -> list[Claim]:
        """All claims of a group, or those of one name, the program's own first; looks through what is installed."""
        if self._found is None:
            self._found = _scan()
        given = [claim for claim in self._given.values() if claim.group == group]
        return [claim for claim in (*given, *self._found[group]) if name is None or claim.name == name]

    def names(self, group: str) -> list[str]:
        """What is claimed in a group."""
        return sorted({claim.name for claim in self.claims(group)})


def conflict(claims: Sequence[Claim]) -> str:
    """What is wrong with several claims of one name."""
    return f"{claims[0].name!r} is claimed by {' and by '.join(map(str, claims))}: uninstall all but one of them"


def _built_in(group: str, name: str) -> Claim:
    return Claim(group=group, name=name, value=BUILT_IN[group][name], distribution="umbel", version=__version__)


def _scan() -> dict[str, list[Claim]]:
    from importlib.metadata import distributions  # noqa: PLC0415 - 27 ms, and most programs need none of it

    found: dict[str, dict[tuple[str, str], Claim]] = {group: {} for group in GROUPS}
    for group in GROUPS:
        for name in BUILT_IN[group]:
            found[group][name, "umbel"] = _built_in(group, name)
    for distribution in distributions():
        owner = ""
        for entry in distribution.entry_points:
            if entry.group in found:
                # What cannot say its name is known by where it is; the first on sys.path is the one that is imported.
                owner = owner or distribution.metadata["Name"] or str(getattr(distribution, "_path", "?"))
                claim = Claim(
                    group=entry.group,
                    name=entry.name.lower() if entry.group == TRANSPORTS else entry.name,
                    value=entry.value,
                    distribution=owner,
                    version=distribution.version or "?",
                )
                found[entry.group].setdefault((claim.name, owner.lower().replace("_", "-")), claim)
    return {group: list(claims.values()) for group, claims in found.items()}
