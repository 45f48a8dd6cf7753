from __future__ import annotations

import json
import pickle
import time
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from umbel.exceptions import InvalidMessage
from umbel.message import decode as module
from umbel.message.call import Call
from umbel.message.context import HEADERS, Context
from umbel.message.decode import decode
from umbel.message.encode import encode
from umbel.plugins.manager import Plugins
from umbel.routing.destination import Destination
from umbel.serialization.registry import Serializers
from umbel.spec import Delivery, Message

SERIALIZERS = Serializers(Plugins().serializers)
JSON = SERIALIZERS.accepting(["json"])
LIMIT = 1024 * 1024
CONF = SimpleNamespace(
    task_serializer="json", task_compression=None, task_default_priority=None, max_message_size=LIMIT
)
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def delivered(body: Any = None, headers: Any = None, **fields: Any) -> Delivery:
    data = body if isinstance(body, bytes) else json.dumps([[], {}, EMBED] if body is None else body).encode()
    if headers is None:
        headers = {"task": "add", "id": "id-1"}
    message = Message(queue="celery", body=data, id="envelope", headers=headers, **fields)
    return Delivery(message=message, receipt=1, attempt=2)


def decoded(delivery: Delivery, accept: frozenset[str] = JSON, **options: Any) -> Context:
    return decode(delivery, SERIALIZERS, accept, **{"max_size": LIMIT, "hostname": "w1@host", **options})


def refused(delivery: Delivery, says: str, accept: frozenset[str] = JSON, **options: Any) -> None:
    with pytest.raises(InvalidMessage, match=says):
        decoded(delivery, accept, **options)


def judged(delivery: Delivery, accept: frozenset[str] = JSON) -> tuple[Context | None, str]:
    try:
        return decoded(delivery, accept), ""
    except InvalidMessage as exc:
        return None, str(exc)


def sent(serializer: str = "json", **call: Any) -> Message:
    options = {"serializer": serializer, **call.pop("options", {})}
    return encode(
        Call(task="proj.add", id="id-1", options=options, **call),
        {},
        Destination("celery", "", "celery"),
        SERIALIZERS,
        CONF,
        now=1_700_000_000.0,
        origin="gen1@host",
        reply_to="oid",
    )


def test_what_was_sent_is_the_request_of_the_task():
    message = sent(
        args=(1, "é"),
        kwargs={"x": [None]},
        retries=2,
        root_id="root",
        parent_id="parent",
        group_id="group",
        group_index=3,
        callbacks=[{"task": "a"}],
        errbacks=[{"task": "b"}],
        chain=[{"task": "c"}],
        chord={"task": "d"},
        generation=4,
        resent=True,
        options={"headers": {"tenant": "x"}, "countdown": 10, "expires": 20, "time_limit": 5, "ignore_result": True},
    )
    delivery = Delivery(message=message, receipt=None)
    request = decoded(delivery)
    assert (request.task, request.id, request.args, request.kwargs) == ("proj.add", "id-1", [1, "é"], {"x": [None]})
    assert (request.root_id, request.parent_id, request.group, request.group_index) == ("root", "parent", "group", 3)
    assert (request.retries, request.timelimit, request.time_limit) == (2, [5, None], 5)
    assert (request.eta, request.expires) == ("2023-11-14T22:13:30+00:00", "2023-11-14T22:13:40+00:00")
    assert (request.callbacks, request.errbacks) == ([{"task": "a"}], [{"task": "b"}])
    assert (request.chain, request.chord) == ([{"task": "c"}], {"task": "d"})
    assert (request.umbel_generation, request.umbel_resent, request.ignore_result) == (4, True, True)
    assert request.headers == {"tenant": "x"}
    assert (request.delivery, request.hostname, request.called_directly) == (delivery, "w1@host", False)
    assert (request.reply_to, request.correlation_id, request.utc) == ("oid", "id-1", True)
    assert message.headers["tenant"] == "x"  # what came in is as it was


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_every_serializer_brings_the_call_back(serializer):
    message = sent(serializer, args=(1, [2]), kwargs={"x": "y"}, callbacks=[{"task": "a"}])
    request = decoded(Delivery(message=message, receipt=None), SERIALIZERS.accepting([serializer]))
    assert (list(request.args), request.kwargs, request.callbacks) == ([1, [2]], {"x": "y"}, [{"task": "a"}])
    with pytest.raises(InvalidMessage, match="is not accepted"):
        decoded(Delivery(message=message, receipt=None), frozenset({"x/none"}))


def test_a_request_has_nothing_of_the_request_before():
    decoded(delivered([[1], {"a": 1}, {**EMBED, "chain": [{"task": "x"}]}], {"task": "a", "id": "1", "u": 1}))
    request = decoded(delivered())
    assert (request.args, request.kwargs, request.chain, request.headers) == ([], {}, None, {})


def test_the_users_headers_cannot_pass_for_fields():
    forged = {
        "delivery": 1,
        "args": [9],
        "hostname": "x",
        "_task": 1,
        "called_directly": True,
        "headers": 5,
        "outer": 1,
    }
    request = decoded(delivered(headers={"task": "add", "id": "1", **forged}))
    assert request.headers == forged
    assert (request.args, request.hostname, request.called_directly) == ([], "w1@host", False)
    assert isinstance(request.delivery, Delivery)
    assert request._task is None
    assert request.outer is None


def test_the_body_cannot_set_other_fields_than_its_own():
    request = decoded(delivered([[], {}, {**EMBED, "id": "forged", "delivery": 5, "_task": 1}]))
    assert (request.id, request._task) == ("id-1", None)


def test_ids_of_any_script_are_fine_and_an_embed_may_be_missing():
    request = decoded(delivered([[], {}, None], {"task": "add", "id": "é" * 127, "group": "задача\n"}))
    assert (request.id, request.group, request.chain) == ("é" * 127, "задача\n", None)


def test_a_message_of_few_headers_has_the_defaults():
    request = decoded(delivered())
    assert (request.retries, request.root_id, request.timelimit, request.stamps) == (0, "id-1", None, None)
    nulls = {"retries": None, "ignore_result": None, "replaced_task_nesting": None, "lang": None, "root_id": None}
    request = decoded(delivered(headers={"task": "add", "id": "1", **nulls}))
    assert (request.retries, request.ignore_result, request.replaced_task_nesting, request.lang) == (0, False, 0, "py")
    assert request.root_id == "1"


def test_every_header_of_the_protocol_has_its_types():
    assert set(module._KINDS) == HEADERS


@pytest.mark.parametrize("name", sorted(HEADERS))
@pytest.mark.parametrize("value", [b"x", (), 1.5, {1: 2}, [], "", -1, True, None], ids=repr)
def test_a_header_of_any_type_is_read_or_refused(name, value):
    request, reason = judged(delivered(headers={"task": "add", "id": "1", name: value}))
    assert request is None or isinstance(request.retries, int)
    assert request is not None or name in reason or (name == "compression" and value)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "headers must be a map, not list"),
        ({"task": "add"}, "header 'id' is missing"),
        ({"task": "add", "id": 5}, "'id' must be str, not int"),
        ({"task": "add", "id": ""}, "'id' is empty"),
        ({"task": "add", "id": "x" * 256}, "'id' is 256 bytes long, the limit is 255"),
        ({"task": "add", "id": "é" * 128}, "'id' is 256 bytes long"),
        ({"task": "add", "id": "a\x00"}, "'id' has a NUL"),
        ({"task": "add", "id": "a\udc00"}, "'id' has half of a surrogate pair"),
        ({"task": "add", "id": "1", "group": "x" * 256}, "'group' is 256 bytes long"),
        ({"task": "add", "id": "1", "root_id": "x\x00"}, "'root_id' has a NUL"),
        ({"task": "", "id": "1"}, "the task's name is empty"),
        ({"task": None, "id": "1"}, "'task' must be str, not NoneType"),
        ({"task": "add", "id": "1", "retries": "3"}, "'retries' must be int or null, not str"),
        ({"task": "add", "id": "1", "retries": True}, "'retries' must be int or null, not bool"),
        ({"task": "add", "id": "1", "retries": -1}, "'retries' is negative"),
        ({"task": "add", "id": "1", "timelimit": [1]}, r"'timelimit' must be \[hard, soft\], not 1 values"),
        ({"task": "add", "id": "1", "timelimit": ["1", None]}, "'timelimit' must be .* seconds or null"),
        ({"task": "add", "id": "1", "timelimit": [float("nan"), None]}, "'timelimit' must be"),
        ({"task": "add", "id": "1", "timelimit": [-1, None]}, "'timelimit' must be"),
        ({"task": "add", "id": "1", "eta": "soon"}, "'eta' is no moment in ISO 8601: 'soon'"),
        ({"task": "add", "id": "1", "expires": "x" * 10_000}, "'expires' is no moment"),
        ({"task": "add", "id": "1", 5: "x"}, "a header has a name that is not text: int"),
        ({"task": "add", "id": "1", "compression": "zip"}, "unknown compression 'zip'"),
        ({}, "no header 'task', and a body that is a list of 3: this is no task message"),
    ],
)
def test_poison_in_the_headers_is_named(headers, says):
    refused(delivered(headers=headers), says)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not readable as json"),
        (b"\xff\xfe", "not readable as json: UnicodeDecodeError"),
        (b'{"a": ', "not readable as json: JSONDecodeError"),
        (b"[" * 200_000, "nested too deep"),
        (b"[" * 150 + b"]" * 150, "nested more than 100 deep"),
        (b'[[{"__type__": "x", "__value__": 1}], {}, {}]', "a value of the unknown type 'x'"),
        ([], "the body must be a list of args, kwargs and embed, not a list of 0"),
        ([[], {}], "not a list of 2"),
        ([[], {}, {}, {}], "not a list of 4"),
        ("text", "not str"),
        ({"a": 1}, "the body must be .*, not dict"),
        (b"null", "not null"),
        ([{}, {}, {}], "args must be a list, not dict"),
        (["ab", {}, {}], "args must be a list, not str"),
        ([None, {}, {}], "args must be a list, not null"),
        ([[], [], {}], "kwargs must be a map, not a list of 0"),
        ([[], {}, []], "embed must be a map, not a list of 0"),
        ([[], {}, {"chain": {"task": "a"}}], "chain must be a list of signatures, not dict"),
        ([[], {}, {"callbacks": [5]}], "callbacks has something that is no signature: int"),
        ([[], {}, {"errbacks": [{}]}], "errbacks has a signature whose task is null"),
        ([[], {}, {"chord": [1]}], "chord has something that is no signature: a list of 1"),
        ([[], {}, {"chord": {"task": 5}}], "chord has a signature whose task is int"),
    ],
)
def test_poison_in_the_body_is_named(body, says):
    refused(delivered(body), says)


def test_arguments_need_names_that_are_text():
    everything = SERIALIZERS.accepting(["pickle"])
    body = pickle.dumps(([], {1: 2}, {}))
    poison = delivered(body, content_type="application/x-python-serialize", content_encoding="binary")
    refused(poison, "kwargs must have text for keys, not int", everything)


def test_a_body_beyond_the_limit_is_not_read():
    refused(delivered(b" " * (LIMIT + 1)), f"the body has {LIMIT + 1} bytes, max_message_size is {LIMIT}")
    refused(Delivery(message=Message(queue="q", body="text", id="1"), receipt=None), "the body must be bytes")


def test_a_compressed_body_is_inflated_up_to_the_limit():
    headers = {"task": "add", "id": "1", "compression": "application/x-gzip"}
    body = json.dumps([[1], {}, EMBED]).encode()
    assert decoded(delivered(zlib.compress(body), headers)).args == [1]
    long = json.dumps([["xyz" * 1000], {}, EMBED]).encode()
    refused(delivered(zlib.compress(long), headers), "inflates beyond 2000 bytes", max_size=2000)
    refused(delivered(zlib.compress(bytes(5_000_000)), headers), "inflates beyond 1048576 bytes")
    refused(delivered(zlib.compress(bytes(5_000_000)), headers), "100 times its size", max_size=1 << 30)
    refused(delivered(body, headers), "not readable as gzip")


def test_what_may_not_be_read_is_not_inflated_either():
    headers = {"task": "add", "id": "1", "compression": "application/x-gzip"}
    refused(delivered(b"not compressed at all", headers, content_type="application/x-yaml"), "is not accepted")
    body = zlib.compress(json.dumps([[], {}, EMBED]).encode())
    assert decoded(delivered(body, headers, content_type="application/json; charset=utf-8")).args == []


def test_odd_content_types_are_refused():
    for odd in (None, 5, b"application/json", ["application/json"]):
        refused(delivered(content_type=odd), "content type and content encoding must be text")
        refused(delivered(content_encoding=odd), "content type and content encoding must be text")
    refused(delivered(content_encoding="ebcdic"), "unknown content encoding")


def test_protocol_1_is_read():
    body = {
        "task": "add",
        "id": "old",
        "args": [1],
        "kwargs": {"x": 2},
        "retries": 1,
        "eta": "2030-01-01T00:00:00",
        "expires": None,
        "utc": True,
        "callbacks": [{"task": "a"}],
        "errbacks": None,
        "timelimit": [10, 5],
        "taskset": "group-1",
        "chord": {"task": "d"},
    }
    request = decoded(delivered(body, {"x-mine": 1}))
    assert (request.task, request.id, request.root_id) == ("add", "old", "old")
    assert (request.args, request.kwargs, request.retries, request.timelimit) == ([1], {"x": 2}, 1, [10, 5])
    assert (request.group, request.eta, request.headers) == ("group-1", "2030-01-01T00:00:00", {"x-mine": 1})
    assert (request.callbacks, request.chord, request.called_directly) == ([{"task": "a"}], {"task": "d"}, False)
    assert request.hostname == "w1@host"


def test_protocol_1_may_be_in_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "Etc/GMT-3")
    time.tzset()
    request = decoded(delivered({"task": "a", "id": "1", "eta": "2030-01-01T03:00:00", "utc": False}, {}))
    assert (request.eta, request.utc) == ("2030-01-01T00:00:00+00:00", False)
    monkeypatch.undo()
    time.tzset()


def test_headers_of_protocol_2_may_come_with_a_body_of_protocol_1():
    request = decoded(delivered({"args": [1], "kwargs": {"x": 2}, "chord": {"task": "d"}, "task": "other"}))
    assert (request.task, request.args, request.kwargs, request.chord) == ("add", [1], {"x": 2}, {"task": "d"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"task": "add"}, "neither a header 'task' nor a body that names task and id"),
        ({"id": "1"}, "neither a header 'task'"),
        ({"task": 5, "id": "1"}, "'task' must be str, not int"),
        ({"task": "a", "id": None}, "header 'id' is missing"),
        ({"task": "a", "id": "1", "retries": "x"}, "'retries' must be int"),
        ({"task": "a", "id": "1", "args": 5}, "args must be a list, not int"),
        ({"task": "a", "id": "1", "expires": "x"}, "'expires' is no moment"),
        ({"task": "a", "id": "1", "taskset": 5}, "'group' must be"),
        ([1, 2, 3], "no header 'task', and a body that is a list of 3"),
        (5, "no header 'task', and a body that is int"),
    ],
)
def test_poison_of_protocol_1_is_named(body, says):
    refused(delivered(body, {}), says)


def test_the_memory_of_shapes_is_bounded():
    for number in range(module.KEPT * 2):
        decoded(delivered(headers={"task": "add", "id": "1", f"x-{number}": 1}))
    assert len(module._shapes) <= module.KEPT


EVERYTHING = SERIALIZERS.accepting(["json", "msgpack", "yaml"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.text(st.characters(codec=None, categories=["Cs", "Cc", "L"]), max_size=5)
    | st.binary(max_size=20)
    | st.sampled_from(["2023-01-01", "2023-01-01T00:00:00+00:00", "x" * 300, "application/x-gzip", "gzip", "xz"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(sorted(HEADERS)) | st.text(max_size=10) | st.integers()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["task", "id", "args", "kwargs", "chain", "chord", "callbacks", "__type__", "__value__"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
parts = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("callbacks", "errbacks", "chain", "chord", "other"), json_values)
)
bodies = (
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.tuples(json_values, json_values, parts).map(lambda value: json.dumps(value).encode())
    | st.tuples(st.lists(json_values, max_size=2), st.just({}), parts).map(lambda value: json.dumps(value).encode())
)
fuzzed_headers = st.dictionaries(names, values, max_size=6) | st.dictionaries(names, values, max_size=3).map(
    lambda more: {"task": "add", "id": "1", **more}
)


one_changed = st.tuples(names, values).map(lambda pair: {"task": "add", "id": "1", "retries": 0, pair[0]: pair[1]})
nearly_right = st.tuples(st.lists(json_values, max_size=2), st.dictionaries(st.text(max_size=3), json_values), parts)


@settings(max_examples=300, deadline=None)
@given(headers=one_changed | st.just({"task": "add", "id": "1"}), body=nearly_right)
def test_whatever_comes_in_one_thing_wrong_is_a_request_or_poison(headers, body):
    judge(delivered(json.dumps(body).encode(), headers))


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    headers=fuzzed_headers | values,
    body=bodies | bodies.map(zlib.compress),
    content_type=st.sampled_from([*sorted(EVERYTHING), "application/json;x=y", "x"]) | scalars,
    content_encoding=st.sampled_from(["utf-8", "binary", "utf-16"]) | scalars,
)
def test_whatever_comes_in_is_a_request_or_poison(headers, body, content_type, content_encoding):
    judge(delivered(body, headers, content_type=content_type, content_encoding=content_encoding))


def judge(delivery: Delivery) -> None:
    """A request that is whole, or the one error with a reason, and nothing else."""
    request, reason = judged(delivery, EVERYTHING)
    event("request" if request else "poison")
    if request is None:
        assert reason
        return
    assert type(request.task) is str
    assert 0 < len(request.id.encode()) <= 255
    assert type(request.args) in (list, tuple)
    assert type(request.kwargs) is dict
    assert all(type(name) is str for name in request.kwargs)
    assert type(request.headers) is dict
    assert type(request.retries) is int
    assert request.retries >= 0
    assert request.chain is None or all(type(step["task"]) is str for step in request.chain)
    assert "task" not in delivery.message.headers or not set(request.headers) & HEADERS
