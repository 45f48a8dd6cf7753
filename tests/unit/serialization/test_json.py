"""JSON as Celery lays it out: the layouts below were taken from kombu 5.7."""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections import namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.serialization.json import dumps, loads, plain, register_type
from umbel.serialization.jsontypes import Types, standard_types

EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2020, 1, 2, 3, 4, 5, 6), '{"__type__": "datetime", "__value__": "2020-01-02T03:04:05.000006"}'),
        (
            datetime(2020, 1, 2, 3, 4, 5, tzinfo=EAST),
            '{"__type__": "datetime", "__value__": "2020-01-02T03:04:05+02:00"}',
        ),
        (date(2020, 1, 2), '{"__type__": "date", "__value__": "2020-01-02"}'),
        (time(1, 2, 3), '{"__type__": "time", "__value__": "01:02:03"}'),
        (Decimal("1.10"), '{"__type__": "decimal", "__value__": "1.10"}'),
        (
            uuid.UUID(int=5),
            '{"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005"}}',
        ),
        (b"abc", '{"__type__": "bytes", "__value__": "abc"}'),
        (b"\xff\x00", '{"__type__": "base64", "__value__": "/wA="}'),
        ([1, "é", None, True, 1.5], '[1, "\\u00e9", null, true, 1.5]'),
        ({"a": [{}]}, '{"a": [{}]}'),
        (1 << 70, "1180591620717411303424"),
        ("\ud800\x00", '"\\ud800\\u0000"'),
        ("text", '"text"'),
    ],
)
def test_values_are_laid_out_as_celery_does_and_come_back(value, written):
    assert dumps(value) == written.encode()
    assert loads(written.encode()) == value


def test_tuples_and_numbers_of_enums_become_what_json_has():
    pair = namedtuple("pair", "a b")
    number = IntEnum("number", {"three": 3})
    assert dumps((pair(1, 2), number.three, {1: 2, None: 3})) == b'[[1, 2], 3, {"1": 2, "null": 3}]'


def test_the_uuid_of_older_kombu_is_read():
    found = loads(b'{"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005", "version": 4}}')
    assert found == uuid.UUID(int=5)


def test_not_a_number_passes_as_in_celery():
    assert dumps([float("inf")]) == b"[Infinity]"
    assert math.isnan(loads(dumps([float("nan")]))[0])


def test_an_object_says_itself_how_it_is_written():
    class Signed:
        def __json__(self):
            return {"at": date(2020, 1, 2)}

    assert loads(dumps([Signed()])) == [{"at": date(2020, 1, 2)}]


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), timedelta(1), {(1, 2): 3}, bytearray(b"x"), Enum("E", "a").a, iter([])], ids=repr
)
def test_what_celery_refuses_is_refused(value):
    with pytest.raises(TypeError):
        dumps(value)


def test_only_the_two_keys_together_mean_a_type():
    for harmless in ({"__type__": "datetime"}, {"__type__": "date", "__value__": "2020-01-02", "more": 1}):
        assert loads(json.dumps([harmless]).encode()) == [harmless]


@pytest.mark.parametrize("marker", ["nope", 5, None, ["datetime"], {"a": 1}])
def test_an_unknown_type_is_an_error(marker):
    with pytest.raises(ValueError, match="unknown type"):
        loads(json.dumps({"__type__": marker, "__value__": 1}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[1] x", b"nope", b"\xff", b'"\xed\xa0\x80"', b"[1]\x00"])
def test_bytes_that_are_not_json_are_an_error(data):
    with pytest.raises(ValueError, match=r".+"):
        loads(data)


def test_space_around_a_value_does_not_matter():
    assert loads(b' \n{"a": 1}\t') == {"a": 1}


def test_types_of_ones_own_are_written_and_read():
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    class Point3(Point):
        pass

    register_type(Point, "test-point", lambda point: [point.x], lambda found: Point(found[0]))
    found = loads(dumps({"at": Point3(7)}))["at"]
    assert type(found) is Point
    assert found.x == 7
    with pytest.raises(TypeError, match="needs a decoder"):
        register_type(Point, "test-point", lambda point: [point.x])


def test_a_type_without_a_marker_is_written_bare():
    types = Types()
    types.register(range, None, list)
    assert types.write(range(3)) == [0, 1, 2]


def test_the_lazy_texts_of_django_are_written_as_text():
    promise = type("Promise", (), {"__module__": "django.utils.functional", "__str__": lambda self: "hallo"})
    assert standard_types().write(type("__proxy__", (promise,), {})()) == "hallo"


def test_one_object_encoded_by_two_threads_at_a_time_is_no_circle():
    entered = threading.Barrier(2, timeout=10)

    class Slow:
        def __json__(self):
            entered.wait()  # both threads are inside the list now
            return 1

    shared = [Slow()]
    written = []
    threads = [threading.Thread(target=lambda: written.append(dumps(shared))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [b"[1]", b"[1]"]


def test_a_circle_ends_as_an_error():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(RecursionError):
        dumps(circle)


def test_plain_json_takes_no_extension():
    assert plain({"a": [1, "b", None]}) == b'{"a": [1, "b", null]}'
    with pytest.raises(TypeError):
        plain([date(2020, 1, 2)])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_the_bytes_and_values_are_those_of_the_standard_library(value):
    assert dumps(value) == json.dumps(value).encode()
    if '"__type__"' not in json.dumps(value):
        assert loads(dumps(value)) == value


@given(
    st.datetimes(timezones=st.none() | st.just(timezone.utc))  # noqa: UP017
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
)
def test_extensions_come_back_as_they_were(value):
    assert loads(dumps([value, {"x": value}])) == [value, {"x": value}]
