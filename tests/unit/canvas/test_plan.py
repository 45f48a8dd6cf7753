"""A signature of any kind becomes the calls to publish now; what follows them travels inside."""

import copy
import json
import time
from typing import Any

import pytest

from tests.unit.canvas.harness import Harness
from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.group import group
from umbel.canvas.plan import Derived, plan
from umbel.canvas.signature import Signature


@pytest.fixture
def app() -> Harness:
    app = Harness()
    app.task(lambda *args: args, name="t")
    return app


def t(name: str = "t", *args: Any, **options: Any) -> Signature:
    return Signature(name, args, options=options)


def test_a_task_is_one_call(app: Harness) -> None:
    planned = plan(t("t", 1, queue="fast"), (0,), {"k": 2}, app=app, countdown=3, task_id="x", priority=None)
    (call,) = planned.calls
    assert (call.task, call.id, call.args, call.kwargs) == ("t", "x", (0, 1), {"k": 2})
    assert call.options == {"queue": "fast", "countdown": 3}
    assert (call.root_id, call.parent_id, call.group_id, call.chain, call.chord) == ("x", None, None, None, None)
    assert planned.result.id == "x"


def test_a_group_of_ten_thousand_leaves_in_one_publish(app: Harness) -> None:
    result = group(app.tasks["t"].s(number) for number in range(10_000))()
    (calls,) = app.publishes
    assert [call.args for call in calls] == [(number,) for number in range(10_000)]
    assert {call.group_id for call in calls} == {result.id}
    assert [call.group_index for call in calls] == list(range(10_000))
    assert [call.id for call in calls] == [member.id for member in result]
    assert len({call.id for call in calls}) == 10_000


def test_planning_ten_thousand_takes_a_fraction_of_a_second(app: Harness) -> None:
    sig = group(t("t", number) for number in range(10_000))
    begun = time.process_time()
    plan(sig, app=app)
    assert time.process_time() - begun < 0.5


def test_a_chain_is_one_call_with_the_rest_reversed_and_frozen(app: Harness) -> None:
    planned = plan(chain.of([t("t", 1), t("b"), t("c", queue="slow")]), app=app)
    (call,) = planned.calls
    assert call.chain is not None
    last, middle = call.chain
    assert (last["task"], middle["task"]) == ("c", "b")
    assert list(last) == ["task", "args", "kwargs", "options", "subtask_type", "immutable"]
    assert last["options"] == {"queue": "slow", "task_id": planned.result.id, "reply_to": app.thread_oid}
    assert planned.result.parent.id == middle["options"]["task_id"]
    assert planned.result.parent.parent.id == call.id
    json.dumps(call.chain)


def test_the_whole_plan_is_pure(app: Harness) -> None:
    sig = chord([t(), chain.of([t(), group([t(), t()])])], chain.of([t(), t()]))
    sig.link(t("done"))
    before = copy.deepcopy(sig)
    first, second = plan(sig, (1,), app=app), plan(sig, (1,), app=app)
    assert sig == before
    assert not {call.id for call in first.calls} & {call.id for call in second.calls}
    assert app.publishes == []


def test_ids_that_are_derived_are_the_same_each_time(app: Harness) -> None:
    sig = chord([t(), chain.of([t(), group([t(), t()])])], chain.of([t(), t()]))
    first, second = (plan(sig, app=app, ids=Derived("parent", "kind")).calls for _ in range(2))
    assert first == second
    other = plan(sig, app=app, ids=Derived("parent", "other")).calls
    assert not {call.id for call in first} & {call.id for call in other}


def test_a_member_of_a_chord_carries_the_body_and_the_size(app: Harness) -> None:
    planned = plan(chord([t(), group([t(), t()])], t("body", queue="slow")), app=app)
    assert [call.group_index for call in planned.calls] == [0, 1, 2]
    assert {call.group_id for call in planned.calls} == {planned.result.parent.id}
    (chord_field,) = {json.dumps(call.chord) for call in planned.calls}
    body = json.loads(chord_field)
    assert body["task"] == "body"
    assert body["options"] == {
        "queue": "slow",
        "task_id": planned.result.id,
        "reply_to": app.thread_oid,
        "chord_size": 3,
    }


def test_a_member_that_is_a_chain_answers_with_its_last_task(app: Harness) -> None:
    planned = plan(chord([chain.of([t("a"), t("b")])], t("body")), app=app)
    (call,) = planned.calls
    assert (call.group_id, call.chord) == (None, None)
    assert call.chain is not None
    options = call.chain[0]["options"]
    assert options["group_id"] == planned.result.parent.id
    assert options["group_index"] == 0
    assert options["chord"]["task"] == "body"


def test_a_member_that_ends_in_a_group_answers_with_one_value(app: Harness) -> None:
    planned = plan(chord([chain.of([t("a"), group([t("b"), t("c")])])], t("body")), app=app)
    (call,) = planned.calls
    assert call.chain is not None
    inner = call.chain[0]
    assert inner["subtask_type"] == "chord"
    assert inner["kwargs"]["body"]["task"] == "celery.accumulate"
    assert inner["kwargs"]["body"]["options"]["chord"]["task"] == "body"


def test_a_body_that_is_a_chain_goes_on_as_the_rest_of_the_chain(app: Harness) -> None:
    planned = plan(chord([t("a"), t("b")], chain.of([t("c"), t("d")])), app=app)
    body = planned.calls[0].chord
    assert body["task"] == "c"
    assert [sig["task"] for sig in body["options"]["chain"]] == ["d"]
    assert body["options"]["chain"][0]["options"]["task_id"] == planned.result.id


def test_execution_options_of_a_chain_are_its_first_tasks(app: Harness) -> None:
    (call,) = plan(chain.of([t("a"), t("b")]), app=app, queue="fast", countdown=5).calls
    assert call.options == {"queue": "fast", "countdown": 5}
    assert call.chain is not None
    assert "queue" not in call.chain[0]["options"]


def test_execution_options_of_a_group_are_every_members(app: Harness) -> None:
    sig = group([t("a", queue="slow"), chain.of([t("b"), t("c")])], priority=3)
    calls = plan(sig, app=app, queue="fast").calls
    assert [call.options for call in calls] == [{"queue": "fast", "priority": 3}] * 2


def test_a_chord_waits_once_before_its_header(app: Harness) -> None:
    (call,) = plan(chord([t("a")], t("body")), app=app, queue="fast", countdown=60).calls
    assert call.options == {"queue": "fast", "countdown": 60}
    assert call.chord["options"]["queue"] == "fast"
    assert "countdown" not in call.chord["options"]
    (alone,) = plan(chord([], t("body")), app=app, countdown=60).calls
    assert alone.options == {"countdown": 60}
    assert alone.args == ([],)


def test_the_task_id_is_the_last_tasks_or_the_groups_or_the_bodys(app: Harness) -> None:
    assert plan(chain.of([t(), t()]), app=app, task_id="x").result.id == "x"
    assert plan(group([t(), t()]), app=app, task_id="x").result.id == "x"
    assert plan(chord([t()], t()), app=app, task_id="x").result.id == "x"
    assert plan(chord([t()], chain.of([t(), t()])), app=app, task_id="x").calls[0].chord["options"]["task_id"] != "x"


def test_callbacks_of_a_chain_are_its_last_tasks_and_errbacks_each_ones(app: Harness) -> None:
    sig = chain.of([t("a"), chord([t("b")], t("c")), t("d")])
    sig.link(t("done"))
    sig.link_error(t("failed"))
    (call,) = plan(sig, app=app, link_error=t("late")).calls
    assert call.callbacks is None
    assert call.errbacks == [t("failed"), t("late")]
    assert call.chain is not None
    last, middle = call.chain
    assert last["options"]["link"] == [t("done")]
    body = middle["kwargs"]["body"]
    for options in (last["options"], body["options"]):
        assert options["link_error"] == [t("failed"), t("late")]
    assert "link_error" not in middle["kwargs"]["header"][0]["options"]


def test_errbacks_of_a_chord_reach_its_header_where_the_setting_says_so(app: Harness) -> None:
    app.conf.task_allow_error_cb_on_chord_header = True
    (call,) = plan(chord([t("b")], t("c")), app=app, link_error=t("failed")).calls
    assert call.errbacks == [t("failed")]


def test_a_groups_callback_is_an_immutable_one_of_its_first_member(app: Harness) -> None:
    sig = group([t("a"), t("b")])
    sig.link(t("done"))
    sig.link_error(t("failed"))
    first, second = plan(sig, app=app).calls
    assert first.callbacks == [t("done").set(immutable=True)]
    assert second.callbacks is None
    assert first.errbacks == second.errbacks == [t("failed")]


def test_a_group_takes_no_callback_with_the_call(app: Harness) -> None:
    for option in ("link", "link_error"):
        with pytest.raises(TypeError, match="group"):
            group([t()], app=app).apply_async(**{option: t()})


def test_freezing_is_for_the_header_only_in_a_chord_and_for_all_in_a_group() -> None:
    members, body = [t(), t()], t()
    chord(members, body).set_immutable(True)
    assert [member.immutable for member in members] == [True, True]
    assert body.immutable is False
    group(members).set_immutable(False)
    assert [member.immutable for member in members] == [False, False]


def test_a_skewed_group_starts_one_after_the_other(app: Harness) -> None:
    calls = plan(group(t() for _ in range(4)).skew(start=1, stop=3, step=1), app=app).calls
    assert [call.options["countdown"] for call in calls] == [1, 2, 3, 3]


def test_ignored_results_are_known_by_their_handles(app: Harness) -> None:
    assert plan(t("t", ignore_result=True), app=app).result.get() is None
    app.tasks["t"].ignore_result = True
    assert plan(t(), app=app).result.ignored
    assert not plan(t("t", ignore_result=False), app=app).result.ignored


@pytest.mark.parametrize(
    "sig",
    [
        chord([t()], t()),
        chain.of([t(), group([t(), t()]), t()]),
        group([t(), chord([t()], t())]),
        chain.of([t(), chord([t()], t())]),
    ],
    ids=["chord", "group in a chain", "chord in a group", "chord in a chain"],
)
def test_a_chord_is_refused_at_the_call_where_results_cannot_be_joined(app: Harness, sig: Any) -> None:
    app.backend.joins = False
    with pytest.raises(NotImplementedError, match=r"MemoryBackend.*result_backend"):
        plan(sig, app=app)
    app.backend = None
    with pytest.raises(NotImplementedError, match="set result_backend"):
        plan(sig, app=app)


def test_what_needs_no_join_works_without_a_result_store(app: Harness) -> None:
    app.backend = None
    for sig in (group([t(), t()]), chain.of([t(), group([t(), t()])]), chord([], t())):
        assert plan(sig, app=app).calls


def test_nothing_is_sent_for_what_is_empty(app: Harness) -> None:
    assert chain()() is None
    assert chain.of([], app=app).apply_async() is None
    assert list(group([], app=app)()) == []
    assert app.publishes == []


def test_a_chord_without_a_body_says_how_to_give_it_one(app: Harness) -> None:
    with pytest.raises(ValueError, match=r"chord\(header, body\)"):
        chord([t()], app=app)()
    assert chord([t()], app=app)(t()).id
    assert chord([t()], app=app).apply_async(kwargs={"body": t()}).id


def test_options_that_nobody_would_heed_are_refused(app: Harness) -> None:
    for sig in (t("a", connection=object()), chain.of([t("a"), t("b", producer=object())])):
        with pytest.raises(NotImplementedError, match=r"not supported: messages go to app\.broker"):
            plan(sig, app=app)
    with pytest.raises(NotImplementedError, match="'publisher'"):
        plan(t("a"), app=app, publisher=object())
    with pytest.raises(NotImplementedError, match="'producer'"):
        group([t("a")], app=app).apply_async(producer=object())
    assert plan(t("a"), app=app, publisher=None, add_to_parent=False).calls[0].options == {}


def test_what_follows_a_whole_chain_comes_after_its_own_rest(app: Harness) -> None:
    after = {**t("after"), "options": {"task_id": "x"}}
    (call,) = plan(chain.of([t("a"), t("b")]), app=app, chain=[after]).calls
    assert [sig["task"] for sig in call.chain or ()] == ["after", "b"]
    (alone,) = plan(t("a"), app=app, chain=[after]).calls
    assert alone.chain == [after]
    (first, second) = plan(group([t("a"), t("b")]), app=app, chain=[after]).calls
    assert first.chord["options"]["task_id"] == second.chord["options"]["task_id"] == "x"
