from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from umbel.exceptions import EncodeError, ImproperlyConfigured
from umbel.message.call import Call
from umbel.message.context import HEADERS
from umbel.message.encode import encode
from umbel.plugins.manager import Plugins
from umbel.routing.destination import Destination
from umbel.serialization.compression import decompress
from umbel.serialization.registry import Serializers
from umbel.spec import Message

NOW = 1_700_000_000.0
SERIALIZERS = Serializers(Plugins().serializers)
CONF = SimpleNamespace(
    task_serializer="json",
    task_compression=None,
    task_default_priority=None,
    task_repr_maxlevels=3,
    max_message_size=1024 * 1024,
)


def conf(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(CONF), **changes})


def made(
    task_options: dict[str, Any] | None = None,
    route: dict[str, Any] | None = None,
    settings: SimpleNamespace = CONF,
    **call: Any,
) -> Message:
    call.setdefault("task", "proj.add")
    call.setdefault("id", "id-1")
    destination = Destination("celery", "", "celery", route or {})
    return encode(
        Call(**call),
        task_options or {},
        destination,
        SERIALIZERS,
        settings,
        now=NOW,
        origin="gen1@host",
        reply_to="oid",
    )


def test_a_plain_call_is_protocol_2_field_by_field():
    message = made(args=(2, 2), kwargs={"debug": True})
    assert message.headers == {
        "lang": "py",
        "task": "proj.add",
        "id": "id-1",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": "id-1",
        "parent_id": None,
        "argsrepr": "(2, 2)",
        "kwargsrepr": "{'debug': True}",
        "origin": "gen1@host",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    embed = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
    assert message.body.decode() == f'[[2, 2], {{"debug": true}}, {embed}]'
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert (message.queue, message.exchange, message.routing_key) == ("celery", "", "celery")
    assert (message.id, message.correlation_id, message.reply_to) == ("id-1", "id-1", "oid")
    assert (message.priority, message.eta, message.key, message.options) == (None, None, None, None)


def test_everything_a_call_can_say_is_in_the_message():
    message = made(
        args=[1],
        retries=2,
        root_id="root",
        parent_id="parent",
        group_id="group",
        group_index=3,
        callbacks=[{"task": "a"}],
        errbacks=[{"task": "b"}],
        chain=[{"task": "c"}],
        chord={"task": "d"},
        replaced_task_nesting=1,
        generation=4,
        resent=True,
        options={
            "shadow": "nice name",
            "time_limit": 30,
            "soft_time_limit": 20.5,
            "ignore_result": True,
            "reply_to": "me",
            "key": "customer-1",
            "argsrepr": "<hidden>",
            "kwargsrepr": "<hidden too>",
            "priority": 9,
            "headers": {"tenant": "x", "id": "forged", "compression": "gzip", "umbel_resent": False},
            "stamped_headers": ["visit"],
            "visit": "v1",
        },
    )
    headers = message.headers
    assert headers == {
        **{name: headers[name] for name in ("lang", "task", "origin", "eta", "expires")},
        "id": "id-1",
        "shadow": "nice name",
        "group": "group",
        "group_index": 3,
        "retries": 2,
        "timelimit": [30, 20.5],
        "root_id": "root",
        "parent_id": "parent",
        "argsrepr": "<hidden>",
        "kwargsrepr": "<hidden too>",
        "ignore_result": True,
        "replaced_task_nesting": 1,
        "stamped_headers": ["visit"],
        "stamps": {"visit": ["v1"]},
        "umbel_generation": 4,
        "umbel_resent": True,
        "tenant": "x",
    }
    assert json.loads(message.body)[2] == {
        "callbacks": [{"task": "a"}],
        "errbacks": [{"task": "b"}],
        "chain": [{"task": "c"}],
        "chord": {"task": "d"},
    }
    assert (message.priority, message.reply_to, message.key) == (9, "me", "customer-1")
    assert set(headers) - {"tenant"} <= HEADERS


def test_the_caller_wins_over_the_route_over_the_task_over_settings():
    settings = conf(task_default_priority=1, task_serializer="pickle")
    assert made(settings=settings).priority == 1
    assert made({"priority": 2}, settings=settings).priority == 2
    assert made({"priority": 2}, {"priority": 3}, settings=settings).priority == 3
    assert made({"priority": 2}, {"priority": 3}, settings=settings, options={"priority": 4}).priority == 4
    assert made({"priority": 2}, {"priority": 3}, settings=settings, options={"priority": None}).priority == 3
    assert made(settings=settings).content_type == "application/x-python-serialize"
    assert made({"serializer": "yaml"}, settings=settings).content_type == "application/x-yaml"
    assert made({"serializer": "yaml"}, options={"serializer": "json"}).content_type == "application/json"
    assert made({"ignore_result": True}, options={"ignore_result": False}).headers["ignore_result"] is False


EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("options", "eta", "text"),
    [
        ({"countdown": 10}, NOW + 10, "2023-11-14T22:13:30+00:00"),
        ({"countdown": 0.5}, NOW + 0.5, "2023-11-14T22:13:20.500000+00:00"),
        ({"countdown": 0}, None, None),
        ({"countdown": -5}, None, None),
        ({"countdown": 10, "eta": datetime(2030, 1, 1)}, NOW + 10, "2023-11-14T22:13:30+00:00"),
        ({"eta": datetime(2023, 11, 14, 22, 13, 30)}, NOW + 10, "2023-11-14T22:13:30+00:00"),
        ({"eta": datetime(2023, 11, 15, 0, 13, 30, tzinfo=EAST)}, NOW + 10, "2023-11-15T00:13:30+02:00"),
        ({"eta": "2023-11-14T22:13:30"}, NOW + 10, "2023-11-14T22:13:30+00:00"),
        ({"eta": timedelta(seconds=10)}, NOW + 10, "2023-11-14T22:13:30+00:00"),
    ],
)
def test_when_it_runs_is_in_the_header_and_for_the_broker(options, eta, text):
    message = made(options=options)
    assert message.eta == eta
    assert message.headers["eta"] == text


@pytest.mark.parametrize(
    ("expires", "text"),
    [
        (10, "2023-11-14T22:13:30+00:00"),
        (-1.5, "2023-11-14T22:13:18.500000+00:00"),
        (timedelta(minutes=1), "2023-11-14T22:14:20+00:00"),
        (datetime(2023, 11, 14, 22), "2023-11-14T22:00:00+00:00"),
        (datetime(2023, 11, 15, tzinfo=EAST), "2023-11-15T00:00:00+02:00"),
        ("2023-11-14T22:00:00+01:00", "2023-11-14T21:00:00+00:00"),
    ],
)
def test_expiry_is_an_absolute_moment_on_the_wire(expires, text):
    assert made(options={"expires": expires}).headers["expires"] == text
    assert made({"expires": expires}).headers["expires"] == text


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"countdown": "10"}, TypeError, "countdown must be a number of seconds, not str"),
        ({"countdown": True}, TypeError, "countdown must be a number"),
        ({"countdown": float("inf")}, ValueError, "countdown must be finite"),
        ({"countdown": 1e15}, ValueError, "beyond the years"),
        ({"eta": 5}, TypeError, "eta must be a datetime"),
        ({"eta": "tomorrow"}, ValueError, "eta='tomorrow' is no moment"),
        ({"expires": [1]}, TypeError, "expires must be"),
        ({"expires": "soon"}, ValueError, "expires='soon' is no moment"),
        ({"priority": "high"}, TypeError, "priority must be a whole number, not 'high'"),
        ({"priority": 2.0}, TypeError, "priority must be a whole number"),
        ({"priority": True}, TypeError, "priority must be a whole number"),
        ({"priority": -1}, ValueError, "priority must be from 0 to 255"),
        ({"priority": 256}, ValueError, "priority must be from 0 to 255"),
        ({"time_limit": 10, "soft_time_limit": 11}, ValueError, r"soft_time_limit \(11 s\) must not exceed time_limit"),
        ({"time_limit": "10"}, TypeError, "time_limit must be a number"),
        ({"soft_time_limit": 0}, ValueError, "soft_time_limit must be more than 0"),
        ({"headers": ["a"]}, TypeError, "headers must be a dictionary"),
        ({"headers": {1: "a"}}, TypeError, "headers must be a dictionary with text for keys"),
        ({"headers": {"a": [datetime(2023, 1, 1)]}}, EncodeError, r"headers\['a'\]\[0\]: <class 'datetime.datetime'>"),
        ({"stamped_headers": ["a"], "a": object()}, EncodeError, r"stamps\['a'\]\[0\]: <class 'object'>"),
        ({"shadow": 5}, TypeError, "shadow must be text, not int"),
        ({"key": b"x"}, TypeError, "key must be text"),
        ({"argsrepr": "\ud800"}, ValueError, "argsrepr has half of a surrogate pair"),
        ({"serializer": "jsn"}, ImproperlyConfigured, "jsn"),
        ({"compression": "zip"}, ImproperlyConfigured, "no compression is named 'zip'"),
    ],
)
def test_a_bad_option_is_an_error_that_names_it(options, error, says):
    with pytest.raises(error, match=says):
        made(options=options)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ({"id": "x" * 256}, ValueError, "task_id is 256 bytes long, the limit is 255"),
        ({"id": "é" * 128}, ValueError, "task_id is 256 bytes long"),
        ({"id": ""}, TypeError, "task_id must be text"),
        ({"id": 5}, TypeError, "task_id must be text, not 5"),
        ({"id": "a\x00b"}, ValueError, "task_id has a NUL"),
        ({"id": "a\ud800"}, ValueError, "task_id has half of a surrogate pair"),
        ({"group_id": "x" * 256}, ValueError, "group_id is 256 bytes long"),
        ({"task": ""}, TypeError, "the task's name must be text"),
        ({"args": "abc"}, TypeError, "args must be a list or tuple, not str"),
        ({"args": {"a": 1}}, TypeError, "args must be a list or tuple, not dict"),
        ({"kwargs": {1: 2}}, TypeError, "kwargs must have text for keys, not 1"),
    ],
)
def test_a_bad_call_is_an_error_that_says_why(call, error, says):
    with pytest.raises(error, match=says):
        made(**call)


def test_ids_of_any_script_and_up_to_the_limit_are_fine():
    for id in ("x" * 255, "é" * 127, "задача 1", "a\nb"):
        assert made(id=id).headers["id"] == id


class Foo:
    pass


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"args": [1, {"x": [Foo()]}]}, r"proj.add: not serializable as json: args\[1\]\['x'\]\[0\]: <class '.*Foo'>"),
        ({"kwargs": {"when": {1}}}, r"kwargs\['when'\]: <class 'set'>; pass a list"),
        ({"callbacks": [{"task": "a", "args": [Foo()]}]}, r"callbacks\[0\]\['args'\]\[0\]: <class '.*Foo'>"),
        ({"chord": {"task": "a", "options": {"x": Foo()}}}, r"chord\['options'\]\['x'\]: <class '.*Foo'>"),
    ],
)
def test_what_cannot_be_serialized_is_named_by_its_place_in_the_call(call, says):
    with pytest.raises(EncodeError, match=says) as caught:
        made(**call)
    assert isinstance(caught.value.__cause__, TypeError)


def test_arguments_that_nest_too_deep_or_contain_themselves_are_refused():
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(EncodeError, match="more than 100 deep"):
        made(args=(deep,))
    with pytest.raises(EncodeError, match="more than 100 deep"):
        made(args=(deep,), options={"serializer": "msgpack"})
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodeError, match="contains itself"):
        made(args=circle)


def test_a_body_beyond_the_limit_is_refused_however_well_it_compresses():
    limit = conf(max_message_size=10_000)
    assert made(args=("x" * 9_900,), settings=limit)
    for options in ({}, {"compression": "gzip"}):
        with pytest.raises(EncodeError, match=r"max_message_size is 10000"):
            made(args=("x" * 10_000,), settings=limit, options=options)


def test_compression_is_named_in_the_header():
    message = made(args=["x" * 1000], options={"compression": "zlib"})
    assert message.headers["compression"] == "application/x-gzip"
    assert len(message.body) < 200
    assert json.loads(decompress(message.body, "application/x-gzip", 10_000))[0] == ["x" * 1000]
    assert made(settings=conf(task_compression="bzip2")).headers["compression"] == "application/x-bz2"
    assert "compression" not in made().headers


def test_what_would_look_like_a_bomb_is_sent_as_it_is():
    message = made(args=["x" * 3_000_000], settings=conf(max_message_size=1 << 23), options={"compression": "gzip"})
    assert "compression" not in message.headers
    assert len(message.body) > 3_000_000


def test_reprs_are_bounded():
    message = made(args=("x" * 100_000,), kwargs={"a": {"b": {"c": {"d": 1}}}}, settings=conf(task_repr_maxlevels=2))
    assert len(message.headers["argsrepr"]) < 1100
    assert message.headers["kwargsrepr"] == "{'a': {'b': {...}}}"


def test_options_that_the_core_does_not_know_go_to_the_transport():
    message = made({"delivery_mode": 1}, options={"MessageGroupId": "g", "retry": True, "countdown": 1})
    assert message.options == {"delivery_mode": 1, "MessageGroupId": "g"}


def test_a_retry_and_a_replay_are_not_duplicates_but_a_second_sending_is():
    assert made().dedup == made().dedup
    assert len({made().dedup, made(retries=1).dedup, made(generation=1).dedup}) == 3


def test_arguments_may_be_any_sequence_and_mapping():
    message = made(args=range(3), kwargs=SimpleMapping(a=1))
    assert json.loads(message.body)[:2] == [[0, 1, 2], {"a": 1}]


class SimpleMapping:
    def __init__(self, **values: Any) -> None:
        self._values = values

    def keys(self) -> Any:
        return self._values.keys()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)


def test_pickle_is_sent_as_celery_sends_it():
    message = made(args=(1, {2}), options={"serializer": "pickle"})
    assert (message.content_type, message.content_encoding) == ("application/x-python-serialize", "binary")
    accepted = SERIALIZERS.accepting(["pickle"])
    found = SERIALIZERS.loads(message.body, message.content_type, message.content_encoding, accepted)
    assert found[0] == (1, {2})
