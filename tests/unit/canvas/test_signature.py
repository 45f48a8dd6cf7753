"""A signature is a dictionary of six keys that can be called, changed and composed."""

import copy
import json
import pickle
from typing import Any

import pytest

from tests.unit.canvas.harness import Harness
from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.group import group
from umbel.canvas.signature import Signature, maybe_signature, signature


@pytest.fixture
def app() -> Harness:
    app = Harness()
    app.task(lambda x, y=0: x + y, name="add")
    return app


@pytest.fixture
def add(app: Harness) -> Any:
    return app.tasks["add"]


def test_it_is_exactly_its_wire_form(add: Any) -> None:
    sig = add.s(1, y=2).set(queue="fast")
    assert json.loads(json.dumps(sig)) == {
        "task": "add",
        "args": [1],
        "kwargs": {"y": 2},
        "options": {"queue": "fast"},
        "subtask_type": None,
        "immutable": False,
    }


def test_a_name_a_task_a_wire_form_and_a_signature_all_make_one(app: Harness, add: Any) -> None:
    by_name = signature("add", args=(1,), app=app)
    assert by_name == Signature(add, (1,)) == signature(dict(by_name))
    again = signature(by_name)
    assert again == by_name
    assert again is not by_name
    assert by_name.type is add
    assert maybe_signature(None) is None
    assert maybe_signature(by_name) is by_name
    assert maybe_signature(by_name, clone=True) is not by_name


def test_a_wire_form_becomes_its_own_kind_again(add: Any) -> None:
    for sig in (
        chain.of([add.s(1), add.s(2)]),
        group([add.s(1), add.s(2)]),
        chord([add.s(1), chain.of([add.s(1), add.s(2)])], add.s(3)),
        add.s(1),
    ):
        back = signature(json.loads(json.dumps(sig)))
        assert type(back) is type(sig)
        assert json.dumps(back) == json.dumps(sig)


def test_further_arguments_go_before_its_own_and_keywords_win(add: Any) -> None:
    sig = add.s(1, y=2).clone((5,), {"y": 3}, queue="fast")
    assert (sig.args, sig.kwargs, sig.options) == ((5, 1), {"y": 3}, {"queue": "fast"})


def test_an_immutable_one_keeps_its_arguments_but_takes_options(add: Any) -> None:
    sig = add.si(1).clone((5,), {"y": 3}, queue="fast")
    assert (sig.args, sig.kwargs, sig.options) == ((1,), {}, {"queue": "fast"})
    assert add.s(1).set(immutable=True).immutable


def test_the_group_id_never_changes_once_it_is_there(add: Any) -> None:
    sig = add.s().set(group_id="mine", queue="slow").clone(group_id="yours", queue="fast")
    assert sig.options == {"group_id": "mine", "queue": "fast"}


def test_stamps_that_are_there_stay(add: Any) -> None:
    sig = add.s().set(stamped_headers=["who"], who="me").clone(who="you", stamped_headers=["what"], what=1)
    assert sig.options == {"stamped_headers": ["who"], "who": "me", "what": 1}


def test_a_clone_shares_no_options_with_its_original(add: Any) -> None:
    sig = add.s(1).set(headers={"a": [1]})
    other = sig.clone()
    other.options["headers"]["a"].append(2)
    other.kwargs["y"] = 9
    assert sig == add.s(1).set(headers={"a": [1]})


def test_replace_sets_instead_of_merging(add: Any) -> None:
    sig = add.s(1, y=2).set(queue="fast")
    assert sig.replace(args=(7,), kwargs={}, options={}) == add.s(7)
    assert sig == add.s(1, y=2).set(queue="fast")


def test_a_link_is_kept_once_and_returned(add: Any) -> None:
    sig, callback = add.s(1), add.s(2)
    assert sig.link(callback) is callback
    assert sig.link(add.s(2)) == callback
    assert sig.options["link"] == [callback]
    assert sig.on_error(add.s(3)) is sig
    assert sig.options["link_error"] == [add.s(3)]


def test_links_given_as_one_signature_grow_to_a_list(add: Any) -> None:
    sig = add.s(1).set(link=add.s(2))
    sig.link(add.s(3))
    assert sig.options["link"] == [add.s(2), add.s(3)]
    assert sig.flatten_links() == [sig, add.s(2), add.s(3)]


def test_a_call_runs_the_function_here(add: Any) -> None:
    assert add.s(1, y=2)() == 3
    assert add.s(y=2)(5) == 7


def test_it_shows_the_call_that_it_stands_for(add: Any) -> None:
    assert repr(add.s(1, y=2)) == "add(1, y=2)"
    assert repr(add.s(1) | add.s(2)) == "add(1) | add(2)"
    assert repr(group(add.s(1), add.s(2))) == "group(add(1), add(2))"
    assert repr(chord([add.s(1)], add.s(2))) == "chord([add(1)], add(2))"


def test_it_survives_pickle_copy_and_deepcopy(app: Harness, add: Any) -> None:
    for sig in (add.s(1), group([add.s(1)]), chord([add.s(1)], add.s(2)), chain.of([add.s(1), add.s(2)])):
        wire = json.loads(json.dumps(sig))
        plain = signature(wire)  # with an app it could not be pickled, as no app can
        for back in (pickle.loads(pickle.dumps(plain)), copy.copy(sig), copy.deepcopy(sig)):
            assert type(back) is type(sig)
            assert back == sig or json.loads(json.dumps(back)) == wire


def test_freezing_fixes_the_id_and_twice_keeps_it(app: Harness, add: Any) -> None:
    sig = add.s(1)
    result = sig.freeze(group_id="g", group_index=3, chord=add.s(9), root_id="r", parent_id="p")
    assert (sig.id, sig.root_id, sig.parent_id) == (result.id, "r", "p")
    assert sig.options["reply_to"] == app.thread_oid
    again = sig.freeze("another", group_id="h", group_index=4)
    assert again == result
    assert (sig.options["group_id"], sig.options["group_index"]) == ("g", 4)
    assert add.s().freeze("given").id == "given"


def test_what_is_frozen_is_sent_under_the_same_ids(app: Harness, add: Any) -> None:
    for sig in (
        chain.of([add.s(1), group([add.s(2), add.s(3)]), add.s(4)]),
        group([add.s(1), chain.of([add.s(2), group([add.s(3), add.s(4)])])]),
        chord([add.s(1), add.s(2)], chain.of([add.s(3), add.s(4)])),
    ):
        frozen = sig.freeze()
        sent = sig.apply_async()
        assert sent.as_tuple() == frozen.as_tuple()
    app.queue.clear()


def test_the_frozen_handle_of_a_chord_has_the_header_above_the_body(add: Any) -> None:
    sig = chord([add.s(1), add.s(2)], chain.of([add.s(3), add.s(4)]))
    last = sig.freeze()
    assert last.parent.parent.id == sig.id
    assert [member.id for member in last.parent.parent] == [task.id for task in sig.tasks]


def test_what_is_no_signature_is_refused_with_a_hint(add: Any) -> None:
    for wrong in (add, 3, "add"):
        with pytest.raises(TypeError, match=r"task\.s"):
            group([add.s(1), wrong])


def test_arguments_of_a_wrong_type_are_refused_at_the_call(add: Any) -> None:
    with pytest.raises(TypeError, match="args must be a list or a tuple, not str"):
        add.s().apply_async("text")
    with pytest.raises(TypeError, match="kwargs must be a mapping, not list"):
        add.s().apply_async((), [1])


def test_inverting_it_waits_for_the_value(app: Harness, add: Any) -> None:
    app.conf.task_always_eager = True
    assert ~add.s(1, 2) == 3


def test_without_an_app_the_error_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="app"):
        signature("add").apply_async()
