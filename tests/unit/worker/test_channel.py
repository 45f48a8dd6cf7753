"""Lines of JSON between two processes."""

import socket
from collections.abc import Iterator

import pytest

from umbel.worker.channel import BACKLOG, Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    a, b = (Channel(end) for end in socket.socketpair())
    yield a, b
    a.close()
    b.close()


def test_messages_arrive_in_order(ends: tuple[Channel, Channel]) -> None:
    a, b = ends
    assert a.send({"n": 1, "text": "zwei\nZeilen"})
    assert a.send({"n": 2})
    assert b.receive() == [{"n": 1, "text": "zwei\nZeilen"}, {"n": 2}]
    assert b.receive() == []
    assert not b.ended


def test_what_does_not_fit_is_kept_and_flushed_later(ends: tuple[Channel, Channel]) -> None:
    a, b = ends
    sent = [{"n": n, "padding": "x" * 10_000} for n in range(60)]
    for message in sent:
        assert a.send(message)
    assert a.pending
    received = []
    while len(received) < len(sent):
        received += b.receive()
        a.flush()
    assert received == sent
    assert not a.pending


def test_a_process_that_never_reads_does_not_take_all_memory(ends: tuple[Channel, Channel]) -> None:
    a, _ = ends
    message = {"padding": "x" * 100_000}
    accepted = 0
    while a.send(message):
        accepted += 1
        assert accepted < 1000
    assert accepted * 100_000 < 2 * BACKLOG + 1_000_000


def test_the_end_of_the_other_side_is_noticed_and_its_last_words_are_heard(ends: tuple[Channel, Channel]) -> None:
    a, b = ends
    a.send({"last": True})
    a.close()
    assert b.receive() == [{"last": True}]
    assert b.ended
    assert not b.send({"too": "late"})
