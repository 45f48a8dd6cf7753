"""What a postponed message carries beside its own headers, on its way by hops or through a delay store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from umbel.brokers.wrapping import carries

if TYPE_CHECKING:
    from umbel.spec import Message

DELAY = "umbel_delay"
"""The header that says what the message is to become again."""


@dataclass(slots=True)
class Delay:
    """The header, read and found to be sound."""

    eta: float
    """When it is due at last."""
    hop: int
    """How often it has been sent on; makes each sending's `dedup` another."""
    charged: int
    """Starts that were charged before it was sent on: a new message begins to count anew."""
    dedup: str | None
    """The one that it was first sent with."""


def delay_of(message: Message) -> Delay | None:
    """What the header says; None if there is none, or none that can be relied on."""
    header = message.headers.get(DELAY) if carries(message, DELAY) else None
    if type(header) is not dict:
        return None
    eta, hop, charged, dedup = (header.get(name) for name in ("eta", "hop", "charged", "dedup"))
    if not isinstance(eta, (int, float)) or not isinstance(hop, int) or not isinstance(charged, int):
        return None
    return Delay(eta, hop, charged, dedup if isinstance(dedup, str) else None)


def restored(message: Message) -> Message:
    """The message as it was first sent."""
    if not carries(message, DELAY):
        return message
    headers = {name: value for name, value in message.headers.items() if name != DELAY}
    delay = delay_of(message)
    if delay is None:
        return replace(message, headers=headers)
    return replace(message, headers=headers, eta=delay.eta, dedup=delay.dedup)


def postponed(message: Message, eta: float, until: float, *, hop: int, charged: int) -> Message:
    """The message to send now so that it comes at `until` and is known to be due at `eta`."""
    header = {"eta": eta, "hop": hop, "charged": charged, "dedup": message.dedup}
    # The first sending keeps the sender's own, so that its retry after an unknown outcome is recognised.
    dedup = f"{message.dedup or message.id}#{hop}" if hop > 1 else message.dedup
    return replace(message, eta=until, dedup=dedup, headers={**message.headers, DELAY: header})


def enclosed(message: Message, queue: str) -> Message:
    """The message as it lies in `queue` of another broker, with all that only its own broker understands."""
    header: dict[str, Any] = dict(message.headers.get(DELAY) or {})
    header |= {
        "queue": message.queue,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "key": message.key,
        "options": None if message.options is None else dict(message.options),
        "sent_dedup": message.dedup,
    }
    headers = {**message.headers, DELAY: header}
    return replace(message, queue=queue, exchange="", routing_key="", key=None, options=None, headers=headers)


def disclosed(message: Message) -> Message:
    """The reverse of `enclosed`; ValueError if the message is not one of ours."""
    delay = delay_of(message)
    header = message.headers.get(DELAY) if delay else None
    if delay is None or not isinstance(header, dict):
        raise ValueError(f"the header {DELAY!r} is missing or damaged")
    queue, exchange, routing_key = (header.get(name) for name in ("queue", "exchange", "routing_key"))
    if not isinstance(queue, str) or not isinstance(exchange, str) or not isinstance(routing_key, str):
        raise ValueError(f"the header {DELAY!r} names no destination")  # noqa: TRY004 - as for any other damage
    inner = {name: header.get(name) for name in ("eta", "hop", "charged", "dedup")}
    headers = {**message.headers, DELAY: inner}
    if not delay.charged and delay.hop <= 1:
        del headers[DELAY]
    return replace(
        message,
        queue=queue,
        exchange=exchange,
        routing_key=routing_key,
        key=header.get("key"),
        options=header.get("options"),
        dedup=header.get("sent_dedup"),
        eta=delay.eta,
        headers=headers,
    )
