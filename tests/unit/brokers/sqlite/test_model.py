"""The SQLite broker against the model of a broker."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from hypothesis import settings

from tests.unit.brokers.model import BrokerModel
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.clock import ManualClock

if TYPE_CHECKING:
    from umbel.spec import Broker


class SqliteHarness:
    def __init__(self) -> None:
        self.clock = ManualClock(now=1000.0)
        self.folder = tempfile.TemporaryDirectory()
        self.brokers: list[SqliteBroker] = []

    def open(self) -> Broker:
        location = Location.of(f"{self.folder.name}/queue.db", lease=30.0, fast=True)
        broker = SqliteBroker(location, clock=self.clock)
        self.brokers.append(broker)
        return broker

    def now(self) -> float:
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.brokers[0].stats([])  # gives back what has lapsed

    def close(self) -> None:
        for broker in self.brokers:
            broker.close()
        self.folder.cleanup()


class SqliteModel(BrokerModel):
    def make_harness(self) -> SqliteHarness:
        return SqliteHarness()


SqliteModel.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None, derandomize=True)
TestSqliteModel = SqliteModel.TestCase
