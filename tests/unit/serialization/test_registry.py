from __future__ import annotations

import logging
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import date

import pytest

from umbel.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from umbel.plugins.manager import Plugins
from umbel.serialization.registry import Serializers
from umbel.spec import Serializer

JSON = frozenset({"application/json"})


@pytest.fixture
def serializers() -> Serializers:
    return Serializers(Plugins().serializers)


class Foo:
    pass


class Wrapped:
    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __json__(self) -> dict[str, object]:
        return {"inner": self.inner}


@dataclass
class Holder:
    y: object


def test_json_is_there_without_any_plugin():
    serializers = Serializers()
    assert serializers.dumps([1], "json") == ("application/json", "utf-8", b"[1]")
    assert serializers.loads(b"[1]", "application/json", "utf-8", JSON) == [1]


def test_importing_the_registry_loads_no_plugin_machinery():
    script = (
        "import sys, umbel.serialization.registry, umbel.message.encode, umbel.message.decode, umbel.routing.table, "
        "umbel.plugins.manager, umbel.signals\n"
        "unwanted = {'pluggy', 'importlib.metadata', 'logging', 'pickle', 'yaml', 'msgpack', 'asyncio', 'zlib'}\n"
        "print(sorted(unwanted & set(sys.modules)))"
    )
    # -S: what the environment's own .pth files import is none of our doing.
    path = [entry for entry in sys.path if entry]
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {path!r}\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "content_type", "content_encoding"),
    [
        ("json", "application/json", "utf-8"),
        ("pickle", "application/x-python-serialize", "binary"),
        ("yaml", "application/x-yaml", "utf-8"),
        ("msgpack", "application/x-msgpack", "binary"),
    ],
)
def test_each_serializer_has_the_names_of_celery_and_brings_values_back(
    serializers, name, content_type, content_encoding
):
    value = {"a": [1, "é", None, 1.5, True], "b": {"c": []}}
    written = serializers.dumps(value, name)
    assert written[:2] == (content_type, content_encoding)
    assert serializers.content_type(name) == content_type
    assert serializers.content_type(content_type) == content_type
    assert serializers.accepting([name]) == serializers.accepting([content_type]) == {content_type}
    assert serializers.loads(written[2], content_type, content_encoding, {content_type}) == value


class Signature(dict):
    """What canvas puts into messages is a dictionary of a class of its own."""


@pytest.mark.parametrize("name", ["json", "pickle", "yaml", "msgpack"])
def test_each_serializer_writes_dictionaries_of_a_class_of_its_own(serializers, name):
    content_type, encoding, data = serializers.dumps([Signature(task="add", args=(1, 2))], name)
    (found,) = serializers.loads(data, content_type, encoding, {content_type})
    assert found["task"] == "add"
    assert list(found["args"]) == [1, 2]


def test_yaml_keeps_the_order_and_reads_nothing_but_data(serializers):
    content_type, encoding, data = serializers.dumps({"z": 1, "a": 2}, "yaml")
    assert list(serializers.loads(data, content_type, encoding, {content_type})) == ["z", "a"]
    with pytest.raises(DecodeError, match="could not determine a constructor"):
        serializers.loads(b"!!python/object/apply:os.getpid []", content_type, encoding, {content_type})


@pytest.mark.parametrize("name", ["pickle", "yaml", "msgpack"])
def test_what_is_not_named_is_not_read(serializers, name):
    content_type, encoding, data = serializers.dumps([1], name)
    with pytest.raises(ContentDisallowed, match=r"accept_content allows application/json"):
        serializers.loads(data, content_type, encoding, serializers.accepting(["json"]))
    with pytest.raises(ContentDisallowed, match="allows nothing"):
        serializers.loads(data, content_type, encoding, frozenset())


def test_an_unknown_content_type_is_not_accepted(serializers):
    for odd in ("", "text/html", "x" * 1000, "json"):
        with pytest.raises(ContentDisallowed):
            serializers.loads(b"[]", odd, "utf-8", {"application/x-yaml"})


def test_a_content_type_may_have_parameters_and_capitals(serializers):
    assert serializers.loads(b"[1]", "Application/JSON; charset=utf-8", "UTF-8", JSON) == [1]


def test_accepting_what_runs_code_is_logged_once(serializers, caplog):
    with caplog.at_level(logging.WARNING):
        serializers.accepting(["json", "msgpack"])
        assert caplog.text == ""
        serializers.accepting(["pickle"])
        serializers.accepting(["pickle", "application/x-python-serialize"])
    assert len(caplog.records) == 1
    assert "pickle" in caplog.text


def test_a_name_that_nobody_has_is_an_error_with_the_known_ones(serializers):
    with pytest.raises(ImproperlyConfigured, match=r"jsn.*json"):
        serializers.dumps([], "jsn")
    with pytest.raises(ImproperlyConfigured, match=r"no serializer is named 'nope'; known: json"):
        Serializers().dumps([], "nope")
    with pytest.raises(ImproperlyConfigured, match="named by a string"):
        Serializers().named(5)


def test_a_serializer_of_ones_own_is_used_by_name_and_content_type():
    serializers = Serializers()
    mine = Serializer(name="mine", content_type="x/mine", dumps=lambda value: repr(value).encode(), loads=len)
    serializers.register(mine)
    assert serializers.dumps("abc", "mine") == ("x/mine", "utf-8", b"'abc'")
    assert serializers.loads(b"abc", "x/mine", "utf-8", {"x/mine"}) == 3


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([{"x": Foo()}], r"value\[0\]\['x'\]: <class '.*Foo'>"),
        ({"a": [1, {2, 3}]}, r"value\['a'\]\[1\]: <class 'set'>; pass a list"),
        ({"a": {(1, 2): 3}}, r"value\['a'\]: a key of <class 'tuple'>"),
        ([Wrapped([Foo()])], r"value\[0\]\.__json__\(\)\['inner'\]\[0\]: <class '.*Foo'>; give it a __json__"),
        (Holder(1), r"value: <class '.*Holder'>"),
        ({"k" * 100: Foo()}, r"value\['k{39}\.\.\.\]: <class"),
    ],
)
def test_the_error_names_the_way_to_the_culprit(serializers, value, path):
    with pytest.raises(EncodeError, match=path) as caught:
        serializers.dumps(value, "json")
    assert isinstance(caught.value.__cause__, TypeError)


def test_pickle_names_the_attribute(serializers):
    with pytest.raises(EncodeError, match=r"value\[0\]\.y: <class '_thread.lock'>"):
        serializers.dumps([Holder(threading.Lock())], "pickle")


def test_other_serializers_name_the_culprit_too(serializers):
    for name in ("yaml", "msgpack"):
        with pytest.raises(EncodeError, match=rf"not serializable as {name}: value\[1\]: <class '.*Foo'> \("):
            serializers.dumps([1, Foo()], name)


def test_the_culprits_value_is_not_shown(serializers):
    class Secretive:
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(EncodeError) as caught:
        serializers.dumps({"password": Secretive()}, "json")
    assert "hunter2" not in str(caught.value)


def test_a_method_that_raises_is_itself_the_culprit(serializers):
    class Broken:
        def __json__(self):
            raise RuntimeError("no")

    with pytest.raises(EncodeError, match=r"value\[0\]: <class '.*Broken'>"):
        serializers.dumps([Broken()], "json")


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_what_contains_itself_or_is_too_deep_to_write_is_an_error(serializers, name):
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodeError, match="nested too deep"):
        serializers.dumps(deep, name)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("json", b"["),
        ("json", b"\xff\xfe"),
        ("json", b'{"__type__": "decimal", "__value__": "x"}'),
        ("json", b'{"__type__": "uuid", "__value__": 5}'),
        ("json", b'{"__type__": "bytes", "__value__": 5}'),
        ("json", b'{"__type__": "base64", "__value__": "a"}'),
        ("json", b"9" * 5000),
        ("json", b"[" * 100_000),
        ("yaml", b"[" * 5000),
        ("yaml", b"a: b: c"),
        ("msgpack", b"\x91" * 100_000),
        ("msgpack", b"\xc1"),
        ("pickle", b"nope"),
        ("pickle", b""),
    ],
)
def test_what_cannot_be_read_is_a_decode_error(serializers, name, data):
    content_type = serializers.content_type(name)
    with pytest.raises(DecodeError):
        serializers.loads(data, content_type, serializers.named(name).content_encoding, {content_type})


def test_depth_is_capped_for_every_serializer(serializers):
    deep: object = 1
    for _ in range(101):
        deep = [deep]
    for name in ("json", "yaml", "msgpack", "pickle"):
        content_type, encoding, data = serializers.dumps(deep, name)
        with pytest.raises(DecodeError, match="more than 100 deep"):
            serializers.loads(data, content_type, encoding, {content_type})
        assert serializers.loads(data, content_type, encoding, {content_type}, max_depth=101) == deep


def test_brackets_in_texts_are_not_depth(serializers):
    value = ["[{" * 500, date(2020, 1, 2)]
    assert serializers.loads(serializers.dumps(value, "json")[2], "application/json", "utf-8", JSON) == value


def test_text_in_another_encoding_is_read_and_an_odd_one_refused(serializers):
    assert serializers.loads('["é"]'.encode("latin-1"), "application/json", "ISO-8859-1", JSON) == ["é"]
    assert serializers.loads('["é"]'.encode("utf-16"), "application/json", "utf-16", JSON) == ["é"]
    assert serializers.loads('["é"]'.encode(), "application/json", "Utf_8", JSON) == ["é"]
    for odd in ("idna", "zlib", "nope", "x" * 100, "../x"):
        with pytest.raises(DecodeError, match="unknown content encoding"):
            serializers.loads(b"[]", "application/json", odd, JSON)
    with pytest.raises(DecodeError, match="not readable as utf-16"):
        serializers.loads(b"[", "application/json", "utf-16", JSON)
