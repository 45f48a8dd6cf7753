"""Many handles at once."""

import asyncio
import pickle
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit.results.desk import Deaf, Desk, until
from umbel import exceptions
from umbel.results.group import SAVED, GroupResult, ResultSet
from umbel.states import FAILURE


def group(desk: Desk, count: int, id: str = "g") -> GroupResult:
    return GroupResult(id, [desk.result(f"t{number}") for number in range(count)], app=desk)  # type: ignore[arg-type]


class Trips:
    """Counts the round trips to a store."""

    def __init__(self, desk: Desk) -> None:
        self.fetched: list[int] = []
        fetch = desk.backend.fetch

        def counted(ids: Sequence[str]) -> Any:
            self.fetched.append(len(ids))
            return fetch(ids)

        desk.backend.fetch = counted


def test_values_come_in_order_whatever_comes_first(desk: Desk) -> None:
    for number in reversed(range(50)):
        desk.finish(f"t{number}", number)
    assert group(desk, 50).get(timeout=10) == list(range(50))
    assert group(desk, 50).join(timeout=10) == list(range(50))


def test_states_of_all_are_asked_for_in_one_round_trip(desk: Desk) -> None:
    result = group(desk, 100)
    for number in range(60):
        desk.finish(f"t{number}", number)
    trips = Trips(desk)
    assert (result.ready(), result.waiting()) == (False, True)
    assert result.completed_count() == 60
    assert trips.fetched == [100, 40, 40]
    assert (result.successful(), result.failed()) == (False, False)
    for number in range(60, 100):
        desk.finish(f"t{number}", ValueError() if number == 99 else number, FAILURE if number == 99 else "SUCCESS")
    assert (result.ready(), result.successful(), result.failed(), result.completed_count()) == (True, False, True, 99)


def test_the_first_error_to_arrive_is_raised_without_waiting_for_the_others(desk: Desk) -> None:
    desk.finish("t1", ValueError("second"), FAILURE)
    with pytest.raises(ValueError, match="second"):
        group(desk, 3).get(timeout=10)


def test_join_raises_the_first_error_in_order(desk: Desk) -> None:
    desk.finish("t1", ValueError("second"), FAILURE)
    threading.Timer(0.05, desk.finish, ("t0", KeyError("first"), FAILURE)).start()
    with pytest.raises(KeyError, match="first"):
        group(desk, 3).join(timeout=10)


def test_errors_are_values_without_propagation(desk: Desk) -> None:
    desk.finish("t0", 1)
    desk.finish("t1", ValueError("no"), FAILURE)
    for value in (group(desk, 2).get(propagate=False), group(desk, 2).join(propagate=False)):
        assert value[0] == 1
        assert isinstance(value[1], ValueError)


def test_a_callback_gets_them_as_they_come_or_in_order(desk: Desk) -> None:
    desk.finish("t1", 1)
    result = group(desk, 2)
    result.ready()
    threading.Timer(0.02, desk.finish, ("t0", 0)).start()
    got: list[Any] = []
    assert result.get(timeout=10, callback=lambda *args: got.append(args)) == []
    assert got == [("t1", 1), ("t0", 0)]
    got.clear()
    assert result.join(callback=lambda *args: got.append(args)) == []
    assert got == [("t0", 0), ("t1", 1)]


def test_a_timeout_leaves_nothing_watched(desk: Desk) -> None:
    desk.finish("t0", 0)
    with pytest.raises(exceptions.TimeoutError):
        group(desk, 2).get(timeout=0.02)
    with pytest.raises(exceptions.TimeoutError):
        group(desk, 2).join(timeout=0.02)
    assert not desk.backend.hub.results.listeners


def test_news_that_went_astray_are_asked_for_before_giving_up(desk: Desk) -> None:
    desk.backend.hub.results.listeners = Deaf()
    threading.Timer(0.02, _finish, (desk,)).start()
    assert group(desk, 2).get(timeout=0.3) == [0, 1]


def _finish(desk: Desk) -> None:
    desk.finish("t0", 0)
    desk.finish("t1", 1)


def test_groups_in_groups_keep_their_shape(desk: Desk) -> None:
    result = GroupResult("outer", [group(desk, 2), desk.result("t2")])
    for number in range(3):
        desk.finish(f"t{number}", number)
    assert result.get(timeout=10) == [[0, 1], 2]
    assert result.ready()
    assert [leaf.id for leaf in result.leaves()] == ["t0", "t1", "t2"]
    assert result.children == [group(desk, 2), "t2"]


def test_one_task_may_be_there_twice(desk: Desk) -> None:
    desk.finish("a", 1)
    assert ResultSet([desk.result("a"), desk.result("a")]).get(timeout=10) == [1, 1]


def test_on_message_and_iter_native_tell_of_each(desk: Desk) -> None:
    desk.finish("t0", 0)
    desk.finish("t1", ValueError("no"), FAILURE)
    seen: list[Any] = []
    found = dict(group(desk, 2).iter_native(timeout=10, on_message=seen.append))
    assert found["t0"]["result"] == 0
    assert isinstance(found["t1"]["result"], ValueError)
    assert {body["task_id"]: body["status"] for body in seen} == {"t0": "SUCCESS", "t1": FAILURE}


def test_it_can_be_awaited_and_gone_through_as_they_end(desk: Desk) -> None:
    async def main() -> Any:
        result = group(desk, 3)
        order = []
        desk.finish("t2", 2)
        async for done in result:
            order.append(done.id)
            if len(order) < 3:
                desk.finish(f"t{1 - (len(order) - 1)}", 0)
        assert order == ["t2", "t1", "t0"]
        assert [done.id async for done in result] == ["t0", "t1", "t2"]
        return await group(desk, 3)

    assert asyncio.run(asyncio.wait_for(main(), 10)) == [0, 0, 2]


def test_awaiting_it_raises_the_first_error(desk: Desk) -> None:
    async def main() -> None:
        await group(desk, 2)

    desk.finish("t1", ValueError("no"), FAILURE)
    with pytest.raises(ValueError, match="no"):
        asyncio.run(asyncio.wait_for(main(), 10))


def test_an_empty_group_is_done(desk: Desk) -> None:
    empty = GroupResult("g", [], app=desk)  # type: ignore[arg-type]
    assert (empty.get(), empty.join(), empty.ready(), len(empty)) == ([], [], True, 0)
    assert bool(empty)
    assert not GroupResult()


def test_then_is_called_once_when_all_are_done(desk: Desk) -> None:
    got: list[Any] = []
    group(desk, 3).then(got.append)
    for number in range(3):
        assert got == []
        desk.finish(f"t{number}", number)
    until(lambda: got)
    assert [result.get() for result in got] == [[0, 1, 2]]


def test_members_come_and_go(desk: Desk) -> None:
    a, b = desk.result("a"), desk.result("b")
    results = ResultSet([a])
    results.add(b)
    results.add(b)
    results.update([a, b])
    assert list(results) == [a, b]
    assert (len(results), results[1]) == (2, b)
    results.remove("a")
    results.discard("a")
    with pytest.raises(KeyError):
        results.remove("a")
    assert results == ResultSet([b])
    results.clear()
    assert len(results) == 0


def test_maybe_throw_raises_what_is_known(desk: Desk) -> None:
    result = group(desk, 2)
    result.maybe_throw()
    desk.finish("t1", ValueError("no"), FAILURE)
    with pytest.raises(ValueError, match="no"):
        result.maybe_throw()


def test_forgetting_forgets_all_members(desk: Desk) -> None:
    _finish(desk)
    group(desk, 2).forget()
    assert not desk.result("t0").exists()


def test_a_handle_can_be_saved_restored_and_deleted(desk: Desk) -> None:
    result = GroupResult("g", [group(desk, 2, "inner"), desk.result("x")], parent=desk.result("first"), app=desk)  # type: ignore[arg-type]
    assert GroupResult.restore("g", app=desk) is None  # type: ignore[arg-type]
    result.save()
    assert (
        b'"result": [["g", [["first", null], null]], [[["inner"' in desk.backend.fetch([f"{SAVED}g"])[f"{SAVED}g"].body
    )
    restored = GroupResult.restore("g", app=desk)  # type: ignore[arg-type]
    assert restored is not None
    assert restored == result
    assert restored.as_tuple() == result.as_tuple()
    result.add(desk.result("y"))
    result.save()
    again = GroupResult.restore("g", app=desk)  # type: ignore[arg-type]
    assert again is not None
    assert len(again) == 3
    result.delete()
    assert GroupResult.restore("g", app=desk) is None  # type: ignore[arg-type]


def test_a_group_is_equal_by_what_it_is_and_hashed_by_id(desk: Desk) -> None:
    assert group(desk, 2) == group(desk, 2) == "g"
    assert group(desk, 2) != group(desk, 3)
    assert len({group(desk, 2), group(desk, 2)}) == 1
    assert repr(group(desk, 2)) == "<GroupResult: g [t0, t1]>"
    assert repr(ResultSet([desk.result("a")])) == "<ResultSet: [a]>"
    with pytest.raises(TypeError):
        hash(ResultSet([]))


def test_a_group_can_be_pickled(desk: Desk) -> None:
    result = GroupResult("g", [desk.result("a")], parent=desk.result("p"))
    back = pickle.loads(pickle.dumps(result))
    assert back == result
