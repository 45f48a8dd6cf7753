"""A call becomes a task message: Celery's protocol 2, field by field."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from umbel.exceptions import EncodeError
from umbel.message import times
from umbel.message.context import HEADERS
from umbel.message.ids import MAX_ID
from umbel.message.reprs import LENGTH, LEVELS, short_repr
from umbel.serialization.compression import compress, largest
from umbel.serialization.guards import MAX_DEPTH, may_nest_deeper, nests_deeper
from umbel.serialization.json import JSON, plain
from umbel.serialization.registry import explain
from umbel.spec import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from umbel.message.call import Call
    from umbel.routing.destination import Destination
    from umbel.serialization.registry import Serializers

MAX_SIZE = 64 * 1024 * 1024
"""Bytes of a body where no setting says otherwise."""
CORE = frozenset(
    (
        "task_id queue exchange exchange_type routing_key priority serializer compression countdown eta expires "
        "time_limit soft_time_limit ignore_result headers shadow reply_to key argsrepr kwargsrepr link link_error "
        "retry retry_policy add_to_parent connection producer publisher result_cls router route_name root_id parent_id "
        "group_id group_index chord chord_size chain retries task_type task_name replaced_task_nesting origin "
        "stamped_headers expiration declare event_dispatcher timeout confirm_timeout correlation_id args kwargs"
    ).split()
)
"""Options with a meaning to the core or the app. Any other goes to the transport as it is: delivery_mode, ..."""
_TEXTS = ("shadow", "argsrepr", "kwargsrepr", "reply_to", "key")
_NO_SIGNATURES: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def encode(
    call: Call,
    task_options: Mapping[str, Any],
    destination: Destination,
    serializers: Serializers,
    conf: Any,
    *,
    now: float,
    origin: str,
    reply_to: str | None,
) -> Message:
    """The message of a call; TypeError, ValueError or EncodeError that names the option or the argument at fault.

    The caller's options win over the route's, those over the task's, those over settings; None is not given.
    """
    options = _merge(task_options, destination.options, call.options)
    given = options.get
    _check(call)
    if options:
        _check_texts(options)
    eta, eta_text = _eta(given("countdown"), given("eta"), now)
    headers = _headers(call, options, eta_text, now, origin, getattr(conf, "task_repr_maxlevels", LEVELS))
    content_type, content_encoding, body = _body(call, given("serializer") or conf.task_serializer, serializers)
    _check_size(body, conf, call)
    compression = given("compression") or conf.task_compression
    if compression:
        body = _compressed(body, compression, headers)
    priority = given("priority")
    if priority is None:
        priority = conf.task_default_priority
    if priority is not None:
        _check_priority(priority)
    if "headers" in options or "stamped_headers" in options:
        headers = _with_user_headers(options.get("headers") or {}, headers)
    return Message(
        queue=destination.queue,
        body=body,
        id=call.id,
        headers=headers,
        content_type=content_type,
        content_encoding=content_encoding,
        reply_to=given("reply_to") or reply_to,
        correlation_id=call.id,
        priority=priority,
        eta=eta,
        key=given("key"),
        # The same for the same sending of the same call, and another one for its retry or replay.
        dedup=f"{call.id}:{call.retries}:{call.generation}" if call.retries or call.generation else call.id,
        exchange=destination.exchange,
        routing_key=destination.routing_key,
        options=_for_transport(options),
    )


def _headers(
    call: Call, options: dict[str, Any], eta: str | None, now: float, origin: str, levels: int
) -> dict[str, Any]:
    given = options.get
    expires = given("expires")
    if expires is not None:
        expires = times.written(expires, times.expiry(expires, now))
    headers: dict[str, Any] = {
        "lang": "py",
        "task": call.task,
        "id": call.id,
        "shadow": given("shadow"),
        "eta": eta,
        "expires": expires,
        "group": call.group_id,
        "group_index": call.group_index,
        "retries": call.retries,
        "timelimit": _time_limits(given("time_limit"), given("soft_time_limit")),
        "root_id": call.root_id or call.id,
        "parent_id": call.parent_id,
        "argsrepr": given("argsrepr") or short_repr(call.args, LENGTH, levels),
        "kwargsrepr": given("kwargsrepr") or short_repr(call.kwargs, LENGTH, levels),
        "origin": origin,
        "ignore_result": bool(given("ignore_result")),
        "replaced_task_nesting": call.replaced_task_nesting,
        "stamped_headers": list(options["stamped_headers"]) if "stamped_headers" in options else None,
        "stamps": _stamps(options) if "stamped_headers" in options else {},
    }
    if call.generation:
        headers["umbel_generation"] = call.generation
    if call.resent:
        headers["umbel_resent"] = True
    return headers


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        if layer:
            for name, value in layer.items():
                if value is not None:
                    merged[name] = value
    return merged


def _check(call: Call) -> None:
    id = call.id
    if type(id) is not str or not id:
        raise TypeError(f"task_id must be text, not {id!r}")
    if len(id) > MAX_ID or not (id.isascii() and id.isprintable()):
        check_id(id, "task_id")
    if not isinstance(call.task, str) or not call.task:
        raise TypeError(f"the task's name must be text, not {call.task!r}")
    if not isinstance(call.args, (tuple, list)) and isinstance(call.args, (str, bytes, dict)):
        raise TypeError(f"args must be a list or tuple, not {type(call.args).__name__}")
    if call.group_id is not None:
        check_id(call.group_id, "group_id")
    for name in call.kwargs:
        if not isinstance(name, str):
            raise TypeError(f"kwargs must have text for keys, not {name!r}")


def check_id(id: str, option: str) -> None:
    """ValueError, naming the option, for an id that some store or broker could not keep."""
    _check_unicode(id, option)
    size = len(id.encode())
    if size > MAX_ID:
        raise ValueError(f"{option} is {size} bytes long, the limit is {MAX_ID}: {id[:40]!r}...")
    if "\x00" in id:
        raise ValueError(f"{option} has a NUL in it: {id[:40]!r}")


def _check_texts(options: Mapping[str, Any]) -> None:
    for name in _TEXTS:
        text = options.get(name)
        if text is not None:
            if not isinstance(text, str):
                raise TypeError(f"{name} must be text, not {type(text).__name__}")
            _check_unicode(text, name)


def _check_unicode(text: str, option: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{option} has half of a surrogate pair in it: {text[:40]!r}") from None


def _eta(countdown: Any, eta: Any, now: float) -> tuple[float | None, str | None]:
    if countdown is not None:
        moment = times.after(countdown, "countdown", now)
        return (moment, times.to_iso(moment)) if countdown > 0 else (None, None)
    if eta is not None:
        moment = times.at(eta, "eta", now)
        return moment, times.written(eta, moment)
    return None, None


def _time_limits(hard: Any, soft: Any) -> list[Any]:
    for name, limit in (("time_limit", hard), ("soft_time_limit", soft)):
        if limit is not None and times.after(limit, name, 0.0) <= 0:
            raise ValueError(f"{name} must be more than 0 seconds, not {limit}")
    if hard is not None and soft is not None and soft > hard:
        raise ValueError(f"soft_time_limit ({soft} s) must not exceed time_limit ({hard} s)")
    return [hard, soft]


def _stamps(options: Mapping[str, Any]) -> dict[str, Any]:
    stamps = {}
    for name in options["stamped_headers"]:
        value = options.get(name)
        stamps[name] = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
    return stamps


def _body(call: Call, name: str, serializers: Serializers) -> tuple[str, str, bytes]:
    embed = _NO_SIGNATURES
    if call.callbacks or call.errbacks or call.chain or call.chord:
        embed = {"callbacks": call.callbacks, "errbacks": call.errbacks, "chain": call.chain, "chord": call.chord}
    args = call.args if isinstance(call.args, (tuple, list)) else list(call.args)
    kwargs = call.kwargs if isinstance(call.kwargs, dict) else dict(call.kwargs)
    parts = (args, kwargs, embed)
    try:
        content_type, content_encoding, body = serializers.dumps(parts, name)
    except EncodeError as exc:
        cause = exc.__cause__ if isinstance(exc.__cause__, Exception) else exc
        named = [("args", args), ("kwargs", kwargs), *embed.items()]
        raise EncodeError(f"{call.task}: {explain(named, serializers.named(name), cause)}") from cause
    if (content_type != JSON.content_type or may_nest_deeper(body, MAX_DEPTH)) and nests_deeper(parts, MAX_DEPTH):
        raise EncodeError(f"{call.task}: the arguments nest more than {MAX_DEPTH} deep, which no worker would read")
    return content_type, content_encoding, body


def _check_size(body: bytes, conf: Any, call: Call) -> None:
    limit = getattr(conf, "max_message_size", MAX_SIZE)
    if len(body) > limit:
        raise EncodeError(
            f"{call.task}: its message has {len(body)} bytes, and max_message_size is {limit}; "
            "store the data elsewhere and pass where it is"
        )


def _compressed(body: bytes, compression: str, headers: dict[str, Any]) -> bytes:
    data, content_type = compress(body, compression)
    if len(body) > largest(len(data)):
        return body  # it would be taken for an attack on arrival
    headers["compression"] = content_type
    return data


def _check_priority(priority: Any) -> None:
    if type(priority) is not int:
        raise TypeError(f"priority must be a whole number, not {priority!r}")
    if not 0 <= priority <= 255:
        raise ValueError(f"priority must be from 0 to 255, not {priority}")


def _with_user_headers(user: Any, headers: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(user, dict) or not all(isinstance(name, str) for name in user):
        raise TypeError("headers must be a dictionary with text for keys")
    try:
        plain((user, headers["stamps"]))
    except Exception as exc:
        strict = replace(JSON, dumps=plain, name="a header")
        raise EncodeError(explain([("headers", user), ("stamps", headers["stamps"])], strict, exc)) from exc
    return {**{name: value for name, value in user.items() if name not in HEADERS}, **headers}


def _for_transport(options: Mapping[str, Any]) -> dict[str, Any] | None:
    if options.keys() <= CORE:
        return None
    stamps = options.get("stamped_headers", ())
    return {name: value for name, value in options.items() if name not in CORE and name not in stamps}
