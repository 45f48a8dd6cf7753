"""Whatever a worker dies of, working out again what follows comes to the same, once."""

from typing import Any

import pytest

from tests.unit.canvas.harness import BOUNDARIES, Harness
from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.following import Join
from umbel.canvas.group import group
from umbel.canvas.steps import BARRIERS, concerns, from_stored, is_complete, on_failure, on_joined, on_success
from umbel.exceptions import TaskRevokedError
from umbel.message.context import Context
from umbel.results.codec import encode_failure
from umbel.results.ending import revoke
from umbel.spec import Arrival, Delivery, Result
from umbel.states import FAILURE, REVOKED, SUCCESS


@pytest.fixture
def app() -> Harness:
    app = Harness()
    app.task(lambda x, y=0: x + y, name="add")
    app.task(sum, name="total")

    def fail(*args: Any) -> None:
        raise ValueError("no")

    app.task(fail)
    return app


@pytest.fixture
def add(app: Harness) -> Any:
    return app.tasks["add"]


def request_of(**fields: Any) -> Context:
    attempt = fields.pop("attempt", 1)
    return Context(
        task="add",
        id="me",
        root_id="root",
        delivery=Delivery(message=None, receipt=0, attempt=attempt),  # type: ignore[arg-type]
        **fields,
    )


def body(app: Harness, size: int, **options: Any) -> dict[str, Any]:
    return {**app.tasks["total"].s(), "options": {"task_id": "body", "chord_size": size, **options}}


def member(app: Harness, index: int, size: int = 2, **fields: Any) -> Context:
    return request_of(group="g", group_index=index, chord=body(app, size), **fields)


def test_nothing_follows_from_a_task_without_any_of_these(app: Harness) -> None:
    assert not concerns(request_of())
    assert not concerns(request_of(headers={"mine": 1}))
    for field, value in {"callbacks": [], "errbacks": [], "chain": [], "chord": {}, "headers": {BARRIERS: []}}.items():
        assert concerns(request_of(**{field: value}))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("victim", ["a member", "the last member", "the body", "what follows"])
@pytest.mark.parametrize("kind", ["value", "failure"])
def test_a_worker_dies_at_any_boundary_of_a_chord(
    app: Harness, add: Any, boundary: str, victim: str, kind: str
) -> None:
    calls = []
    app.task(lambda request, exc, traceback: calls.append(request.id), name="note")
    header = [add.s(1), add.s(2), app.tasks["fail"].s() if kind == "failure" else add.s(3)]
    result = chain.of([chord(header, app.tasks["total"].s().on_error(app.tasks["note"].s())), add.s(100)])()
    queued = [delivery.message.id for delivery in app.queue]
    unlucky = {"a member": queued[0], "the last member": queued[-1], "the body": result.parent.id}.get(
        victim, result.id
    )
    app.crash(unlucky, boundary)
    app.work(shuffled=False)
    of_member = victim in ("a member", "the last member")
    comes_there = (
        boundary not in ("arrived", "claimed")
        or victim == "the last member"
        or (of_member, boundary)
        == (
            True,
            "arrived",
        )
    )
    assert (app.crashes[unlucky] == []) == (comes_there and (of_member or kind == "value"))
    assert (result.state, result.parent.state) == ((SUCCESS, SUCCESS) if kind == "value" else (FAILURE, FAILURE))
    if kind == "value":
        assert result.get(timeout=0) == 106
        assert app.times(result.parent.id) == (2 if (victim, boundary) == ("the body", "ran") else 1)
        assert calls == []
    else:
        assert app.runs("total") == []
        assert calls == [result.parent.id]


def test_the_same_end_leads_to_the_same_steps_each_time(app: Harness, add: Any) -> None:
    request = request_of(
        callbacks=[add.s(1), group(add.s(1), add.s(2)), chord([add.s(1)], app.tasks["total"].s())],
        chain=[{**add.s(9), "options": {"task_id": "last"}}, {**add.s(1), "options": {"task_id": "next"}}],
    )
    first, second = on_success(app, request, 5), on_success(app, request, 5)
    assert first == second
    assert len({call.id for call in first.calls}) == len(first.calls) == 5
    following = first.calls[-1]
    assert (following.id, following.args, following.parent_id, following.root_id) == ("next", (5, 1), "me", "root")
    assert [sig["options"]["task_id"] for sig in following.chain or ()] == ["last"]


def test_the_errors_steps_are_the_same_each_time_but_for_the_clock(app: Harness, add: Any) -> None:
    request = request_of(errbacks=[add.s(), chain.of([add.s(), add.s(1)])])
    first, second = (on_failure(app, request, ValueError("no"), FAILURE, None) for _ in range(2))
    assert first == second
    assert len({call.id for call in first.calls}) == 2


def test_children_of_what_may_have_been_sent_before_say_so(app: Harness, add: Any) -> None:
    following = {"callbacks": [add.s(1)], "errbacks": [add.s()]}
    for fields, resent in (({}, False), ({"attempt": 2}, True), ({"umbel_resent": True}, True)):
        request = request_of(**following, **fields)
        (call,) = on_success(app, request, 1).calls
        (error,) = on_failure(app, request, ValueError(), FAILURE, None).calls
        assert (call.resent, error.resent) == (resent, resent)


def test_children_are_of_their_parents_generation(app: Harness, add: Any) -> None:
    request = request_of(callbacks=[add.s(1)], chain=[{**add.s(), "options": {"task_id": "next"}}], umbel_generation=3)
    assert {call.generation for call in on_success(app, request, 1).calls} == {3}
    (result,) = on_failure(app, request, ValueError(), FAILURE, None).results
    assert (result.id, result.generation, result.terminal) == ("next", 3, True)


def test_a_replayed_chain_replaces_the_failures_that_its_first_run_stored(app: Harness, add: Any) -> None:
    broken = [True]

    def flaky(x: int) -> int:
        if broken[0]:
            raise ValueError("not yet")
        return x

    result = chain.of([app.task(flaky).s(1), add.s(1)])()
    message = app.queue[0].message
    app.work()
    assert result.state == FAILURE
    broken[0] = False
    message.headers["umbel_generation"] = 1
    app.publish([message])
    app.work()
    again = type(result)(result.id, app=app)
    assert (again.state, again.get(timeout=0)) == (SUCCESS, 2)


def test_an_arrival_is_named_by_index_or_else_by_the_tasks_id(app: Harness) -> None:
    (join,) = on_success(app, member(app, 1), 5).joins
    assert (join.arrival.barrier, join.arrival.member) == ("g", "1")
    (join,) = on_success(app, request_of(group="g", chord=body(app, 2)), 5).joins
    assert join.arrival.member == "me"
    (join,) = on_success(app, request_of(chord=body(app, 2)), 5).joins
    assert join.arrival.barrier == "body"


def test_what_the_worker_has_encoded_already_is_not_encoded_again(app: Harness) -> None:
    (join,) = on_success(app, member(app, 0), object(), (b"[1]", "application/json")).joins
    assert join.arrival.value == b"+application/json\n\n[1]"


def test_a_barrier_is_complete_with_all_its_members(app: Harness) -> None:
    (join,) = on_success(app, member(app, 0, size=3), 5).joins
    assert [is_complete(join, size) for size in (1, 2, 3, 4)] == [False, False, True, True]
    foreign = Join(join.arrival, {"task": "total", "options": {}}, join.request)
    assert not is_complete(foreign, 100)


def joined(app: Harness, request: Context, value: Any = 5) -> Any:
    """Let one member arrive; the steps of the claim if the barrier is complete."""
    (join,) = on_success(app, request, value).joins
    (size,) = app.backend.arrive([join.arrival], ttl=60.0)
    if not is_complete(join, size):
        return None
    steps = on_joined(app, join, app.backend.gather(join.arrival.barrier))
    if not steps.joins:
        return steps
    (claim,) = steps.joins
    app.backend.arrive([claim.arrival], ttl=60.0)
    return on_joined(app, claim, app.backend.gather(claim.arrival.barrier))


def test_the_body_is_sent_by_whoever_completed_the_set_and_by_no_late_duplicate(app: Harness) -> None:
    assert joined(app, member(app, 0)) is None
    (call,) = joined(app, member(app, 1)).calls
    assert (call.id, call.args, call.parent_id, call.group_id) == ("body", ([5, 5],), "me", None)
    assert "chord_size" not in call.options
    assert joined(app, member(app, 0, attempt=2)).calls == []
    assert joined(app, member(app, 0)).calls == []
    (again,) = joined(app, member(app, 1, attempt=2), "changed").calls
    assert (again.id, again.args) == ("body", ([5, 5],))


def test_a_duplicate_member_does_not_complete_the_set_early(app: Harness) -> None:
    for _ in range(5):
        assert joined(app, member(app, 0, size=3)) is None
    assert joined(app, member(app, 1, size=3)) is None
    assert joined(app, member(app, 2, size=3)).calls


def test_a_set_that_was_forgotten_meanwhile_is_done(app: Harness) -> None:
    (join,) = on_success(app, member(app, 0), 5).joins
    steps = on_joined(app, join, {})
    assert (steps.calls, steps.results, steps.joins) == ([], [], [])


def test_the_body_forgets_the_barrier_at_its_end_and_keeps_its_own_headers(app: Harness) -> None:
    joined(app, member(app, 0))
    (call,) = joined(app, member(app, 1)).calls
    assert call.options["headers"] == {BARRIERS: ["g", "g.claim"]}
    request = request_of(headers={"mine": 1, **call.options["headers"]})
    assert on_success(app, request, 1).forget == on_failure(app, request, ValueError(), FAILURE, None).forget
    assert on_success(app, request, 1).forget == ["g", "g.claim"]
    strange = request_of(headers={BARRIERS: "everything"})
    assert on_success(app, strange, 1).forget == []


def test_all_barriers_of_nested_chords_are_forgotten(app: Harness, add: Any) -> None:
    total = app.tasks["total"]
    inner = chord([add.s(1), add.s(2)], total.s())
    result = chain.of(
        [chord([inner, chain.of([add.s(1), add.s(2)])], chord([total.s(), total.s()], total.s())), add.s(1)]
    )()
    app.work()
    assert result.get(timeout=0) == 13
    assert app.barriers() == 0


def test_late_duplicates_after_the_barrier_was_forgotten_send_nothing(app: Harness, add: Any) -> None:
    result = chord([add.s(1), add.s(2)], app.tasks["total"].s())()
    app.work()
    for delivery in list(app.done):
        app.redeliver(delivery)
    app.work()
    assert app.times(result.id) == 1
    assert result.get(timeout=0) == 3


def test_the_barrier_of_a_body_that_is_a_group_lives_on_for_its_time(app: Harness, add: Any) -> None:
    total = app.tasks["total"]
    result = chord([add.s(1), add.s(2)], group(total.s(), total.s()))()
    app.crash(app.queue[1].message.id, "partly published")
    app.deliver(app.queue.popleft())
    app.deliver(app.queue.popleft())
    while len(app.queue) > 1:  # the first of the body's tasks is done before the second is sent
        app.deliver(app.queue.popleft() if app.queue[0].attempt == 1 else app.queue.pop())
    app.work()
    assert result.get(timeout=0) == [3, 3]
    assert app.barriers() == 2
    app.clock.advance(61)
    app.backend.fetch(["anything"])
    assert app.barriers() == 0


def test_a_body_that_cannot_be_sent_fails_with_the_reason(app: Harness, add: Any) -> None:
    following = {**add.s(), "options": {"task_id": "next"}}
    request = request_of(group="g", group_index=0, chord=body(app, 1, chain=[following]))
    (join,) = on_success(app, request, 5).joins
    steps = on_joined(app, join, {}, error=RuntimeError("too large"))
    assert [(result.id, result.state) for result in steps.results] == [("body", FAILURE), ("next", FAILURE)]
    assert b"Callback error: RuntimeError" in steps.results[0].body


def test_an_expired_or_revoked_member_counts_as_failed(app: Harness) -> None:
    joined(app, member(app, 0))
    steps = on_failure(app, member(app, 1), TaskRevokedError("expired"), REVOKED, None)
    (join,) = steps.joins
    assert app.backend.arrive([join.arrival], ttl=60.0) == [2]
    (claim,) = on_joined(app, join, app.backend.gather("g")).joins
    app.backend.arrive([claim.arrival], ttl=60.0)
    (result,) = on_joined(app, claim, app.backend.gather("g.claim")).results
    assert (result.id, result.state) == ("body", FAILURE)
    assert b"Dependency me raised TaskRevokedError('expired')" in result.body


def test_no_errback_is_called_for_a_revoked_task_but_the_rest_of_its_chain_is_told(app: Harness, add: Any) -> None:
    request = request_of(errbacks=[add.s()], chain=[{**add.s(), "options": {"task_id": "next"}}])
    steps = on_failure(app, request, TaskRevokedError("revoked"), REVOKED, None)
    assert steps.calls == []
    assert [(result.id, result.state) for result in steps.results] == [("next", REVOKED)]


def test_revoking_a_member_fails_its_chord_when_the_worker_meets_it(app: Harness, add: Any) -> None:
    result = chord([add.s(1), add.s(2)], app.tasks["total"].s())()
    revoke(app, [result.parent[1].id])
    app.queue[1].attempt = 2  # as the worker does for an id that it knows to be revoked: it looks for a result
    app.work()
    assert result.parent[1].state == REVOKED
    assert "TaskRevokedError" in str(result.result)


def test_what_was_stored_leads_to_the_same_steps(app: Harness, add: Any) -> None:
    request = member(app, 0, callbacks=[add.s(1)], errbacks=[add.s()])
    stored = Result(id="me", state=SUCCESS, body=b"5", terminal=True)
    assert from_stored(app, request, stored) == on_success(app, request, 5)
    exc = ValueError("no")
    failure, _ = encode_failure(app.serializers, exc, "json")
    stored = Result(id="me", state=FAILURE, body=failure, terminal=True)
    assert from_stored(app, request, stored) == on_failure(app, request, exc, FAILURE, None)


def test_errbacks_in_place_are_not_called_again_for_a_failure_that_is_stored(app: Harness) -> None:
    calls: list[int] = []
    app.task(lambda request, exc, traceback: calls.append(1), name="note")
    result = app.tasks["fail"].s().on_error(app.tasks["note"].s()).apply_async()
    app.crash(result.id, "stored", "published")
    app.work()
    assert calls == [1]


def test_a_message_that_went_out_twice_changes_nothing(app: Harness, add: Any) -> None:
    result = chord([add.s(1), add.s(2), add.s(3)], app.tasks["total"].s())()
    for delivery in list(app.queue):
        app.queue.append(Delivery(message=delivery.message, receipt=None))
    app.work()
    assert result.get(timeout=0) == 6
    assert app.runs("total") == [[[1, 2, 3]]]


def test_where_results_are_off_the_rest_of_a_chain_stores_nothing(app: Harness, add: Any) -> None:
    app.backend = None
    request = request_of(chain=[{**add.s(), "options": {"task_id": "next"}}])
    assert on_failure(app, request, ValueError(), FAILURE, None).results == []


def test_arrivals_are_plain_bytes(app: Harness) -> None:
    (join,) = on_failure(app, member(app, 0), ValueError("no"), FAILURE, None).joins
    assert join.arrival == Arrival(
        barrier="g",
        member="0",
        value=b'-application/json\nme\n{"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}',
    )


def test_a_chord_that_celery_froze_is_run_and_fails_as_a_whole(app: Harness, add: Any) -> None:
    # Celery's own layout: the header is a group, and its members carry the body already.
    frozen = {**app.tasks["total"].s(), "options": {"task_id": "body", "reply_to": "celery's"}}
    members = [
        {**add.s(number), "options": {"task_id": f"m{number}", "chord": frozen, "group_index": number}}
        for number in range(2)
    ]
    header = {"task": "celery.group", "args": [], "kwargs": {"tasks": members}, "subtask_type": "group",
              "options": {"task_id": "g", "chord": frozen, "root_id": None, "parent_id": None},
              "immutable": False}  # fmt: skip
    step = {"task": "celery.chord", "args": [], "kwargs": {"kwargs": {}, "header": header, "body": frozen},
            "options": {"task_id": "g"}, "subtask_type": "chord", "immutable": False}  # fmt: skip
    request = request_of(chain=[step])
    calls = on_success(app, request, 5).calls
    assert [(call.id, call.group_id, call.group_index, call.args) for call in calls] == [
        ("m0", "g", 0, (5, 0)),
        ("m1", "g", 1, (5, 1)),
    ]
    assert calls[0].chord["options"] == {"task_id": "body", "reply_to": "celery's", "chord_size": 2}
    steps = on_failure(app, request, ValueError("no"), FAILURE, None)
    assert [result.id for result in steps.results] == ["m0", "m1", "body"]
    assert steps.joins == [], "nobody has to arrive at a barrier whose body has failed already"


def test_a_frozen_workflow_that_is_sent_again_runs_again(app: Harness, add: Any) -> None:
    sig = chain.of([chord([add.s(1), app.tasks["fail"].s()], app.tasks["total"].s()), add.s(1)])
    first = sig.freeze()
    sig.apply_async()
    app.work()
    assert first.state == FAILURE
    app.tasks["fail"].run = lambda: 41
    second = sig.apply_async()
    assert second == first
    app.work()
    assert second.get(timeout=0) == 43, "nothing that was left of the first time counts"
    assert app.barriers() == 2, "the first chord's, which failed, for their time"
