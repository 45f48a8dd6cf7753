from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from umbel.serialization.guards import may_nest_deeper, nests_deeper
from umbel.serialization.json import dumps


def nest(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_the_limit_itself_is_allowed_and_one_more_is_not():
    assert not nests_deeper(nest(100), 100)
    assert nests_deeper(nest(101), 100)
    assert not nests_deeper(7, 0)
    assert nests_deeper((), 0)


def test_a_circle_is_too_deep_and_does_not_hang():
    circle: list[object] = [1]
    circle.append(circle)
    assert nests_deeper(circle, 100)


def test_what_is_in_many_places_is_looked_at_once_a_level():
    bomb: list[object] = ["lol"]
    for _ in range(60):
        bomb = [bomb] * 9  # 9 to the power of 60 places
    since = time.monotonic()
    assert not nests_deeper(bomb, 100)
    assert time.monotonic() - since < 1


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
)
def test_few_brackets_are_never_deep(value):
    for limit in (1, 2, 3):
        if not may_nest_deeper(dumps(value), limit):
            assert not nests_deeper(value, limit)
