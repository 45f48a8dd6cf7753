"""Where in a value the part is that cannot be serialized; asked only once it has failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from umbel.spec import Serializer

KEY_LENGTH = 40
"""Characters of a key that a path shows."""
STEPS = 200
"""The longest path."""


def culprit(value: Any, path: str, serializer: Serializer) -> str:
    """The path to the smallest part that fails, and its class: ``args[0]['x']: <class 'Foo'>``; never its value."""
    for _ in range(STEPS):
        for step, part in _parts(value, serializer):
            if _fails(part, serializer.dumps):
                path += step
                value = part
                break
        else:
            return f"{path}: {_describe(value, serializer)}"
    return f"{path[:KEY_LENGTH]}...: nested more than {STEPS} deep, or it contains itself"


def _parts(value: Any, serializer: Serializer) -> Iterator[tuple[str, Any]]:
    if serializer.name == "json" and hasattr(type(value), "__json__"):
        try:
            yield ".__json__()", value.__json__()
        except Exception:  # noqa: BLE001 - the user's own method: it is the culprit itself
            return
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield f"[{_key(key)}]", part
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, part in enumerate(value):
            yield f"[{index}]", part
    elif serializer.name == "pickle" and hasattr(value, "__dict__") and not isinstance(value, type):
        for name, part in vars(value).items():
            yield f".{name}", part


def _key(key: Any) -> str:
    text = repr(key) if isinstance(key, (str, int, float, bool, type(None))) else f"<key of {type(key)}>"
    return text if len(text) <= KEY_LENGTH else f"{text[:KEY_LENGTH]}..."


def _fails(part: Any, dumps: Callable[[Any], bytes]) -> bool:
    try:
        dumps(part)
    except Exception:  # noqa: BLE001 - whatever a serializer raises, it is a failure
        return True
    return False


def _describe(value: Any, serializer: Serializer) -> str:
    if isinstance(value, Mapping):
        for key in value:
            if _fails({key: None}, serializer.dumps):
                return f"a key of {type(key)}"
    hint = ""
    if serializer.name == "json":
        if isinstance(value, (set, frozenset)):
            hint = "; pass a list"
        elif not isinstance(value, (dict, list, tuple, str, int, float)):
            hint = "; give it a __json__ method, or use umbel.serialization.json.register_type"
    return f"{type(value)}{hint}"
