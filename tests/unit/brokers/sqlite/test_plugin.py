"""What the hooks make of a URL, and what it costs not to use them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite import plugin
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.messages import MAX_BODY
from umbel.spec import VERSION

if TYPE_CHECKING:
    from pathlib import Path


def test_the_hooks_answer_for_sqlite_urls_and_no_others(path: Path) -> None:
    broker = plugin.umbel_broker(url=f"sqlite:///{path}?fast=1&lease=3", options={})
    backend = plugin.umbel_result_backend(url=f"sqlite:///{path}", options={"broker_url": "x"})
    assert isinstance(broker, SqliteBroker)
    assert isinstance(backend, SqliteBackend)
    assert (broker.capabilities.lease, broker.capabilities.durable) == (3.0, "process")
    assert SqliteBroker(path).capabilities.durable == "disk"
    assert broker.settler(backend) is not None
    assert plugin.umbel_broker(url="redis://", options={}) is None
    assert plugin.umbel_result_backend(url="redis://", options={}) is None
    with pytest.raises(ValueError, match="no option 'typo'"):
        plugin.umbel_broker(url="sqlite:///x?typo=1", options={})
    assert plugin.UMBEL_SPEC == VERSION


def test_nothing_is_touched_before_it_is_used(path: Path) -> None:
    SqliteBroker(path).close()
    SqliteBackend(path).close()
    assert list(path.parent.iterdir()) == []


def test_what_is_declared_is_what_others_rely_on(path: Path) -> None:
    capabilities = SqliteBroker(path).capabilities
    assert capabilities.held_by == "owner"
    assert capabilities.lease == 30.0
    assert (capabilities.max_delay, capabilities.priorities, capabilities.attempts) == (float("inf"), 10, "exact")
    assert (capabilities.ordered, capabilities.fan_out, capabilities.exact_stats) == ("queue", True, True)
    assert capabilities.max_body == MAX_BODY
    assert capabilities.processes


def test_sqlite3_is_not_loaded_by_the_contract_nor_by_memory() -> None:
    code = (
        "import sys; import umbel.spec, umbel.brokers, umbel.backends, umbel.brokers.memory, umbel.backends.memory;"
        " sys.exit('sqlite3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ}).returncode == 0
