"""The handle of one task."""

import asyncio
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.results.desk import Desk, until
from umbel import exceptions
from umbel.exceptions import IncompleteStream, RemoteError, TaskRevokedError
from umbel.message.context import Context
from umbel.results.base import result_from_tuple
from umbel.results.group import GroupResult
from umbel.results.result import AsyncResult
from umbel.states import FAILURE, PENDING, RETRY, REVOKED, STARTED


def test_a_task_that_nobody_knows_is_pending(desk: Desk) -> None:
    result = desk.result("a")
    assert (result.state, result.status, result.result, result.info, result.traceback) == (
        PENDING,
        PENDING,
        *[None] * 3,
    )
    assert (result.ready(), result.successful(), result.failed(), result.exists()) == (False,) * 4
    assert result.children is None
    assert result.date_done is None


def test_what_a_value_says(desk: Desk) -> None:
    desk.finish(
        "a", {"x": 1}, date_done=0.0, children=[(("kid", None), None)], name="add", args=[1], retries=2, queue="q"
    )
    result = desk.result("a")
    assert (result.state, result.result, result.get()) == ("SUCCESS", {"x": 1}, {"x": 1})
    assert (result.ready(), result.successful(), result.failed(), result.exists()) == (True, True, False, True)
    assert result.date_done == datetime(1970, 1, 1, tzinfo=UTC)
    assert result.children == [desk.result("kid")]
    assert (result.name, result.args, result.retries, result.queue, result.worker) == ("add", [1], 2, "q", None)


def test_an_error_is_raised_or_returned(desk: Desk) -> None:
    desk.finish("a", ValueError("no"), FAILURE, traceback="Traceback: ...")
    result = desk.result("a")
    assert (result.state, result.failed(), result.traceback) == (FAILURE, True, "Traceback: ...")
    with pytest.raises(ValueError, match="no"):
        result.get()
    with pytest.raises(ValueError, match="no"):
        result.maybe_throw()
    returned = result.get(propagate=False)
    assert isinstance(returned, ValueError)


def test_a_revoked_task_raises_that_it_is(desk: Desk) -> None:
    desk.finish("a", TaskRevokedError("revoked"), REVOKED)
    with pytest.raises(TaskRevokedError, match="revoked"):
        desk.result("a").get()


def test_a_failed_task_without_an_error_raises_something(desk: Desk) -> None:
    desk.finish("a", ValueError(), FAILURE)
    desk.backend.hub.results._results["a"][0].body = b""
    with pytest.raises(RemoteError):
        desk.result("a").get()


def test_a_final_state_is_asked_for_once(desk: Desk) -> None:
    desk.finish("a", 1)
    result = desk.result("a")
    assert result.get() == 1
    desk.backend.forget(["a"])
    assert (result.state, result.get(), result.ready()) == ("SUCCESS", 1, True)
    result.forget()
    assert result.state == PENDING


def test_progress_is_seen_by_who_asks_and_by_who_waits(desk: Desk) -> None:
    desk.finish("a", {"done": 1}, "PROGRESS")
    result = desk.result("a")
    assert (result.state, result.info, result.ready()) == ("PROGRESS", {"done": 1}, False)
    seen: list[dict[str, Any]] = []

    def heard(body: dict[str, Any]) -> None:
        seen.append(body)
        if len(seen) == 1:
            desk.finish("a", ValueError("again"), RETRY)
        elif len(seen) == 2:
            desk.finish("a", "end", date_done=0.0, children=[(("kid", None), None)])

    assert result.get(timeout=10, on_message=heard) == "end"
    assert [body["status"] for body in seen] == ["PROGRESS", RETRY, "SUCCESS"]
    assert seen[0] == {
        "task_id": "a", "status": "PROGRESS", "result": {"done": 1}, "traceback": None, "children": [],
        "date_done": None,
    }  # fmt: skip
    assert seen[1]["result"] == {"exc_type": "ValueError", "exc_message": ["again"], "exc_module": "builtins"}
    assert seen[2]["date_done"] == "1970-01-01T00:00:00+00:00"
    assert seen[2]["children"] == [(("kid", None), None)]


def test_on_interval_is_called_while_waiting(desk: Desk) -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            desk.finish("a", 1)

    assert desk.result("a").get(timeout=30, interval=0.01, on_interval=tick) == 1
    assert len(ticks) == 3
    with pytest.raises(exceptions.TimeoutError):
        desk.result("never").get(timeout=0.05, interval=0.01, on_interval=lambda: ticks.append(2))
    assert ticks.count(2) >= 2


def test_the_callback_gets_id_and_value(desk: Desk) -> None:
    desk.finish("a", 1)
    got: list[Any] = []
    desk.result("a").get(callback=lambda *args: got.append(args))
    assert got == [("a", 1)]


def test_a_failed_parents_error_is_raised_at_once(desk: Desk) -> None:
    desk.finish("first", ValueError("early"), FAILURE)
    result = desk.result("last", parent=desk.result("middle", parent=desk.result("first")))
    with pytest.raises(ValueError, match="early"):
        result.get(timeout=10)
    with pytest.raises(exceptions.TimeoutError):
        result.get(timeout=0.01, follow_parents=False)
    with pytest.raises(exceptions.TimeoutError):
        result.get(timeout=0.01, propagate=False)


def test_a_parents_success_changes_nothing(desk: Desk) -> None:
    desk.finish("first", 1)
    desk.finish("last", 2)
    assert desk.result("last", parent=desk.result("first")).get(timeout=10) == 2


def test_an_ignored_result_is_none_at_once(desk: Desk) -> None:
    result = desk.result("a")
    result.ignored = True
    assert result.get() is None
    assert asyncio.run(_awaited(result)) is None


async def _awaited(result: Any) -> Any:
    return await result


def test_it_can_be_awaited(desk: Desk) -> None:
    desk.finish("a", 1)
    desk.finish("b", ValueError("no"), FAILURE)
    assert asyncio.run(_awaited(desk.result("a"))) == 1
    with pytest.raises(ValueError, match="no"):
        asyncio.run(_awaited(desk.result("b")))


def test_then_calls_back_with_the_handle_now_or_later(desk: Desk) -> None:
    got: list[Any] = []
    desk.finish("a", 1)
    ready = desk.result("a")
    ready.get()
    ready.then(lambda result: got.append(result.get()))
    assert got == [1]
    desk.result("b").then(lambda result: got.append((result.get(), 1 / 0)), on_error=got.append)
    desk.finish("b", {"done": 1}, "PROGRESS")
    desk.finish("b", 2)
    until(lambda: len(got) == 2)
    assert isinstance(got[1], ZeroDivisionError)


def test_a_callback_that_fails_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.finish("a", 1)
    desk.result("a").then(lambda result: 1 / 0)
    until(lambda: "ZeroDivisionError" in caplog.text)
    desk.finish("b", 1)
    got: list[Any] = []
    desk.result("b").then(got.append)
    until(lambda: got)


def test_waiting_in_a_task_is_refused_unless_awaited_or_allowed(desk: Desk) -> None:
    from umbel.current import current_request
    from umbel.results.guard import allow_join_result, denied_join_result

    desk.finish("a", 1)
    result = desk.result("a")
    token = current_request.set(Context(called_directly=False))
    try:
        with pytest.raises(RuntimeError, match=r"Never call result\.get\(\) within a task"):
            result.get()
        with pytest.raises(RuntimeError, match="Never"):
            GroupResult("g", [result]).join()
        assert result.get(disable_sync_subtasks=False) == 1
        with allow_join_result():
            assert result.get() == 1
            with denied_join_result(), pytest.raises(RuntimeError, match="Never"):
                result.get()
            assert result.get() == 1
        inner = current_request.set(Context(called_directly=True, outer=current_request.get()))
        with pytest.raises(RuntimeError, match="Never"):
            result.get()
        current_request.reset(inner)
        assert asyncio.run(_awaited(result)) == 1
    finally:
        current_request.reset(token)
    token = current_request.set(Context(called_directly=True))
    assert result.get() == 1, "a function that happens to be a task may wait"
    current_request.reset(token)
    with allow_join_result():
        pass


def test_without_a_result_store_every_question_says_so(desk: Desk) -> None:
    desk.backend = None
    result = desk.result("a")
    questions: list[Any] = [
        result.get, result.ready, result.forget, result.revoke, lambda: result.state,
        lambda: result.then(print), lambda: asyncio.run(_awaited(result)), GroupResult("g", [result]).get,
    ]  # fmt: skip
    for question in questions:
        with pytest.raises(NotImplementedError, match="result_backend"):
            question()


def test_forgetting_forgets_the_parents_too(desk: Desk) -> None:
    for id in ("a", "b"):
        desk.finish(id, 1)
    desk.result("b", parent=desk.result("a")).forget()
    assert not desk.result("a").exists()
    assert not desk.result("b").exists()


def test_revoking_stores_it_for_what_has_not_begun_and_leaves_the_rest(desk: Desk) -> None:
    desk.finish("done", 1)
    desk.finish("runs", {"pid": 1}, STARTED)
    desk.finish("again", ValueError("x"), RETRY)
    desk.backend.hub.results._results["again"][0].attempt = 70_000  # its third start, say
    for id in ("done", "runs", "again", "new"):
        desk.result(id).revoke()
    states = {id: desk.result(id).state for id in ("done", "runs", "again", "new")}
    assert states == {"done": "SUCCESS", "runs": STARTED, "again": REVOKED, "new": REVOKED}
    with pytest.raises(TaskRevokedError):
        desk.result("new").get()
    with pytest.raises(NotImplementedError, match="terminate"):
        desk.result("new").revoke(terminate=True)


def test_workers_learn_of_what_was_revoked(desk: Desk) -> None:
    from umbel.results.revoking import Revocations

    copy = Revocations(desk.backend)
    copy.refresh()
    assert copy.ids == frozenset()
    desk.result("a").revoke()
    GroupResult("g", [desk.result("b"), desk.result("c")]).revoke()
    copy.refresh()
    assert copy.ids == {"a", "b", "c"}


def test_handles_are_equal_by_id(desk: Desk) -> None:
    assert desk.result("a") == AsyncResult("a") == "a"
    assert desk.result("a") != desk.result("b")
    assert desk.result("a") != 3
    assert len({desk.result("a"), AsyncResult("a")}) == 1
    assert (str(desk.result("a")), repr(desk.result("a"))) == ("a", "<AsyncResult: a>")
    with pytest.raises(ValueError, match="id"):
        AsyncResult(None)  # type: ignore[arg-type]


def test_a_handle_becomes_plain_data_and_a_handle_again(desk: Desk) -> None:
    group = GroupResult("g", [desk.result("x"), desk.result("y")], parent=desk.result("first"))
    result = desk.result("last", parent=group)
    data = result.as_tuple()
    assert data == (("last", (("g", (("first", None), None)), [(("x", None), None), (("y", None), None)])), None)
    back = result_from_tuple(
        desk.serializers.loads(
            desk.serializers.dumps(data, "json")[2], "application/json", "utf-8", {"application/json"}
        ),
        desk,
    )  # type: ignore[arg-type]
    assert back.as_tuple() == data
    assert isinstance(back.parent, GroupResult)
    assert back.app is desk
    assert result_from_tuple(back) is back
    assert result_from_tuple(["bare", None]) == "bare"


def test_a_handle_can_be_pickled() -> None:
    result: AsyncResult[int] = AsyncResult("a", task_name="add", parent=AsyncResult("b"))
    back = pickle.loads(pickle.dumps(result))
    assert (back, back.parent, back.name) == ("a", "b", "add")


def test_collecting_walks_the_tree_of_children(desk: Desk) -> None:
    desk.finish("root", 1, children=[(("x", None), None), (("g", None), [(("y", None), None)])])
    desk.finish("x", 2)
    with pytest.raises(IncompleteStream):
        list(desk.result("root").iterdeps())
    desk.finish("y", 3)
    assert [(str(node), value) for node, value in desk.result("root").collect()] == [
        ("root", 1), ("x", 2), ("g", [3]), ("y", 3),
    ]  # fmt: skip
    assert [(parent and str(parent), str(node)) for parent, node in desk.result("new").iterdeps(intermediate=True)] == [
        (None, "new")
    ]
