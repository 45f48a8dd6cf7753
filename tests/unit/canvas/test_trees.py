"""Any workflow, with any faults, comes to what it must, and nothing in it runs more often than a fault can explain."""

import itertools
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.canvas.harness import BOUNDARIES, Harness
from tests.unit.canvas.trees import Failed, Tree, handled_as, signature_of, tasks_in, value_of, workflows
from umbel.canvas.compiling import freeze_ids
from umbel.exceptions import ChordError


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


class Blamed(Exception):
    pass


def sent(tree: Tree, seed: int = 0, *, folded: bool) -> tuple[Harness, Any]:
    """The workflow, sent, under ids that are the same in each run."""
    numbers = itertools.count()
    app = Harness(seed)
    app.exception_types.register(Blamed)

    def run(*args: Any, name: str, fails: bool) -> Any:
        if fails:
            raise Blamed(name)
        return [name, list(args)]

    sig = signature_of(tree, app.task(run), folded=folded)
    freeze_ids(sig, lambda: f"id-{next(numbers)}", None, {})
    return app, sig.apply_async()


def outcome(result: Any) -> Any:
    """The value, or the error's class: whoever is blamed depends on who came first."""
    if result is None:
        return None
    try:
        return result.get(timeout=0)
    except (Blamed, ChordError) as exc:
        return type(exc)


def expected(tree: Tree) -> Any:
    try:
        return value_of(handled_as(tree), [])
    except Failed:
        return Failed


def same(found: Any, wanted: Any) -> bool:
    return found in (Blamed, ChordError) if wanted is Failed else found == wanted


def handles(result: Any) -> list[Any]:
    """All handles that a caller can reach from the one that it was given."""
    found = []
    while result is not None:
        found.append(result)
        found += [handle for member in getattr(result, "results", ()) for handle in handles(member)]
        result = result.parent
    return found


@examples(250)
@given(workflow=workflows(), seed=st.integers(0, 9))
def test_a_workflow_without_faults_has_the_right_value_and_every_task_runs_once(
    workflow: tuple[bool, Tree], seed: int
) -> None:
    folded, tree = workflow
    app, result = sent(tree, seed, folded=folded)
    app.work()
    wanted = expected(tree)
    assert same(outcome(result), wanted), (outcome(result), wanted)
    assert all(handle.ready() for handle in handles(result)), "somebody waits for ever"
    ran = [kwargs["name"] for name, _, (_, kwargs) in app.ran if name == "run"]
    assert len(ran) == len(set(ran))
    assert max(app.sent.values(), default=1) == 1
    if wanted is not Failed:
        assert sorted(ran) == sorted(tasks_in(tree))


@examples(250)
@given(workflow=workflows(), seed=st.integers(0, 9), data=st.data())
def test_a_workflow_comes_to_the_same_wherever_workers_die(
    workflow: tuple[bool, Tree], seed: int, data: st.DataObject
) -> None:
    folded, tree = workflow
    clean, _ = sent(tree, seed, folded=folded)
    clean.work()
    app, result = sent(tree, seed, folded=folded)
    ids = sorted({id for _, id, _ in clean.ran})
    faults = 0
    own_crashes: Counter[str] = Counter()
    for id in data.draw(st.lists(st.sampled_from(ids), max_size=4)) if ids else []:
        points = data.draw(st.lists(st.sampled_from(BOUNDARIES), min_size=1, max_size=3))
        app.crash(id, *sorted(points, key=BOUNDARIES.index))
        faults += len(points)
        own_crashes[id] += points.count("ran")
    app.work()
    wanted = expected(tree)
    assert same(outcome(result), wanted), (outcome(result), wanted)
    assert all(handle.ready() for handle in handles(result)), "somebody waits for ever"
    bodies = {call.id for calls in app.publishes for call in calls if call.resent}
    for id in ids:
        assert app.times(id) <= 1 + (own_crashes[id] if id in bodies else faults)
    for name in {name for name, _, _ in app.ran}:
        by_id: dict[str, set[str]] = {}
        for ran, id, args in app.ran:
            if ran == name:
                by_id.setdefault(id, set()).add(repr(args))
        assert all(len(args) == 1 for args in by_id.values()), "one task ran with two different arguments"


@examples(200)
@given(workflow=workflows(), seed=st.integers(0, 999))
def test_late_duplicates_of_settled_tasks_change_nothing(workflow: tuple[bool, Tree], seed: int) -> None:
    folded, tree = workflow
    app, result = sent(tree, seed, folded=folded)
    while app.queue:
        app.queue.rotate(app.random.randrange(len(app.queue)))
        app.deliver(app.queue.popleft())
        if app.done and app.random.random() < 0.3:
            app.redeliver(app.random.choice(app.done))
    before = len(app.ran)
    for delivery in list(app.done):
        app.redeliver(delivery)
    app.work()
    assert same(outcome(result), expected(tree))
    assert len(app.ran) == before
