"""Arguments are checked before anything is sent."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from umbel.task.arguments import Arguments

if TYPE_CHECKING:
    from collections.abc import Callable


def plain(x: int, y: int) -> None: ...
def default(x: int, y: int = 2) -> None: ...
def only_names(*, x: int, y: int = 2) -> None: ...
def only_places(x: int, y: int = 2, /) -> None: ...
def mixed(a: int, /, b: int, c: int = 3, *rest: int, d: int, e: int = 5, **more: int) -> None: ...
def anything(*args: int, **kwargs: int) -> None: ...
def nothing() -> None: ...
def open_names(x: int, **more: int) -> None: ...
def many(x: int, *rest: int) -> None: ...


FUNCTIONS = [plain, default, only_names, only_places, mixed, anything, nothing, open_names, many]
NAMES = st.sampled_from(["x", "y", "a", "b", "c", "d", "e", "z"])


@given(
    function=st.sampled_from(FUNCTIONS),
    args=st.lists(st.integers(), max_size=5).map(tuple),
    kwargs=st.dictionaries(NAMES, st.integers(), max_size=5),
)
@example(function=mixed, args=(), kwargs={"a": 0, "b": 0, "d": 0})
def test_what_python_would_refuse_is_refused_and_nothing_else(
    function: Callable[..., Any], args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    arguments = Arguments(function, "task")
    try:
        function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError, match=r"^task\(\): "):
            arguments.check(args, kwargs)
    else:
        arguments.check(args, kwargs)


def test_a_right_call_is_not_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = Arguments(mixed, "task")
    monkeypatch.setattr(inspect.Signature, "bind", None)
    arguments.check((1, 2), {"d": 4})
    arguments.check((1,), {"b": 2, "d": 4, "z": 26})
    Arguments(plain, "task").check((1, 2), None)


@pytest.mark.parametrize(
    ("args", "kwargs", "match"),
    [
        ((1,), {}, "missing a required argument: 'y'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1, 2), {"x": 1}, "multiple values for argument 'x'"),
        ((1, 2), {"q": 1}, "unexpected keyword argument 'q'"),
    ],
)
def test_the_error_says_which_argument(args: Any, kwargs: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        Arguments(plain, "task").check(args, kwargs)


def test_the_first_parameters_may_be_filled_by_others() -> None:
    arguments = Arguments(plain, "task", skip=1)
    arguments.check((1,), {})
    with pytest.raises(TypeError):
        arguments.check((1, 2), {})
    assert arguments.positional == ("y",)


def test_a_wrapped_function_has_the_parameters_of_the_one_inside() -> None:
    @functools.wraps(plain)
    def wrapped(*args: Any, **kwargs: Any) -> None: ...

    with pytest.raises(TypeError, match="'y'"):
        Arguments(wrapped, "task").check((1,), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "names", "expected"),
    [
        ((1, 2), {}, {"y": 5}, ([1], {"y": 5})),
        ((1, 2), {}, {"x": 5}, ([], {"x": 5, "y": 2})),
        ((1,), {"y": 2}, {"y": 5}, ([1], {"y": 5})),
        ((1, 2), {}, {"z": 5}, ([1, 2], {"z": 5})),
    ],
)
def test_arguments_of_an_earlier_call_are_replaced_by_name(args: Any, kwargs: Any, names: Any, expected: Any) -> None:
    assert Arguments(plain, "task").rebind(args, kwargs, names) == expected
