"""The memory broker against the model of a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

from tests.unit.brokers.model import BrokerModel
from umbel.brokers.memory import Hub, MemoryBroker
from umbel.clock import ManualClock

if TYPE_CHECKING:
    from umbel.spec import Broker


class MemoryHarness:
    def __init__(self) -> None:
        self.clock = ManualClock(now=1000.0)
        self.hub = Hub(self.clock)

    def open(self) -> Broker:
        return MemoryBroker(self.hub, lease=30.0)

    def now(self) -> float:
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def close(self) -> None:
        assert not self.hub.holders
        assert not self.hub.renewed


class MemoryModel(BrokerModel):
    def make_harness(self) -> MemoryHarness:
        return MemoryHarness()


MemoryModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
TestMemoryModel = MemoryModel.TestCase
