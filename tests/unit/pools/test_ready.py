"""The queue between fetcher and pool."""

from __future__ import annotations

from umbel.pools.ready import Ready, drain, take_and_work
from umbel.spec import Delivery, Message


def delivery(id: str) -> Delivery:
    return Delivery(message=Message(queue="q", body=b"", id=id), receipt=None)


def test_what_is_drained_comes_out_in_order() -> None:
    ready: Ready = Ready()
    for id in "abc":
        ready.put(delivery(id))
    assert [d.message.id for d in drain(ready)] == ["a", "b", "c"]
    assert ready.empty()


def test_draining_keeps_the_word_to_leave() -> None:
    ready: Ready = Ready()
    ready.put(delivery("a"))
    ready.put(None)
    ready.put(delivery("b"))
    assert [d.message.id for d in drain(ready)] == ["a", "b"]
    assert ready.get(timeout=1) is None


def test_a_taker_works_on_each_and_leaves_when_told() -> None:
    ready: Ready = Ready()
    seen: list[tuple[str, int]] = []
    for item in (delivery("a"), delivery("b"), None, delivery("c")):
        ready.put(item)
    take_and_work(ready, lambda d, slot: seen.append((d.message.id, slot)), 3)
    assert seen == [("a", 3), ("b", 3)]
    assert ready.qsize() == 1
