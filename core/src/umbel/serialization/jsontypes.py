"""The values that JSON has no word for, and how they are written in it."""

from __future__ import annotations

import base64
import uuid
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Value = TypeVar("Value")

TYPE = "__type__"
VALUE = "__value__"


class Types:
    """Which classes are written as ``{"__type__": ..., "__value__": ...}``, and how they are read back."""

    def __init__(self) -> None:
        self._writers: dict[type, tuple[str | None, Callable[[Any], Any]]] = {}
        self._readers: dict[str, Callable[[Any], Any]] = {}

    def register(
        self,
        cls: type[Value],
        marker: str | None,
        encoder: Callable[[Value], Any],
        decoder: Callable[[Any], Value] | None = None,
    ) -> None:
        """Write instances of `cls` as what `encoder` makes of them, and read `marker` with `decoder`.

        Subclasses too. Without a marker they are written bare, and come back as what they were written as.
        """
        if marker is not None and decoder is None:
            raise TypeError(f"a marker ({marker!r}) needs a decoder")
        self._writers[cls] = (marker, encoder)
        if marker is not None and decoder is not None:
            self._readers[marker] = decoder

    def write(self, value: Any) -> Any:
        """The value in words of JSON; TypeError if nobody knows how."""
        cls = type(value)
        to_json = getattr(cls, "__json__", None)
        if to_json is not None:
            return to_json(value)
        for base in cls.__mro__:
            found = self._writers.get(base)
            if found is not None:
                marker, encoder = found
                return encoder(value) if marker is None else {TYPE: marker, VALUE: encoder(value)}
        if _is_lazy_text(cls):
            return str(value)
        raise TypeError(f"Object of type {cls.__name__} is not JSON serializable")

    def read(self, found: dict[str, Any]) -> Any:
        """The value behind a dictionary with exactly the two keys; any other dictionary as it is."""
        if len(found) != 2 or TYPE not in found or VALUE not in found:
            return found
        marker = found[TYPE]
        reader = self._readers.get(marker) if isinstance(marker, str) else None
        if reader is None:
            raise ValueError(f"a value of the unknown type {str(marker)[:80]!r}")
        return reader(found[VALUE])


def _is_lazy_text(cls: type) -> bool:
    """Django's translations that wait for a language: Celery writes them as text."""
    return any(base.__name__ == "Promise" and base.__module__ == "django.utils.functional" for base in cls.__mro__)


def _write_bytes(value: bytes) -> Any:
    try:
        return {TYPE: "bytes", VALUE: value.decode()}
    except UnicodeDecodeError:
        return {TYPE: "base64", VALUE: base64.b64encode(value).decode("ascii")}


def _read_uuid(value: Any) -> uuid.UUID:
    # Older kombu sends the version beside the digits; it is one of the digits.
    return uuid.UUID(hex=value["hex"])


def standard_types() -> Types:
    """The types that Celery knows."""
    types = Types()
    types.register(datetime, "datetime", datetime.isoformat, datetime.fromisoformat)
    types.register(date, "date", date.isoformat, date.fromisoformat)
    types.register(time, "time", time.isoformat, time.fromisoformat)
    types.register(Decimal, "decimal", str, Decimal)
    types.register(uuid.UUID, "uuid", lambda value: {"hex": value.hex}, _read_uuid)
    types.register(bytes, None, _write_bytes)
    types._readers["bytes"] = str.encode
    types._readers["base64"] = base64.b64decode
    return types
