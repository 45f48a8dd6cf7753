"""The verdict on the tasks of a dead child."""

import json

import pytest

from umbel.worker.death import Death, Failed, certify, described
from umbel.worker.page import AGAIN_IF_OVERDUE, EARLY, FAILS_IF_LOST, Started

RUNNING = [
    Started(id="plain"),
    Started(id="early", policy=EARLY, attempt=2, generation=1),
    Started(id="overdue", deadline=9.0, limit=3.0, attempt=5),
    Started(id="in-time", deadline=11.0, limit=3.0),
]


def verdict(started: list[Started], *, stopped: bool = False) -> Death:
    return certify("o", started, status=-9, now=10.0, default_limit=7.0, stopped=stopped)


def test_what_was_running_is_charged_and_an_early_acknowledged_task_is_lost() -> None:
    death = verdict(RUNNING)
    assert death.charged == ["plain", "overdue", "in-time"]
    assert death.failed == [
        Failed(id="early", limit=None, attempt=2, generation=1),
        Failed(id="overdue", limit=3.0, attempt=5),
    ]


def test_a_worker_that_stops_charges_nobody_but_who_exceeded_his_limit() -> None:
    death = verdict(RUNNING, stopped=True)
    assert death.charged == ["overdue"]
    assert [failed.id for failed in death.failed] == ["early", "overdue"]


def test_an_early_acknowledged_task_past_its_limit_failed_for_that() -> None:
    death = verdict([Started(id="a", policy=EARLY, deadline=1.0)])
    assert death.failed == [Failed(id="a", limit=7.0)]
    assert death.charged == []


def test_a_task_that_asks_for_it_fails_when_its_child_dies_but_not_when_the_worker_stops() -> None:
    task = Started(id="a", policy=FAILS_IF_LOST)
    assert verdict([task]).failed == [Failed(id="a")]
    assert verdict([task]).charged == ["a"]
    assert verdict([task], stopped=True).failed == []


def test_a_task_that_asks_for_it_runs_again_after_its_hard_limit() -> None:
    death = verdict([Started(id="a", deadline=9.0, policy=AGAIN_IF_OVERDUE)])
    assert death.failed == []
    assert death.charged == ["a"]


def test_a_death_survives_its_way_to_the_agent() -> None:
    death = verdict(RUNNING)
    assert Death.from_dict(json.loads(json.dumps(death.to_dict()))) == death


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-9, "killed by SIGKILL"),
        (3, "exited with code 3"),
        (None, "did not end when killed"),
        (-99, "killed by signal 99"),
    ],
)
def test_an_exit_status_is_put_in_words(status: int | None, words: str) -> None:
    assert described(status) == words
