"""A delivery becomes the request of a task, or is found to be poison, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from umbel.exceptions import ContentDisallowed, DecodeError, InvalidMessage
from umbel.message import times
from umbel.message.context import Context
from umbel.message.ids import MAX_ID
from umbel.serialization.compression import decompress
from umbel.serialization.guards import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Collection

    from umbel.serialization.registry import Serializers
    from umbel.spec import Delivery, Message

_NONE: type = type(None)
_TEXT = frozenset((str,))
_MAYBE_TEXT = frozenset((str, _NONE))
_COUNT = frozenset((int,))
_LIST = frozenset((list, tuple, _NONE))
_KINDS: dict[str, frozenset[type]] = {
    "lang": _MAYBE_TEXT,
    "task": _TEXT,
    "id": _TEXT,
    "shadow": _MAYBE_TEXT,
    "eta": _MAYBE_TEXT,
    "expires": _MAYBE_TEXT,
    "group": _MAYBE_TEXT,
    "group_index": frozenset((int, _NONE)),
    "retries": frozenset((int, _NONE)),
    "timelimit": _LIST,
    "root_id": _MAYBE_TEXT,
    "parent_id": _MAYBE_TEXT,
    "argsrepr": _MAYBE_TEXT,
    "kwargsrepr": _MAYBE_TEXT,
    "origin": _MAYBE_TEXT,
    "ignore_result": frozenset((bool, _NONE)),
    "replaced_task_nesting": frozenset((int, _NONE)),
    "stamped_headers": _LIST,
    "stamps": frozenset((dict, _NONE)),
    "compression": _MAYBE_TEXT,
    "umbel_generation": _COUNT,
    "umbel_resent": frozenset((bool,)),
}
"""The types that each header of the protocol may have; a bool is no int here."""
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
_IDS = ("id", "group", "root_id", "parent_id")
_FROM_BODY = ("task", "id", "group", "group_index", "retries", "eta", "expires", "timelimit")
_MOMENTS = ("eta", "expires")
_COUNTS = ("retries", "replaced_task_nesting", "umbel_generation")
_NULLS = {"retries": 0, "ignore_result": False, "replaced_task_nesting": 0, "lang": "py"}
"""What a null stands for in the headers that are never None."""
_NO_LIMITS = [None, None]
KEPT = 1024
"""Shapes of headers that are remembered as right."""


@dataclass(slots=True)
class _Shape:
    """What follows from the names of headers and the types of their values alone."""

    users: tuple[str, ...]
    """The headers that are the user's."""
    nulls: tuple[str, ...]
    """Those that are null where Celery has a value."""
    ids: tuple[str, ...]
    counts: tuple[str, ...]
    moments: tuple[str, ...]


_shapes: dict[tuple[Any, ...], _Shape] = {}
"""Shapes that are right: nearly all messages look alike."""


def decode(
    delivery: Delivery,
    serializers: Serializers,
    accept: Collection[str],
    *,
    max_size: int,
    max_depth: int = MAX_DEPTH,
    hostname: str | None = None,
) -> Context:
    """The request that a worker runs; InvalidMessage that says what is wrong, whatever the bytes and headers are."""
    message = delivery.message
    headers = message.headers
    body = message.body
    if type(headers) is not dict:
        raise InvalidMessage(f"headers must be a map, not {type(headers).__name__}")
    if not isinstance(body, bytes):
        raise InvalidMessage(f"the body must be bytes, not {type(body).__name__}")
    if len(body) > max_size:
        raise InvalidMessage(f"the body has {len(body)} bytes, max_message_size is {max_size}")
    if "task" not in headers:
        return _protocol_1(delivery, _load(message, None, serializers, accept, max_size, max_depth), hostname)
    shape = _shapes.get((*headers, *map(type, headers.values()))) or _new_shape(headers)
    context = Context.__new__(Context)
    fields = context.__dict__
    fields.update(headers)
    fields["headers"] = {name: fields.pop(name) for name in shape.users} if shape.users else {}
    for name in shape.nulls:
        fields[name] = _NULLS[name]
    _check_values(fields, shape)
    payload = _load(message, fields.get("compression"), serializers, accept, max_size, max_depth)
    kind = type(payload)
    if (kind is list or kind is tuple) and len(payload) == 3:
        args, kwargs, embed = payload
    elif kind is dict and "args" in payload:  # headers of protocol 2, body of protocol 1
        args, kwargs, embed = payload["args"], payload.get("kwargs"), payload
    else:
        raise InvalidMessage(f"the body must be a list of args, kwargs and embed, not {_described(payload)}")
    _finish(fields, args, kwargs, embed)
    fields["delivery"] = delivery
    fields["hostname"] = hostname
    fields["called_directly"] = False
    return context


def _new_shape(headers: dict[str, Any]) -> _Shape:
    """The shape of these headers; InvalidMessage if one of ours is missing or of a wrong type."""
    users = []
    for name, value in headers.items():
        kinds = _KINDS.get(name)
        if kinds is None:
            if not isinstance(name, str):
                raise InvalidMessage(f"a header has a name that is not text: {type(name).__name__}")
            users.append(name)
        elif type(value) not in kinds:
            wanted = " or ".join(sorted("null" if kind is _NONE else kind.__name__ for kind in kinds))
            raise InvalidMessage(f"{name!r} must be {wanted}, not {type(value).__name__}")
    if "id" not in headers:
        raise InvalidMessage("header 'id' is missing")
    if len(_shapes) >= KEPT:
        _shapes.clear()
    given = {name for name, value in headers.items() if value is not None}
    shape = _shapes[(*headers, *map(type, headers.values()))] = _Shape(
        users=tuple(users),
        nulls=tuple(name for name in _NULLS if name in headers and name not in given),
        ids=tuple(name for name in _IDS if name in given),
        counts=tuple(name for name in _COUNTS if name in given),
        moments=tuple(name for name in _MOMENTS if name in given),
    )
    return shape


def _check_values(fields: dict[str, Any], shape: _Shape) -> None:
    """What types do not tell."""
    for name in shape.ids:
        id = fields[name]
        if not id or len(id) > MAX_ID or not (id.isascii() and id.isprintable()):
            _check_id(id, name)
    for name in shape.counts:
        if fields[name] < 0:
            raise InvalidMessage(f"{name!r} is negative")
    for name in shape.moments:
        _check_moment(fields[name], name)
    timelimit = fields.get("timelimit")
    if timelimit is not None and timelimit != _NO_LIMITS:
        _check_time_limits(timelimit)
    if not fields["task"]:
        raise InvalidMessage("the task's name is empty")
    if fields.get("root_id") is None:
        fields["root_id"] = fields["id"]


def _check_id(id: str, name: str) -> None:
    try:
        size = len(id.encode())
    except UnicodeEncodeError:
        raise InvalidMessage(f"{name!r} has half of a surrogate pair in it") from None
    if not size:
        raise InvalidMessage(f"{name!r} is empty")
    if size > MAX_ID:
        raise InvalidMessage(f"{name!r} is {size} bytes long, the limit is {MAX_ID}")
    if "\x00" in id:
        raise InvalidMessage(f"{name!r} has a NUL in it")


def _check_time_limits(timelimit: Any) -> None:
    if len(timelimit) != 2:
        raise InvalidMessage(f"'timelimit' must be [hard, soft], not {len(timelimit)} values")
    for limit in timelimit:
        if limit is not None and (type(limit) not in (int, float) or not 0 <= limit < float("inf")):
            raise InvalidMessage("'timelimit' must be [hard, soft], seconds or null each")


def _check_moment(text: Any, name: str) -> None:
    try:
        times.to_unix(text)
    except (ValueError, OverflowError):
        raise InvalidMessage(f"{name!r} is no moment in ISO 8601: {text[:40]!r}") from None


def _load(
    message: Message, compression: Any, serializers: Serializers, accept: Collection[str], max_size: int, max_depth: int
) -> Any:
    body = message.body
    content_type, content_encoding = message.content_type, message.content_encoding
    if type(content_type) is not str or type(content_encoding) is not str:
        raise InvalidMessage("content type and content encoding must be text")
    try:
        if compression:
            serializers.accepted(content_type, accept)  # what may not be read is not worth inflating
            body = decompress(body, compression, max_size)
        return serializers.loads(body, content_type, content_encoding, accept, max_depth)
    except (ContentDisallowed, DecodeError) as exc:
        raise InvalidMessage(str(exc)) from exc


def _finish(fields: dict[str, Any], args: Any, kwargs: Any, embed: Any) -> None:
    """Put the body's parts into place."""
    if type(args) is not list and type(args) is not tuple:
        raise InvalidMessage(f"args must be a list, not {_described(args)}")
    if type(kwargs) is not dict:
        raise InvalidMessage(f"kwargs must be a map, not {_described(kwargs)}")
    for name in kwargs:
        if type(name) is not str:
            raise InvalidMessage(f"kwargs must have text for keys, not {type(name).__name__}")
    fields["args"] = args
    fields["kwargs"] = kwargs
    if type(embed) is not dict:
        if embed is None:
            return
        raise InvalidMessage(f"embed must be a map, not {_described(embed)}")
    for name in _EMBEDDED:
        found = embed.get(name)
        if found is not None:
            _check_signatures(found, name)
            fields[name] = found


def _check_signatures(found: Any, name: str) -> None:
    if name == "chord":
        signatures = [found]
    elif isinstance(found, (list, tuple)):
        signatures = list(found)
    else:
        raise InvalidMessage(f"{name} must be a list of signatures, not {_described(found)}")
    for signature in signatures:
        if not isinstance(signature, dict):
            raise InvalidMessage(f"{name} has something that is no signature: {_described(signature)}")
        task = signature.get("task")
        if not isinstance(task, str):
            raise InvalidMessage(f"{name} has a signature whose task is {_described(task)}")


def _protocol_1(delivery: Delivery, payload: Any, hostname: str | None) -> Context:
    """The request of a message whose body says everything; its headers, if any, are the user's."""
    if type(payload) is not dict:
        _no_task(payload)
    if "task" not in payload or "id" not in payload:
        raise InvalidMessage("neither a header 'task' nor a body that names task and id: this is no task message")
    fields = {name: payload[name] for name in _FROM_BODY if payload.get(name) is not None}
    if "group" not in fields and payload.get("taskset") is not None:
        fields["group"] = payload["taskset"]
    _check_values(fields, _new_shape(fields))
    args, kwargs = payload.get("args"), payload.get("kwargs")
    _finish(fields, [] if args is None else args, {} if kwargs is None else kwargs, payload)
    fields["utc"] = payload.get("utc") is not False
    if not fields["utc"]:
        for name in ("eta", "expires"):
            if fields.get(name) is not None:
                fields[name] = times.local_to_utc(fields[name])
    fields["headers"] = dict(delivery.message.headers)
    fields["delivery"] = delivery
    fields["hostname"] = hostname
    fields["called_directly"] = False
    return Context(fields)


def _no_task(payload: Any) -> NoReturn:
    raise InvalidMessage(f"no header 'task', and a body that is {_described(payload)}: this is no task message")


def _described(value: Any) -> str:
    kind = type(value)
    if kind is list or kind is tuple:
        return f"a list of {len(value)}"
    return "null" if value is None else f"{kind.__name__}"
