"""What the tests of the SQLite transport share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that is not there yet."""
    return tmp_path / "queue.db"


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test turns."""
    return ManualClock()


@pytest.fixture
def broker(path: Path, clock: ManualClock) -> Iterator[SqliteBroker]:
    """A broker whose time stands still."""
    broker = SqliteBroker(Location.of(path, lease=30.0, fast=True), clock=clock)
    yield broker
    broker.close()


@pytest.fixture
def live(path: Path) -> Iterator[SqliteBroker]:
    """A broker that goes by the machine's clocks."""
    broker = SqliteBroker(path)
    yield broker
    broker.close()
