"""Where settings come from: objects, modules and dictionaries, in new names or old, checked against the table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from umbel.app.settings import TABLE, WITHOUT_EFFECT, old_names
from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

SECRET = ("url", "backend", "password", "key", "options", "ssl", "store", "settings")
"""Words in the names of settings whose values are not shown in errors."""
NEAR = 0.75
"""How like a setting's name another must be to be taken for its misspelling."""
_OLD_STYLE = ("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")


def checked(name: str, value: Any) -> Any:
    """The value as it is kept; ImproperlyConfigured that names the setting, the value and what is expected."""
    setting = TABLE.get(name)
    if setting is None:
        return value
    if value is None and (setting.default is None or setting.none):
        return None
    try:
        return setting.kind.take(value)
    except (TypeError, ValueError):
        shown = f"a {type(value).__name__}" if any(word in name for word in SECRET) else f"{value!r:.100}"
        raise ImproperlyConfigured(f"setting {name!r} must be {setting.kind.expects}, not {shown}") from None


def is_known(name: str) -> bool:
    """Whether there is a setting of this name, with or without effect."""
    return name in TABLE or name in WITHOUT_EFFECT


def new_name(name: str) -> str | None:
    """The setting that a name of either style means; None if there is none."""
    if is_known(name):
        return name
    return old_names().get(name) if name.isupper() else None


def unknown(name: str) -> str:
    """What to say of a name that is no setting."""
    meant = nearest(name)
    return f"no setting is named {name!r}" + (f"; is {meant!r} meant?" if meant else "")


def nearest(name: str) -> str | None:
    """The setting's name that is most like this one, in the same style."""
    import difflib  # noqa: PLC0415 - only for a name that is wrong

    known: Iterable[str] = old_names() if name.isupper() else (*TABLE, *WITHOUT_EFFECT)
    return next(iter(difflib.get_close_matches(name, list(known), 1, NEAR)), None)


def from_mapping(given: Mapping[str, Any], where: str = "the settings") -> dict[str, Any]:
    """The settings that a dictionary gives; every key must be one."""
    found: dict[str, tuple[str, Any]] = {}
    for key, value in given.items():
        name = new_name(key) if isinstance(key, str) else None
        if name is None:
            raise ImproperlyConfigured(f"{where}: {unknown(str(key))}")
        _add(found, name, key, value)
    _refuse_a_mixture(found, given, where)
    return {name: checked(name, value) for name, (_, value) in found.items()}


def from_object(given: Any, namespace: str | None = None) -> dict[str, Any]:
    """The settings that an object, class, module or dictionary gives, or the dotted name of one of these.

    An object may have other attributes too; one that looks like a misspelt setting is refused. With a namespace only
    names that begin with it count: ``CELERY_TASK_ROUTES`` is `task_routes` in the namespace CELERY.
    """
    where = given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)
    source = load(given) if isinstance(given, str) else given
    if isinstance(source, Mapping):
        if namespace is None:
            return from_mapping(source, where)
        names, get = list(source), source.__getitem__
    else:
        names, get = [name for name in dir(source) if not name.startswith("_")], partial(getattr, source)
    name_of = _in_namespace(namespace) if namespace else new_name
    found: dict[str, tuple[str, Any]] = {}
    for key in names:
        name = name_of(key)
        if name is not None:
            _add(found, name, key, get(key))
        elif _may_be_meant(key, namespace):
            _refuse_if_misspelt(key, get(key), namespace, where)
    if not namespace:
        _refuse_a_mixture(found, names, where)
    return {name: checked(name, value) for name, (_, value) in found.items()}


def load(path: str) -> Any:
    """The module or object of a dotted name: ``proj.settings``, ``proj.settings:Production``."""
    module, _, attribute = path.partition(":")
    try:
        return _walk(import_module(module), attribute)
    except ModuleNotFoundError as exc:
        package, _, last = module.rpartition(".")
        if attribute or not package or exc.name not in (module, last):
            raise
        return getattr(import_module(package), last)  # proj.settings.Production: a class in a module


def _walk(thing: Any, attribute: str) -> Any:
    for name in attribute.split(".") if attribute else ():
        thing = getattr(thing, name)
    return thing


def _in_namespace(namespace: str) -> Callable[[str], str | None]:
    prefix = _prefix(namespace)

    def name_of(key: str) -> str | None:
        if not key.upper().startswith(prefix.upper()):
            return None
        rest = key[len(prefix) :].lower()
        return rest if is_known(rest) else old_names().get(key)

    return name_of


def _may_be_meant(key: str, namespace: str | None) -> bool:
    """Whether an attribute that is no setting may be meant as one; others, such as Django's, are not even read."""
    if namespace:
        return key.startswith(_prefix(namespace))
    return key.startswith(_OLD_STYLE) if key.isupper() else "_" in key


def _refuse_if_misspelt(key: str, value: Any, namespace: str | None, where: str) -> None:
    """ImproperlyConfigured if it looks like a setting. A module has other things too: imports, helpers."""
    if isinstance(value, (ModuleType, type)) or callable(value):
        return
    meant = nearest(key.removeprefix(_prefix(namespace)).lower() if namespace else key)
    if meant is not None:
        meant = f"{_prefix(namespace)}{meant.upper()}" if namespace else meant
        raise ImproperlyConfigured(f"{where}: no setting is named {key!r}; is {meant!r} meant?")


def _prefix(namespace: str) -> str:
    return namespace if namespace.endswith("_") else f"{namespace}_"


def _add(found: dict[str, tuple[str, Any]], name: str, key: str, value: Any) -> None:
    """Keep a value; where both spellings are given, the new one counts."""
    if name not in found or key == name:
        found[name] = (key, value)


def _refuse_a_mixture(found: Mapping[str, tuple[str, Any]], given: Collection[str], where: str) -> None:
    old = {key: name for name, (key, _) in found.items() if key != name and name not in given}
    new = [name for name, (key, _) in found.items() if key == name and name.islower()]
    if not old or not new:
        return
    hints = ", ".join(f"{key} -> {name}" for key, name in sorted(old.items()))
    raise ImproperlyConfigured(f"{where} mixes old names of settings with new ones ({new[0]}); rename {hints}")
