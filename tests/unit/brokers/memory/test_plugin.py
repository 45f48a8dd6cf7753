"""memory:// as the plugin manager sees it."""

from __future__ import annotations

import os

import pluggy
import pytest

from tests.unit.brokers.helpers import bodies, consume, message, receive_all
from umbel.brokers.memory import plugin
from umbel.brokers.memory.broker import MemoryBroker
from umbel.spec import VERSION, Broker, Result, ResultBackend, hooks


@pytest.fixture
def manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    manager.register(plugin)
    return manager


def broker(manager: pluggy.PluginManager, url: str, **options: object) -> Broker:
    made = manager.hook.umbel_broker(url=url, options=options)
    assert isinstance(made, MemoryBroker)
    return made


def test_it_is_written_for_this_version_of_the_contract() -> None:
    assert plugin.UMBEL_SPEC == VERSION


@pytest.mark.parametrize(("first", "second", "same"), [("n1", "n1", True), ("n2", "n3", False), ("", "", True)])
def test_one_name_is_one_set_of_queues(first: str, second: str, same: bool, manager: pluggy.PluginManager) -> None:
    queue = f"{first} {second}"
    broker(manager, f"memory://{first}").publish([message("1", queue)])
    assert bodies(receive_all(consume(broker(manager, f"memory://{second}"), queue))) == ["1"] * same


def test_broker_and_store_of_one_name_settle_in_one_step(manager: pluggy.PluginManager) -> None:
    backend = manager.hook.umbel_result_backend(url="memory://pair", options={"broker_url": "memory://pair"})
    assert isinstance(backend, ResultBackend)
    assert broker(manager, "memory://pair").settler(backend) is not None
    assert broker(manager, "memory://else").settler(backend) is None
    backend.store([Result(id="pair", state="SUCCESS")], ttl=1)
    again = manager.hook.umbel_result_backend(url="memory://pair/", options={})
    assert list(again.fetch(["pair"])) == ["pair"]


def test_the_lease_can_be_set_by_url_or_option(manager: pluggy.PluginManager) -> None:
    assert broker(manager, "memory://?lease=3").capabilities.lease == 3
    assert broker(manager, "memory://", lease=4.5).capabilities.lease == 4.5
    assert broker(manager, "memory://?lease=3", lease=4.5, other=1).capabilities.lease == 3
    assert broker(manager, "memory://").capabilities.lease == 30


@pytest.mark.parametrize("url", ["memory://?lease=x", "memory://?lease=0", "memory://?lease=", "memory://?lese=3"])
def test_a_wrong_url_is_an_error_that_names_the_option(url: str, manager: pluggy.PluginManager) -> None:
    with pytest.raises(ValueError, match="lease"):
        broker(manager, url)


def test_other_schemes_are_not_ours(manager: pluggy.PluginManager) -> None:
    assert manager.hook.umbel_broker(url="redis://memory", options={}) is None
    assert manager.hook.umbel_result_backend(url="redis://memory", options={}) is None


def test_a_forked_process_begins_with_empty_queues() -> None:
    mine = plugin.MemoryPlugin()
    before = mine.hub("n")
    assert mine.hub("n") is before
    child = os.fork()
    if not child:
        os._exit(0 if mine.hub("n") is not before and not mine.hub("n").foreign else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mine.hub("n") is before
