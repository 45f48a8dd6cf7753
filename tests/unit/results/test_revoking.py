"""Revocations, as the result store keeps them."""

from __future__ import annotations

import time

import pytest

from umbel.backends.memory import MemoryBackend
from umbel.results import revoking
from umbel.results.revoking import DAY, KEPT, Revocations, record
from umbel.spec import Result
from umbel.states import REVOKED


def revoked(id: str) -> Result:
    return Result(id=id, state=REVOKED, terminal=True)


def test_every_reader_learns_of_a_revocation_also_a_later_one() -> None:
    backend = MemoryBackend()
    early = Revocations(backend)
    early.refresh()
    assert early.ids == frozenset()
    record(backend, [revoked("a"), revoked("b")])
    late = Revocations(backend)
    for reader in (early, late):
        reader.refresh()
        assert reader.ids == {"a", "b"}
    record(backend, [revoked("c")])
    early.refresh()
    assert early.ids == {"a", "b", "c"}


def test_a_task_that_has_ended_keeps_its_result() -> None:
    backend = MemoryBackend()
    backend.store([Result(id="a", state="SUCCESS", body=b"1", terminal=True)], ttl=None)
    record(backend, [revoked("a")])
    assert backend.fetch(["a"])["a"].state == "SUCCESS"


def test_looking_again_costs_one_small_read_as_long_as_nothing_was_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend()
    record(backend, [revoked("a")])
    reader = Revocations(backend)
    reader.refresh()
    gathered: list[str] = []
    gather = backend.gather
    monkeypatch.setattr(backend, "gather", lambda name: gathered.append(name) or gather(name))
    reader.refresh()
    assert gathered == []
    record(backend, [revoked("b")])
    reader.refresh()
    assert len(gathered) == 1  # the present day's
    assert reader.ids == {"a", "b"}


def test_a_revocation_is_remembered_for_weeks_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend()
    record(backend, [revoked("a")])
    reader = Revocations(backend)
    reader.refresh()
    now = time.time()

    class Later:
        """The clock that the module looks at."""

        days = 20.0

        def time(self) -> float:
            return now + self.days * DAY

        def time_ns(self) -> int:
            return int(self.time() * 1e9)

    clock = Later()
    monkeypatch.setattr(revoking, "time", clock)
    record(backend, [revoked("b")])
    reader.refresh()
    assert reader.ids == {"a", "b"}
    clock.days = KEPT + 2.0
    record(backend, [revoked("c")])
    reader.refresh()
    assert reader.ids == {"b", "c"}
