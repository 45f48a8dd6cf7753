"""Values and errors of tasks, to bytes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.results.failure import STANDARD, from_data, to_data
from umbel.states import EXCEPTION_STATES

if TYPE_CHECKING:
    from collections.abc import Collection

    from umbel.results.failure import ExceptionTypes
    from umbel.serialization.registry import Serializers
    from umbel.spec import Result


class AsTuple:
    """What a task may return although no serializer knows it: the handle of another task."""

    __slots__ = ()

    def as_tuple(self) -> tuple[Any, ...]:
        """The handle as plain data, of which `result_from_tuple` makes a handle again."""
        raise NotImplementedError


def encode_value(serializers: Serializers, value: Any, name: str) -> tuple[bytes, str]:
    """The bytes and their content type; EncodeError names what in the value cannot be written."""
    if isinstance(value, AsTuple):
        value = value.as_tuple()
    content_type, _, body = serializers.dumps(value, name)
    return body, content_type


def encode_failure(serializers: Serializers, exc: BaseException, name: str) -> tuple[bytes, str]:
    """The bytes and their content type, as data that any serializer can write."""
    content_type, _, body = serializers.dumps(to_data(exc, lambda value: serializers.dumps(value, name)), name)
    return body, content_type


def decode_raw(serializers: Serializers, result: Result, accept: Collection[str]) -> Any:
    """What was written, errors as the data they were written as."""
    if not result.body:
        return None
    return serializers.loads(result.body, result.content_type, "utf-8", accept)


def decode_body(
    serializers: Serializers, result: Result, accept: Collection[str], types: ExceptionTypes = STANDARD
) -> Any:
    """The value, or for a failed, revoked or retried task the error, rebuilt if it is one of `types`."""
    value = decode_raw(serializers, result, accept)
    return from_data(value, types) if result.state in EXCEPTION_STATES else value
