"""The serializers of an app, by name and by content type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from umbel.serialization.culprit import culprit
from umbel.serialization.guards import MAX_DEPTH, may_nest_deeper, nests_deeper
from umbel.serialization.json import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from umbel.spec import Serializer

ALIASES = {
    "application/x-python-serialize": "pickle",
    "application/x-yaml": "yaml",
    "application/yaml": "yaml",
    "yml": "yaml",
    "application/x-msgpack": "msgpack",
    "application/msgpack": "msgpack",
}
"""Other words for the serializers that are loaded when something names them."""
_UTF_8 = frozenset(("utf-8", "utf8", "UTF-8", "us-ascii", "ascii", "binary", ""))
_ENCODINGS = {
    "latin-1": "latin-1",
    "latin1": "latin-1",
    "iso-8859-1": "latin-1",
    "iso8859-1": "latin-1",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "utf-32": "utf-32",
}
"""What else a peer may say that its text is in. A stranger does not choose among all the codecs of Python."""


class Serializers:
    """Turns values into bytes and back. JSON is there; the others are loaded when something names them."""

    def __init__(self, load: Callable[[Sequence[str]], Sequence[Serializer]] | None = None) -> None:
        """`load` finds the serializers of these names among the plugins."""
        self._load = load
        self._by_name: dict[str, Serializer] = {}
        self._by_type: dict[str, Serializer] = {}
        self._warned: set[str] = set()
        self.register(JSON)

    def register(self, serializer: Serializer) -> None:
        """Make it known, in place of another one of its name or content type."""
        self._by_name[serializer.name] = self._by_name[serializer.content_type] = serializer
        self._by_type[serializer.content_type] = serializer

    def content_type(self, name: str) -> str:
        """The content type of what a serializer of this name writes."""
        return self.named(name).content_type

    def named(self, name: str) -> Serializer:
        """The serializer of this name, or content type; ImproperlyConfigured if there is none."""
        found = self._by_name.get(name)
        return self._find(name) if found is None else found

    def accepting(self, names: Iterable[str]) -> frozenset[str]:
        """The content types of these names or content types; one that runs code when read is warned of, once."""
        found = [self.named(name) for name in ([names] if isinstance(names, str) else names)]
        for serializer in found:
            if not serializer.trusted and serializer.name not in self._warned:
                self._warned.add(serializer.name)
                import logging  # noqa: PLC0415 - heavy, and seldom needed

                logging.getLogger("umbel.serialization").warning(
                    "accept_content allows %s: reading it from a stranger can run code here, or exhaust the memory",
                    serializer.name,
                )
        return frozenset(serializer.content_type for serializer in found)

    def dumps(self, value: Any, name: str) -> tuple[str, str, bytes]:
        """Content type, content encoding and bytes; EncodeError that says where the culprit is."""
        serializer = self._by_name.get(name) or self._find(name)
        try:
            return serializer.content_type, serializer.content_encoding, serializer.dumps(value)
        except Exception as exc:
            raise EncodeError(explain([("value", value)], serializer, exc)) from exc

    def loads(
        self,
        data: bytes,
        content_type: str,
        content_encoding: str,
        accept: Collection[str],
        max_depth: int = MAX_DEPTH,
    ) -> Any:
        """The value; ContentDisallowed if its type is not among `accept`, DecodeError if it cannot be read."""
        serializer = self._by_type.get(content_type)
        if serializer is None or content_type not in accept:
            serializer = self.accepted(content_type, accept)
        if serializer.content_encoding == "utf-8" and content_encoding not in _UTF_8:
            data = _as_utf_8(data, content_encoding)
        try:
            value = serializer.loads(data)
        except RecursionError as exc:
            raise DecodeError(f"{serializer.name}: nested too deep") from exc
        except Exception as exc:
            raise DecodeError(f"not readable as {serializer.name}: {type(exc).__name__}: {_short(exc)}") from exc
        if (serializer is not JSON or may_nest_deeper(data, max_depth)) and nests_deeper(value, max_depth):
            raise DecodeError(f"nested more than {max_depth} deep")
        return value

    def accepted(self, content_type: str, accept: Collection[str]) -> Serializer:
        """Who reads it, be it written with parameters or in capitals; ContentDisallowed if it may not be read."""
        found = self._by_type.get(content_type)
        if found is None:
            plain = content_type.partition(";")[0].strip().lower()
            found = self._by_type.get(plain) or self._by_name.get(ALIASES.get(plain, plain))
        if found is None or found.content_type not in accept:
            allowed = ", ".join(sorted(accept)) or "nothing"
            raise ContentDisallowed(
                f"content type {content_type[:80]!r} is not accepted; accept_content allows {allowed}"
            )
        return found

    def _find(self, name: str) -> Serializer:
        if not isinstance(name, str):
            raise ImproperlyConfigured(f"a serializer is named by a string, not by {type(name)}")
        wanted = ALIASES.get(name, name)
        if wanted not in self._by_name and self._load is not None:
            for serializer in self._load([wanted]):
                self.register(serializer)
        found = self._by_name.get(wanted)
        if found is None:
            known = ", ".join(sorted({serializer.name for serializer in self._by_type.values()}))
            raise ImproperlyConfigured(f"no serializer is named {name!r}; known: {known}")
        self._by_name[name] = found
        return found


def explain(parts: Sequence[tuple[str, Any]], serializer: Serializer, exc: Exception) -> str:
    """Why, and where in the named parts, `serializer` failed; of values only classes are shown."""
    if isinstance(exc, RecursionError):
        return f"not serializable as {serializer.name}: nested too deep, or it contains itself"
    for name, value in parts:
        try:
            serializer.dumps(value)
        except Exception:  # noqa: BLE001 - the one that is looked for
            return f"not serializable as {serializer.name}: {culprit(value, name, serializer)} ({_short(exc)})"
    return f"not serializable as {serializer.name}: {type(exc).__name__}: {_short(exc)}"


def _as_utf_8(data: bytes, content_encoding: str) -> bytes:
    stated = str(content_encoding)[:40].lower().replace("_", "-")
    if stated in _UTF_8:
        return data
    codec = _ENCODINGS.get(stated)
    if codec is None:
        raise DecodeError(f"unknown content encoding {stated!r}")
    try:
        return data.decode(codec).encode()
    except UnicodeError as exc:
        raise DecodeError(f"not readable as {codec}: {_short(exc)}") from exc


def _short(exc: BaseException) -> str:
    text = str(exc)
    return text if len(text) <= 200 else f"{text[:200]}..."
