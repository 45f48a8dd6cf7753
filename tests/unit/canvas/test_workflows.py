"""Workflows run to their end by a worker, and the handles that their caller gets."""

from typing import Any

import pytest

from tests.unit.canvas.harness import Harness
from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.chunks import chunks, xmap, xstarmap
from umbel.canvas.group import group
from umbel.exceptions import ChordError
from umbel.results.group import GroupResult
from umbel.results.result import AsyncResult


@pytest.fixture
def app() -> Harness:
    app = Harness()
    app.task(lambda x, y=0: x + y, name="add")
    app.task(sum, name="total")
    app.task(lambda value: value, name="same")

    def fail(*args: Any) -> None:
        raise ValueError("no", len(args))

    app.task(fail)
    return app


@pytest.fixture
def add(app: Harness) -> Any:
    return app.tasks["add"]


def ended(app: Harness, sig: Any, *args: Any) -> Any:
    result = sig.apply_async(args)
    app.work()
    return result


def test_a_chain_passes_values_on_and_its_handles_lead_back(app: Harness, add: Any) -> None:
    result = ended(app, chain(add.s(1), add.s(10), add.s(100)), 2)
    assert [result.get(timeout=0), result.parent.get(timeout=0), result.parent.parent.get(timeout=0)] == [113, 13, 3]
    assert result.parent.parent.parent is None
    assert result.as_list() == [result.id, result.parent.id, result.parent.parent.id]


def test_the_chains_tasks_know_their_root_and_their_parent(app: Harness, add: Any) -> None:
    seen = []
    result = chain(add.s(1), add.s(2), add.s(3))()
    first = result.parent.parent.id
    while app.queue:
        message = app.queue[0].message
        seen.append((message.id, message.headers["root_id"], message.headers["parent_id"]))
        app.deliver(app.queue.popleft())
    assert seen == [(first, first, None), (result.parent.id, first, first), (result.id, first, result.parent.id)]


def test_immutable_steps_take_nothing_from_the_one_before(app: Harness, add: Any) -> None:
    assert ended(app, chain(add.s(1), add.si(5, 6))).get(timeout=0) == 11


def test_a_chain_that_ends_in_a_group(app: Harness, add: Any) -> None:
    result = ended(app, chain(add.s(1, 1), group(add.s(1), add.s(2))))
    assert isinstance(result, GroupResult)
    assert result.get(timeout=0) == [3, 4]
    assert result.parent.get(timeout=0) == 2


def test_a_group_with_something_behind_it_is_joined(app: Harness, add: Any) -> None:
    result = ended(app, chain(add.s(1, 1), group(add.s(1), add.s(2)), app.tasks["total"].s()))
    assert result.get(timeout=0) == 7
    assert isinstance(result.parent, GroupResult)
    assert isinstance(result.parent.parent, AsyncResult)


def test_two_groups_in_a_row(app: Harness, add: Any) -> None:
    same = app.tasks["same"]
    sig = chain(add.s(1, 1), group(add.s(1), add.s(2)), group(same.s(), app.tasks["total"].s()))
    assert ended(app, sig).get(timeout=0) == [[3, 4], 7]
    assert app.runs("same") == [[[3, 4]]]


def test_a_group_of_groups_is_one_flat_group(app: Harness, add: Any) -> None:
    result = ended(app, group(group(add.s(1), add.s(2)), add.s(3)))
    assert [member.get(timeout=0) for member in result] == [1, 2, 3]
    assert result.get(timeout=0) == [1, 2, 3]


def test_a_group_of_chains_that_end_in_groups(app: Harness, add: Any) -> None:
    result = ended(app, group(chain(add.s(1), group(add.s(1), add.s(2))), add.s(3)))
    assert isinstance(result[0], GroupResult)
    assert isinstance(result[1], AsyncResult)
    assert result.get(timeout=0) == [[2, 3], 3]


def test_a_group_of_one_chain_that_ends_in_a_group_is_that_group(app: Harness, add: Any) -> None:
    result = ended(app, group([chain(add.s(1), group(add.s(1), add.s(2)))]))
    assert isinstance(result, GroupResult)
    assert isinstance(result.parent, AsyncResult)
    assert result.get(timeout=0) == [2, 3]


def test_a_chord_gets_the_values_in_the_headers_order_however_many(app: Harness, add: Any) -> None:
    result = ended(app, chord([add.s(number) for number in range(25)], app.tasks["same"].s()))
    assert result.get(timeout=0) == list(range(25))
    assert isinstance(result.parent, GroupResult)
    assert result.parent.get(timeout=0) == list(range(25))
    assert app.barriers() == 0


@pytest.mark.parametrize("size", [0, 1])
def test_a_chord_of_none_or_of_one_gets_a_list(app: Harness, add: Any, size: int) -> None:
    result = ended(app, chord([add.s(5)] * size, app.tasks["same"].s()))
    assert result.get(timeout=0) == [5] * size
    assert len(result.parent) == size
    assert app.barriers() == 0


def test_members_may_be_anything(app: Harness, add: Any) -> None:
    same = app.tasks["same"]
    header = [
        add.s(1),
        chain(add.s(2), add.s(3)),
        group(add.s(4), add.s(5)),
        chord([add.s(6), add.s(7)], app.tasks["total"].s()),
        chain(add.s(8), group(add.s(1), add.s(2))),
    ]
    assert ended(app, chord(header, same.s())).get(timeout=0) == [1, 5, 4, 5, 13, [9, 10]]
    assert app.barriers() == 0


def test_bodies_may_be_anything(app: Harness, add: Any) -> None:
    same, total = app.tasks["same"], app.tasks["total"]
    header = [add.s(1), add.s(2)]
    last = ended(app, chord(header, chain(total.s(), add.s(10))))
    assert last.get(timeout=0) == 13
    assert isinstance(last.parent.parent, GroupResult)
    spread = ended(app, chord(header, group(same.s(), total.s())))
    assert isinstance(spread, GroupResult)
    assert spread.get(timeout=0) == [[1, 2], 3]
    assert isinstance(spread.parent, GroupResult)
    assert ended(app, chord(header, chord([same.s(), total.s()], same.s()))).get(timeout=0) == [[1, 2], 3]


def test_arguments_of_a_chord_go_to_its_header(app: Harness, add: Any) -> None:
    assert ended(app, chord([add.s(1), add.s(2)], app.tasks["same"].s()), 10).get(timeout=0) == [11, 12]
    sig = chord([add.s(1)], app.tasks["same"].s()).clone((), {"y": 5})
    assert ended(app, chain.of([sig])).get(timeout=0) == [6]


def test_map_starmap_and_chunks(app: Harness, add: Any) -> None:
    assert ended(app, xmap(add.s(), range(3))).get(timeout=0) == [0, 1, 2]
    assert ended(app, xmap(add.s(10), range(3))).get(timeout=0) == [10, 11, 12]
    assert ended(app, xstarmap(add.s(), [(1, 2), (3, 4)])).get(timeout=0) == [3, 7]
    result = chunks(add.s(), [(number, 1) for number in range(5)], 2)()
    assert len(app.publishes[-1]) == 3
    app.work()
    assert isinstance(result, GroupResult)
    assert result.get(timeout=0) == [[1, 2], [3, 4], [5]]


def test_chunks_in_a_chain_are_sent_by_the_worker_under_the_same_ids_each_time(app: Harness, add: Any) -> None:
    result = chain.of([add.si(0), chunks(add.s(), [(1, 1), (2, 2)], 1)])()
    app.crash(result.id, "ran")
    app.work()
    handle = result.get(timeout=0)
    assert isinstance(handle, list)
    parts = [id for name, id, _ in app.ran if name == "celery.starmap"]
    assert len(set(parts)) == 2


def test_chunks_must_have_a_size() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        chunks(Harness().task(len).s(), [], 0)


def test_callbacks_get_the_value_and_are_the_tasks_children(app: Harness, add: Any) -> None:
    sig = add.s(1)
    sig.link(add.s(10))
    sig.link(add.si(7))
    sig.link(group(add.s(100), add.s(200)))
    result = ended(app, sig, 1)
    first, second, both = result.children
    assert [first.get(timeout=0), second.get(timeout=0), both.get(timeout=0)] == [12, 7, [102, 202]]
    assert [(node.id, value) for node, value in result.collect(timeout=0)][:2] == [(result.id, 2), (first.id, 12)]


def test_a_failing_step_fails_all_that_come_after_with_its_own_error(app: Harness, add: Any) -> None:
    fail = app.tasks["fail"]
    total = app.tasks["total"]
    result = ended(app, chain(add.s(1), fail.s(), add.s(2), chord([add.s(3), add.s(4)], total.s()), add.s(5)))
    with pytest.raises(ValueError, match="no") as caught:
        result.get(timeout=0)
    assert caught.value.args == ("no", 1)
    assert "ValueError" in result.traceback
    above: Any = result
    states = []
    while above is not None:
        states.append([member.state for member in above] if isinstance(above, GroupResult) else above.state)
        above = above.parent
    assert states == ["FAILURE", "FAILURE", ["FAILURE", "FAILURE"], "FAILURE", "FAILURE", "SUCCESS"]
    assert len(app.ran) == 2


def test_a_chord_waits_for_all_members_and_then_fails_for_the_first_failed_one(app: Harness, add: Any) -> None:
    fail = app.tasks["fail"]
    result = chord([add.s(1), fail.s(1), fail.s(1, 2)], app.tasks["total"].s())()
    while app.queue:
        assert not result.ready()
        app.deliver(app.queue.pop())
    dependency = result.parent[1].id
    with pytest.raises(ChordError) as caught:
        result.get(timeout=0)
    assert str(caught.value) == f"Dependency {dependency} raised ValueError('no', 1)"
    assert app.runs("total") == []


def test_a_failed_chord_fails_what_comes_after_it_and_the_chord_around_it(app: Harness, add: Any) -> None:
    total, same = app.tasks["total"], app.tasks["same"]
    inner = chain.of([chord([app.tasks["fail"].s(), add.s(1)], total.s()), add.s(1)])
    result = ended(app, chord([inner, add.s(2)], same.s()))
    assert str(result.result).startswith(f"Dependency {result.parent[0].id} raised ChordError(")
    assert result.parent[0].state == "FAILURE"
    assert app.runs("total") == app.runs("same") == []


def test_members_of_a_body_that_is_a_group_fail_with_the_members_own_error(app: Harness, add: Any) -> None:
    same = app.tasks["same"]
    result = ended(app, chord([app.tasks["fail"].s(), add.s(1)], group(same.s(), same.s())))
    assert [type(member.result) for member in result] == [ValueError, ValueError]
    with pytest.raises(ValueError, match="no"):
        result.get(timeout=0)


def test_an_errback_of_three_arguments_is_called_in_the_worker(app: Harness, add: Any) -> None:
    calls = []

    def note(request: Any, exc: Any, traceback: Any, *more: Any) -> None:
        calls.append((request.id, repr(exc), "ValueError" in traceback, more))

    sig = app.tasks["fail"].s().on_error(app.task(note).s("more"))
    result = ended(app, sig)
    assert calls == [(result.id, "ValueError('no', 0)", True, ("more",))]
    assert [name for name, _, _ in app.ran] == ["fail"]


@pytest.mark.parametrize("kind", ["one argument", "bound", "unknown here", "immutable", "chain", "coroutine"])
def test_any_other_errback_is_sent_as_a_task_with_the_failed_id(app: Harness, kind: str) -> None:
    async def coroutine(request: Any, exc: Any, traceback: Any) -> None: ...

    app.task(lambda failed: failed, name="one argument")
    app.task(lambda self, request, exc, traceback: None, name="bound", bind=True)
    app.task(coroutine)
    app.task(lambda request=None, exc=None, traceback=None: None, name="immutable")
    sig: Any = chain.of([app.tasks["one argument"].s(), app.tasks["one argument"].s()])
    if kind != "chain":
        sig = app.tasks[kind].s() if kind in app.tasks else app.tasks["one argument"].s().set()
    if kind == "unknown here":
        sig["task"] = "elsewhere"
    if kind == "immutable":
        sig.set_immutable(True)
    result = app.tasks["fail"].s().on_error(sig).apply_async()
    app.deliver(app.queue.popleft())
    (calls,) = app.publishes[1:]
    (call,) = calls
    assert tuple(call.args) == (() if kind == "immutable" else (result.id,))
    assert call.parent_id == result.id


def test_an_errback_that_fails_is_logged_and_the_next_one_is_called(
    app: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def broken(request: Any, exc: Any, traceback: Any) -> None:
        raise RuntimeError("my own fault")

    app.task(broken)
    app.task(lambda request, exc, traceback: calls.append(1), name="good")
    sig = app.tasks["fail"].s().on_error(app.tasks["broken"].s()).on_error(app.tasks["good"].s())
    result = ended(app, chain(sig, app.tasks["same"].s()))
    assert calls == [1]
    assert result.state == "FAILURE"
    assert "my own fault" in caplog.text


def test_errbacks_of_a_failed_chord_get_the_bodys_id_once(app: Harness, add: Any) -> None:
    calls = []
    app.task(lambda request, exc, traceback: calls.append((request.id, type(exc))), name="note")
    app.task(lambda failed: failed, name="old")
    sig = chord([app.tasks["fail"].s(), app.tasks["fail"].s(), add.s(1)], app.tasks["total"].s())
    sig.link_error(app.tasks["note"].s())
    sig.link_error(app.tasks["old"].s())
    result = ended(app, sig)
    assert calls == [(result.id, ChordError)]
    assert app.runs("old") == [[result.id]]


def test_errbacks_of_a_chain_are_called_for_the_step_that_failed_and_no_other(app: Harness, add: Any) -> None:
    sig = chain.of([add.s(1), app.tasks["fail"].s(), add.s(2)])
    sig.link_error(app.task(lambda failed: failed, name="old").s())
    result = ended(app, sig)
    assert app.runs("old") == [[result.parent.id]]


def test_a_value_that_cannot_be_read_fails_the_chord_and_does_not_leave_it_waiting(app: Harness, add: Any) -> None:
    result = chord([add.s(1), add.s(2)], app.tasks["total"].s())()
    gather = app.backend.gather
    app.backend.gather = lambda name: {
        member: value if member == "claim" else b"rubbish" for member, value in gather(name).items()
    }
    app.work()
    assert "Join error" in str(result.result)


def test_what_a_task_sends_has_its_lineage_and_is_among_its_children(app: Harness, add: Any) -> None:
    app.task(lambda: (add.s(1, 1).delay(), group(add.s(2), add.s(3))())[0].id, name="parent")
    app.conf.task_inherit_parent_priority = True
    result = chain.of([add.si(0), app.tasks["parent"].si().set(priority=7)])()
    root = result.parent.id
    app.deliver(app.queue.popleft())
    app.deliver(app.queue.popleft())
    for message in (delivery.message for delivery in app.queue):
        assert (message.headers["root_id"], message.headers["parent_id"]) == (root, result.id)
        assert message.priority == 7
    app.work()
    one, several = result.children
    assert one.id == result.get(timeout=0)
    assert several.get(timeout=0) == [2, 3]


def test_a_handle_that_a_task_returns_arrives_as_a_tuple(app: Harness, add: Any) -> None:
    app.task(group(add.s(1), add.s(2)), name="sends")
    value = ended(app, app.tasks["sends"].s()).get(timeout=0)
    assert GroupResult.kinds["group"] is GroupResult
    (id, parent), members = value
    assert [type(id), parent, len(members)] == [str, None, 2]
