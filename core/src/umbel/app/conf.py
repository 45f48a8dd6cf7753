"""`app.conf`: the settings in force, read when the first is asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from umbel.app.settings import TABLE, WITHOUT_EFFECT
from umbel.app.sources import checked, from_mapping, new_name, unknown
from umbel.exceptions import ImproperlyConfigured
from umbel.plugins.urls import mask

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView

ENVIRONMENT = {
    "broker_url": ("UMBEL_BROKER_URL", "CELERY_BROKER_URL"),
    "result_backend": ("UMBEL_RESULT_BACKEND", "CELERY_RESULT_BACKEND"),
}
"""Variables of the environment that win over what the program says, as in Celery; the first that is set counts."""
HIDDEN = "********"
_SECRET = ("password", "secret", "credential", "access_key", "security_key", "token", "use_ssl", "options", "settings")
_NAMES = (*TABLE, *sorted(WITHOUT_EFFECT))

Source = Callable[[], Mapping[str, Any]]


class Conf:
    """Settings as attributes or items, by their new names or Celery's old ones.

    What counts, the later more: defaults, `add_defaults`, the source (`config_from_object`), what was assigned or
    updated, the environment, `override`. A wrong name or value is refused where it is given.
    """

    def __init__(self, changes: Mapping[str, Any], on_read: Callable[[], None] = lambda: None) -> None:
        # Names with an underscore are the object's own. All others in its __dict__ are settings: quick to read.
        self._lock = threading.RLock()
        self._on_read = on_read
        self._base = {name: dict(kept.default) if isinstance(kept.default, dict) else kept.default
                      for name, kept in TABLE.items()}  # fmt: skip
        self._defaults: list[Source] = []
        self._source: Source = dict
        self._from_sources: dict[str, Any] | None = None
        """None until it was read."""
        self._reading = False
        self._changes = from_mapping(changes)
        self._overrides: dict[str, Any] = {}
        self._revision = 0

    # Reading

    @property
    def revision(self) -> int:
        """Another number after every change: what was worked out from settings belongs to one revision of them."""
        return self._revision

    @property
    def was_read(self) -> bool:
        """Whether the sources have been asked."""
        return self._from_sources is not None

    def __getattr__(self, name: str) -> Any:
        # Only for what is not in __dict__: all settings until the sources are read, old names, and wrong ones.
        if name.startswith("_"):
            raise AttributeError(name)
        known = new_name(name)
        if known is None:
            raise AttributeError(unknown(name))
        self._read()
        return self.__dict__[known]

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as exc:
            raise KeyError(str(exc)) from None

    def get(self, name: str, default: Any = None) -> Any:
        """A setting, or the default where there is none of that name."""
        return self[name] if name in self else default  # noqa: SIM401 - this is what `get` does

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and new_name(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)

    def keys(self) -> KeysView[str]:
        """The names of all settings."""
        return self._all().keys()

    def values(self) -> ValuesView[Any]:
        """The values of all settings."""
        return self._all().values()

    def items(self) -> ItemsView[str, Any]:
        """All settings."""
        return self._all().items()

    def changes(self) -> dict[str, Any]:
        """What was assigned, or given to the app's constructor."""
        return dict(self._changes)

    def without_defaults(self) -> dict[str, Any]:
        """The settings that were given, wherever."""
        self._read()
        return {name: self.__dict__[name] for name in self._given()}

    def without_effect(self) -> list[str]:
        """The names of settings that were given and that nothing in Umbel asks for."""
        return sorted(name for name in self.without_defaults() if name not in TABLE or not TABLE[name].effect)

    def value_set_for(self, name: str) -> bool:
        """Whether a setting was given, and is not merely at its default."""
        return new_name(name) in self.without_defaults()

    def get_by_parts(self, *parts: str) -> Any:
        """A setting by the parts of its name: ``get_by_parts("task", "serializer")``."""
        return self["_".join(part for part in parts if part)]

    def find_value_for_key(self, name: str, namespace: str = "") -> Any:
        """A setting by its name in a group: ``find_value_for_key("serializer", "task")``."""
        return self.get_by_parts(namespace, name)

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings that were given, or all, as a dictionary; secrets are starred out."""
        shown = self._all() if with_defaults else self.without_defaults()
        return {name: _censored(name, value) for name, value in shown.items()} if censored else shown

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The settings that were given, or all, as lines of text; secrets are starred out."""
        return "\n".join(f"{name}: {value!r}" for name, value in sorted(self.table(with_defaults, censored).items()))

    # Giving

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self.update({name: value})

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *changes: Mapping[str, Any], **named: Any) -> None:
        """Set several at once."""
        found: dict[str, Any] = {}
        for given in (*changes, named):
            found.update(from_mapping(given))
        with self._lock:
            self._changes.update(found)
            self._merge()

    def setdefault(self, name: str, value: Any) -> Any:
        """A setting; if nobody has given it, it gets this value first."""
        if not self.value_set_for(name):
            self.update({name: value})
        return self[name]

    def override(self, changes: Mapping[str, Any]) -> None:
        """Set what the command line says: it wins over everything, the environment too."""
        with self._lock:
            self._overrides.update(from_mapping(changes))
            self._merge()

    def add_defaults(self, source: Source) -> None:
        """Have settings that count where nobody gives others; `source` is asked when settings are read."""
        with self._lock:
            self._defaults.append(source)
            self._unread()

    def read_from(self, source: Source) -> None:
        """Where settings come from, in place of an earlier source; it is asked when settings are read."""
        with self._lock:
            self._source = source
            self._unread()

    # Merging

    def _read(self) -> None:
        if self._from_sources is None:
            with self._lock:
                read = self._read_once()
            if read:
                self._on_read()

    def _read_once(self) -> bool:
        """Ask the sources, unless another thread was quicker."""
        if self._from_sources is not None:
            return False
        if self._reading:
            raise ImproperlyConfigured("the source of the settings needs them itself")
        self._reading = True
        try:
            found: dict[str, Any] = {}
            for source in self._defaults:
                found.update(from_mapping(source(), "add_defaults"))
            found.update(self._source())
            self._from_sources = found
        finally:
            self._reading = False
        self._merge()
        return True

    def _unread(self) -> None:
        if self._from_sources is not None:
            self._from_sources = None
            self._revision += 1
            for name in _NAMES:
                del self.__dict__[name]

    def _given(self) -> dict[str, Any]:
        given = {**(self._from_sources or {}), **self._changes}
        for name, variables in ENVIRONMENT.items():
            value = next(filter(None, map(os.environ.get, variables)), None)
            if value is not None:
                given[name] = checked(name, value)
        return {**given, **self._overrides}

    def _merge(self) -> None:
        """Put what is in force where reads find it. What was given is kept as it is: users modify dictionaries."""
        if self._from_sources is not None:
            self.__dict__.update({**dict.fromkeys(WITHOUT_EFFECT), **self._base, **self._given()})
        self._revision += 1

    def _all(self) -> dict[str, Any]:
        self._read()
        return {name: self.__dict__[name] for name in _NAMES}

    def __repr__(self) -> str:
        state = "not read yet" if self._from_sources is None else repr(self.table())
        return f"<Conf: {state}>"


def _censored(name: str, value: Any) -> Any:
    """What may be shown of a setting. Those that may hold anything secret are not looked into."""
    if value and any(word in name for word in _SECRET):
        return HIDDEN
    if isinstance(value, str) and "://" in value:
        return mask(value)
    return value
