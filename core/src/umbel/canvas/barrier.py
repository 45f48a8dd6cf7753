"""What the members of a chord leave at its barrier: a value or an error, encoded, in one string of bytes each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umbel.exceptions import DecodeError
from umbel.results.codec import decode_body, encode_failure, encode_value
from umbel.results.reading import accepted, types_of
from umbel.spec import Result
from umbel.states import FAILURE, SUCCESS

if TYPE_CHECKING:
    from umbel.results.applike import AppLike

CLAIM = "claim"
"""The one member of a chord's second barrier: whoever is first there sends the body."""


@dataclass(frozen=True, slots=True)
class Left:
    """What one member left."""

    member: str
    ok: bool
    value: Any
    """The value, or the error."""
    task_id: str
    """Whose error it is."""


def value_frame(app: AppLike, value: Any, encoded: tuple[bytes, str] | None) -> bytes:
    """A member's value. `encoded` is the value in bytes, with its content type, if somebody has it already."""
    body, content_type = encoded or encode_value(app.serializers, value, app.conf.result_serializer)
    return b"+%b\n\n%b" % (content_type.encode(), body)


def failure_frame(app: AppLike, exc: BaseException, task_id: str) -> bytes:
    """A member's error."""
    body, content_type = encode_failure(app.serializers, exc, app.conf.result_serializer)
    return b"-%b\n%b\n%b" % (content_type.encode(), task_id.encode().replace(b"\n", b" "), body)


def read_all(app: AppLike, values: dict[str, bytes]) -> list[Left]:
    """What all members left, in the order of the header; DecodeError or ContentDisallowed for what is unreadable."""
    accept, types = accepted(app), types_of(app)
    found = []
    for member in sorted(values, key=_order):
        frame = values[member]
        head, _, rest = frame.partition(b"\n")
        task_id, _, body = rest.partition(b"\n")
        if head[:1] not in (b"+", b"-"):
            raise DecodeError(f"what member {member} left is not readable")
        ok = head[:1] == b"+"
        result = Result(id=member, state=SUCCESS if ok else FAILURE, body=body, content_type=head[1:].decode())
        found.append(Left(member, ok, decode_body(app.serializers, result, accept, types), task_id.decode()))
    return found


def _order(member: str) -> tuple[int, int, str]:
    """By index; what has none comes last."""
    return (0, int(member), "") if member.isdecimal() else (1, 0, member)


def claim_name(barrier: str) -> str:
    """The name of the second barrier."""
    return f"{barrier}.claim"
