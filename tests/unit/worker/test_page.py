"""What a child was running can be read after its death."""

import os
import random
import signal
import time

import pytest

from umbel.worker.page import EARLY, FAILS_IF_LOST, Page, Started


def test_what_has_begun_and_not_ended_is_listed() -> None:
    slot = Page(1, 3).slot(0)
    slot.begin(0, "a")
    slot.begin(2, "c", 5.5, EARLY | FAILS_IF_LOST, 2.5, 4, 1)
    slot.begin(1, "b")
    slot.end(1)
    assert slot.started() == [
        Started(id="a"),
        Started(id="c", deadline=5.5, policy=EARLY | FAILS_IF_LOST, limit=2.5, attempt=4, generation=1),
    ]


def test_an_entry_says_nothing_of_the_one_before_it() -> None:
    slot = Page(1, 1).slot(0)
    slot.begin(0, "long-name", 5.5, True, 2.5, 4, 1)
    slot.end(0)
    slot.begin(0, "b")
    assert slot.started() == [Started(id="b")]
    assert slot.next_deadline() is None


def test_an_early_acknowledgement_can_be_given_as_a_bool() -> None:
    slot = Page(1, 1).slot(0)
    slot.begin(0, "a", 0.0, True)
    assert slot.started() == [Started(id="a", policy=EARLY)]


def test_the_slots_of_two_children_are_apart() -> None:
    page = Page(2, 2)
    for index in range(2):
        page.slot(0).begin(index, "x" * 255, 1.0, True, 1.0, 9, 9)
    assert page.slot(1).started() == []
    page.slot(1).begin(0, "b")
    page.slot(0).clear()
    assert page.slot(0).started() == []
    assert page.slot(1).started() == [Started(id="b")]


@pytest.mark.parametrize("id", ["x" * 255, "é" * 127, "\U0001f33f" * 63, "\ud800"])
def test_any_id_of_255_bytes_is_kept_whole(id: str) -> None:
    slot = Page(1, 2).slot(0)
    slot.begin(1, id)
    assert slot.started() == [Started(id=id)]


def test_a_longer_id_is_refused_and_leaves_no_entry() -> None:
    slot = Page(1, 1).slot(0)
    with pytest.raises(ValueError, match="256 bytes"):
        slot.begin(0, "é" * 128)
    assert slot.started() == []


def test_the_next_deadline_is_the_earliest_of_what_runs() -> None:
    slot = Page(1, 4).slot(0)
    assert slot.next_deadline() is None
    slot.begin(0, "a", 9.0)
    slot.begin(1, "b", 7.0)
    slot.begin(2, "c")
    slot.begin(3, "d", 3.0)
    slot.end(3)
    assert slot.next_deadline() == 7.0


def test_tasks_are_counted_until_the_slot_is_cleared() -> None:
    slot = Page(1, 1).slot(0)
    slot.count()
    slot.count()
    assert slot.processed == 2
    slot.clear()
    assert slot.processed == 0


def test_a_child_killed_while_it_writes_leaves_no_torn_id() -> None:
    """Ids say themselves whether they are whole: the same letter throughout, as often as its number says."""
    letters = "abcdefghij"
    whole = {letter * (20 * number + 1) for number, letter in enumerate(letters)}
    seen = set()
    for _ in range(40):
        slot = Page(1, 2).slot(0)
        ready, written = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(written, b".")
                while True:
                    for id in whole:
                        slot.begin(1, id, 1.0, True, 1.0, 2, 3)
            finally:
                os._exit(1)
        os.read(ready, 1)
        time.sleep(random.uniform(0, 0.003))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(written)
        seen |= {entry.id for entry in slot.started()}
    assert seen
    assert seen <= whole
