"""Errors are data: written down, and rebuilt only as what the app has allowed."""

import json
import pickle
from typing import Any

import pytest

from umbel import exceptions
from umbel.exceptions import EncodeError, RemoteError
from umbel.results.codec import decode_body, encode_failure, encode_value
from umbel.results.failure import STANDARD, ExceptionTypes, from_data, remote, to_data
from umbel.serialization.registry import Serializers
from umbel.spec import Result
from umbel.states import FAILURE, RETRY, SUCCESS


class Mine(Exception):
    pass


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(code)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def through_json(exc: BaseException, types: ExceptionTypes = STANDARD) -> BaseException:
    serializers = Serializers()
    body, content_type = encode_failure(serializers, exc, "json")
    result = Result(id="x", state=FAILURE, body=body, content_type=content_type)
    rebuilt = decode_body(serializers, result, {"application/json"}, types)
    assert isinstance(rebuilt, BaseException)
    return rebuilt


def test_it_is_laid_out_as_celery_does() -> None:
    body, content_type = encode_failure(Serializers(), Mine("text", 3), "json")
    assert content_type == "application/json"
    assert json.loads(body) == {"exc_type": "Mine", "exc_message": ["text", 3], "exc_module": Mine.__module__}


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("no", 3),
        KeyError("k"),
        FileNotFoundError(2, "gone"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        exceptions.TaskRevokedError("revoked"),
        exceptions.ChordError("Dependency"),
        exceptions.SoftTimeLimitExceeded(3),
        exceptions.BackendError("down"),
        exceptions.Reject("why", True),
    ],
)
def test_errors_of_python_and_of_the_library_come_back_as_themselves(exc: Exception) -> None:
    rebuilt = through_json(exc)
    assert type(rebuilt) is type(exc)
    assert rebuilt.args == exc.args
    assert str(rebuilt) == str(exc)


def test_any_other_error_comes_back_as_a_remote_one_in_its_name() -> None:
    rebuilt = through_json(Mine("text", 3))
    assert isinstance(rebuilt, RemoteError)
    assert not isinstance(rebuilt, Mine)
    assert (repr(rebuilt), str(rebuilt)) == ("Mine('text', 3)", "('text', 3)")
    assert (rebuilt.type_name, rebuilt.module) == ("Mine", Mine.__module__)


def test_an_error_that_was_registered_comes_back_as_itself() -> None:
    types = ExceptionTypes([Mine])
    rebuilt = through_json(Mine("text"), types)
    assert type(rebuilt) is Mine
    assert rebuilt.args == ("text",)
    assert not isinstance(through_json(Mine("text")), Mine), "one app's types are not another's"


def test_a_class_that_does_not_take_its_own_arguments_back_is_remote() -> None:
    rebuilt = through_json(Picky(3, reason="x"), ExceptionTypes([Picky]))
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.args == (3,)


def test_only_errors_can_be_registered() -> None:
    types = ExceptionTypes()
    for wrong in (SystemExit, int, "text"):
        with pytest.raises(TypeError, match="Exception"):
            types.register(wrong)  # type: ignore[arg-type]

    @types.register
    class Decorated(Exception): ...

    assert type(through_json(Decorated(), types)) is Decorated


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "eval", "int", "ExceptionGroup"])
def test_nothing_is_rebuilt_that_would_end_or_run_something(name: str) -> None:
    rebuilt = from_data({"exc_type": name, "exc_message": ["1+1"], "exc_module": "builtins"}, STANDARD)
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name == name


def test_nothing_is_imported_and_no_path_is_walked() -> None:
    for module, name in (
        ("os", "system"),
        ("subprocess", "Popen"),
        ("builtins", "ValueError.mro"),
        ("antigravity", "X"),
    ):
        rebuilt = from_data({"exc_type": name, "exc_message": ["true"], "exc_module": module}, STANDARD)
        assert isinstance(rebuilt, RemoteError)
    import sys

    assert "antigravity" not in sys.modules


def test_celerys_errors_are_ours_of_the_same_name() -> None:
    data = {"exc_type": "ChordError", "exc_message": ["x"], "exc_module": "celery.exceptions"}
    assert type(from_data(data, STANDARD)) is exceptions.ChordError
    data = {"exc_type": "WorkerLostError", "exc_message": ["x"], "exc_module": "billiard.exceptions"}
    assert type(from_data(data, STANDARD)) is exceptions.WorkerLostError


@pytest.mark.parametrize(
    "data",
    [None, 3, "text", [], {}, {"exc_type": 3}, {"exc_type": "X\x00\n" * 500}, {"exc_type": "", "exc_message": {}}],
)
def test_whatever_a_stranger_wrote_becomes_some_error(data: Any) -> None:
    rebuilt = from_data(data, STANDARD)
    assert isinstance(rebuilt, RemoteError)
    assert str(rebuilt) is not None
    assert len(type(rebuilt).__name__) <= 200
    assert repr(rebuilt).isprintable()


def test_a_message_may_be_text_and_the_module_missing() -> None:
    rebuilt = from_data({"exc_type": "ValueError", "exc_message": "just text"}, STANDARD)
    assert type(rebuilt) is ValueError
    assert rebuilt.args == ("just text",)


def test_arguments_that_cannot_be_written_are_shown() -> None:
    rebuilt = through_json(ValueError("fine", {1, 2}, Unshowable()))
    assert rebuilt.args == ("fine", "{1, 2}", "<Unshowable: RuntimeError in its repr>")


def test_a_remote_error_that_a_task_lets_through_keeps_its_first_name() -> None:
    assert to_data(remote("Mine", "theirs", ("x",)), json.dumps) == {
        "exc_type": "Mine",
        "exc_message": ["x"],
        "exc_module": "theirs",
    }


def test_a_remote_error_can_be_pickled() -> None:
    back = pickle.loads(pickle.dumps(remote("Outer.Mine", "theirs", ("x",))))
    assert (repr(back), back.module, type(back).__qualname__) == ("Mine('x')", "theirs", "Outer.Mine")


def test_values_go_there_and_back_and_nothing_is_none() -> None:
    serializers = Serializers()
    body, content_type = encode_value(serializers, {"a": [1, None]}, "json")
    result = Result(id="x", state=SUCCESS, body=body, content_type=content_type)
    assert decode_body(serializers, result, {"application/json"}) == {"a": [1, None]}
    assert decode_body(serializers, Result(id="x", state=SUCCESS), {"application/json"}) is None


def test_a_retried_tasks_error_is_an_error_and_progress_is_not() -> None:
    serializers = Serializers()
    body, _ = encode_failure(serializers, ValueError("again"), "json")
    assert isinstance(
        decode_body(serializers, Result(id="x", state=RETRY, body=body), {"application/json"}), ValueError
    )
    progress = Result(id="x", state="PROGRESS", body=b'{"done": 3}')
    assert decode_body(serializers, progress, {"application/json"}) == {"done": 3}


def test_a_value_that_cannot_be_written_says_where_the_culprit_is() -> None:
    with pytest.raises(EncodeError, match="value"):
        encode_value(Serializers(), {"a": object()}, "json")


def test_what_is_not_accepted_is_not_read() -> None:
    with pytest.raises(exceptions.ContentDisallowed, match="not accepted"):
        decode_body(Serializers(), Result(id="x", state=SUCCESS, body=b"1"), frozenset())
