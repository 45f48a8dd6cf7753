"""Room, measured in time."""

from __future__ import annotations

from umbel.spec import Delivery, Message
from umbel.worker.room import Room


def deliveries(*names: str) -> list[Delivery]:
    return [
        Delivery(message=Message(queue="q", body=b"", id=str(n), headers={"task": name}), receipt=n)
        for n, name in enumerate(names)
    ]


def room(**changes: int) -> Room:
    return Room(**{"slots": 1, "prefetch": 200, **changes}, horizon=0.05)


def test_before_anything_was_timed_only_free_slots_are_filled() -> None:
    assert room(slots=4).limit(0, 0) == 4
    assert room(slots=4).limit(1, 3) == 0


def test_short_tasks_are_fetched_in_large_batches_up_to_the_prefetch() -> None:
    short = room()
    short.took("quick", 0.000_01)
    assert short.limit(0, 0) == 200
    assert short.limit(150, 1) == 50


def test_long_tasks_are_not_hoarded() -> None:
    long = room(slots=2)
    long.took("slow", 10.0)
    assert long.limit(0, 0) == 2
    assert long.limit(0, 2) == 0


def test_one_long_outlier_makes_the_next_batches_small_and_then_they_grow_again() -> None:
    mixed = room()
    for _ in range(50):
        mixed.took("mixed", 0.001)
    before = mixed.limit(0, 0)
    mixed.took("mixed", 10.0)
    after = mixed.limit(0, 0)
    for _ in range(200):
        mixed.took("mixed", 0.001)
    assert after == 1 < before <= mixed.limit(0, 0) + 5


def test_a_slot_that_is_stuck_is_not_counted_on() -> None:
    some = room(slots=2)
    some.took("t", 0.001)
    assert some.limit(0, 2, stuck=0) == 100
    assert some.limit(0, 2, stuck=1) == 50
    assert some.limit(0, 2, stuck=2) == 0


def test_tasks_that_nobody_has_timed_count_as_long() -> None:
    fresh = room()
    assert fresh.surplus(deliveries("a", "b", "c"), 0, 0) == 2
    fresh.took("a", 0.001)
    assert fresh.surplus(deliveries("a", "a", "a"), 0, 0) == 0


def test_what_does_not_fit_into_the_horizon_is_surplus() -> None:
    known = room()
    known.took("t", 0.02)
    assert known.surplus(deliveries(*"ttttt"), 0, 0) == 3


def test_a_header_that_is_no_name_is_counted_without_an_error() -> None:
    odd = deliveries("x", "y")
    odd[0].message.headers["task"] = 7
    assert 0 <= room().surplus(odd, 0, 0) <= 1
