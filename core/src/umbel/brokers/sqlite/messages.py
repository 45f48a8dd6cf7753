"""Messages as rows, and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from umbel.spec import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = 10
"""Priorities kept apart, from 0; those beyond count as the nearest."""
MAX_BODY = 900_000_000
"""Bytes. SQLite keeps a billion in a row."""
MAX_PROPS = 90_000_000
SELF = "\x01"
"""The message's own id in its headers. JSON as we write it has no such character."""

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


class Row(NamedTuple):
    """One message, ready to be inserted once its queue has a number and the message an id."""

    queue: str
    rank: int
    due: int | None
    """Microseconds of Unix time; None: at once."""
    uid: str
    props: str
    body: bytes


def to_row(message: Message, now: float) -> Row:
    """The row of a message; ValueError or TypeError if it cannot be kept, saying why."""
    body, uid = message.body, message.id
    if not isinstance(body, bytes):
        raise TypeError(f"message {uid}: the body must be bytes, not {type(body).__name__}")
    if len(body) > MAX_BODY:
        raise ValueError(f"message {uid}: a body of {len(body)} bytes; sqlite:// takes {MAX_BODY}")
    if not isinstance(uid, str) or not isinstance(message.queue, str):
        raise TypeError(f"message {uid!r} for {message.queue!r}: id and queue must be strings")
    for text in (uid, message.queue):
        text.encode()  # a lone surrogate, say, cannot be kept
    eta, priority = message.eta, message.priority
    rank = -min(max(int(priority), 0), LEVELS - 1) if priority else 0
    due = None if eta is None or eta <= now else microseconds(eta)
    return Row(message.queue, rank, due, uid, to_props(message), body)


def microseconds(moment: float) -> int:
    """Never before the moment."""
    return min(math.ceil(min(moment, 4e12) * 1e6), 1 << 62)


def to_props(message: Message) -> str:
    """All but body, id and queue, as JSON; ValueError if the headers are not JSON-able."""
    try:
        props = _encode(
            [
                message.headers,
                message.content_type,
                message.content_encoding,
                message.reply_to,
                message.correlation_id,
                message.priority,
                message.eta,
                message.key,
                message.dedup,
                message.exchange,
                message.routing_key,
            ]
        )
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"message {message.id}: its headers cannot be written as JSON: {exc}") from exc
    if len(props) > MAX_PROPS:
        raise ValueError(f"message {message.id}: {len(props)} bytes of headers; sqlite:// takes {MAX_PROPS}")
    # A task's own id is in its headers several times.
    return props.replace(message.id, SELF) if message.id else props


def to_message(queue: str, uid: str, props: str, body: bytes) -> Message:
    """The message of a row."""
    headers: dict[str, Any]
    headers, content_type, encoding, reply_to, correlation, priority, eta, key, dedup, exchange, routing_key = _decode(
        props.replace(SELF, uid)
    )
    return Message(
        queue=queue,
        body=body,
        id=uid,
        headers=headers,
        content_type=content_type,
        content_encoding=encoding,
        reply_to=reply_to,
        correlation_id=correlation,
        priority=priority,
        eta=eta,
        key=key,
        dedup=dedup,
        exchange=exchange,
        routing_key=routing_key,
    )


def encode_meta(meta: Mapping[str, Any]) -> str | None:
    """What is known of a result besides its value, as JSON; None for nothing."""
    return _encode(meta) if meta else None


def decode_meta(meta: str | None) -> dict[str, Any]:
    """And back."""
    decoded: dict[str, Any] = _decode(meta) if meta else {}
    return decoded
