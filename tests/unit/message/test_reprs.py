from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.message.reprs import LENGTH, short_repr


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


class Rude:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((), "()"),
        ((1, "a"), "(1, 'a')"),
        ((1,), "(1,)"),
        ({"a": 1, "b": None}, "{'a': 1, 'b': None}"),
        ((b"abc", {2}, frozenset(), [1.5]), "(b'abc', {2}, frozenset(), [1.5])"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{'a': {'b': {'c': {...}}}}"),
        ([[[[[1]]]]], "[[[[...]]]]"),
        ((Broken(),), "(<unrepresentable Broken: RuntimeError>,)"),
        (({Broken(): 1},), "({<unrepresentable Broken: RuntimeError>: 1},)"),
        ((10**5000,), "(<unrepresentable int: ValueError>,)"),
        ((Rude("\udcff\x00é"),), "(\\udcff\\x00é,)"),
    ],
)
def test_values_are_shown_as_celery_shows_them(value, shown):
    assert short_repr(value) == shown


def test_depth_is_as_asked():
    assert short_repr([[[1]]], levels=1) == "[[...]]"
    assert short_repr([[[1]]], levels=2) == "[[[...]]]"


@pytest.mark.parametrize(
    "value",
    [("x" * 10**7,), [list(range(10**6))], {"k" * 3000: "v" * 3000}, (Rude("y" * 10**6),), [["z" * 50] * 10] * 1000],
    ids=["text", "list", "key", "object", "nested"],
)
def test_large_values_are_cut(value):
    shown = short_repr(value)
    assert len(shown) < LENGTH + 60
    assert "..." in shown


def test_a_circle_is_cut():
    circle: list[object] = []
    circle.append(circle)
    assert short_repr(circle) == "[[[[...]]]]"


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
        max_leaves=30,
    )
)
def test_whatever_the_value_its_repr_is_bounded_and_can_be_sent(value):
    shown = short_repr(value, 100)
    assert len(shown) < 200
    assert shown.encode()
    assert "\x00" not in shown
    if "..." not in shown and repr(value).isascii():
        assert shown == repr(value)
