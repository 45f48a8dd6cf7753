"""Connections: one of each per process, made when they are asked for."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from umbel import Queue, Umbel
from umbel.brokers.memory import MemoryBroker
from umbel.brokers.memory.hub import Hub
from umbel.exceptions import ImproperlyConfigured, PluginError
from umbel.message.ids import new_id
from umbel.spec import Capabilities, Serializer
from umbel.spec.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Plugin:
    """The scheme asked://, which keeps what it was asked."""

    UMBEL_SPEC = 1

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    @hookimpl
    def umbel_broker(self, url: str, options: Mapping[str, Any]) -> MemoryBroker:
        self.asked.append((url, dict(options)))
        return MemoryBroker(Hub())


def in_a_child(work: Callable[[], object]) -> str:
    """What `work` returns in a forked process, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text


def test_nothing_is_connected_before_it_is_asked_for() -> None:
    app = Umbel(broker="no-such-scheme://host", set_as_current=False)

    @app.task
    def job() -> None: ...

    with pytest.raises(PluginError, match="no-such-scheme"):
        job.delay()


@pytest.mark.parametrize("url", ["host", "://host"])
def test_a_wrong_url_is_a_clear_error(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="no scheme"):
        Umbel(broker=url, set_as_current=False).send_task("job")


def test_all_threads_share_one_broker_and_one_store() -> None:
    with Umbel(broker=f"memory://{new_id()}", set_as_current=False) as app:
        start = threading.Barrier(8)
        seen: list[tuple[Any, ...]] = []

        def look() -> None:
            start.wait()
            seen.append((app.broker, app.backend, app.waiter))

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert len(set(seen)) == 1


def test_a_forked_process_has_connections_of_its_own(tmp_path: Path) -> None:
    with Umbel(broker=f"sqlite:///{tmp_path}/queue.db", set_as_current=False) as app:
        app.send_task("from.the.parent")
        parent = id(app.broker), id(app.backend), id(app.waiter)

        def work() -> object:
            app.send_task("from.the.child")
            own = id(app.broker), id(app.backend), id(app.waiter)
            return [here != there for here, there in zip(own, parent, strict=True)]

        assert in_a_child(work) == "[True, True, True]"
        assert parent == (id(app.broker), id(app.backend), id(app.waiter))
        sent = app.broker.browse("celery", 10)
        assert [message.headers["task"] for message in sent] == ["from.the.parent", "from.the.child"]
        assert sent[0].headers["origin"] != sent[1].headers["origin"]


def test_who_connects_is_told_in_a_forked_process_and_only_there(app: Umbel) -> None:
    told: list[int] = []
    app.on_after_fork.connect(lambda **named: told.append(os.getpid()), weak=False)
    app.broker  # noqa: B018

    def work() -> object:
        app.broker  # noqa: B018
        app.close()
        app.broker  # noqa: B018
        return told == [os.getpid()]

    assert in_a_child(work) == "True"
    assert told == []


def test_after_close_the_next_use_connects_again(tmp_path: Path) -> None:
    app = Umbel(broker=f"sqlite:///{tmp_path}/queue.db", set_as_current=False)
    app.send_task("one")
    before = app.broker
    app.close()
    app.send_task("two")
    assert app.broker is not before
    assert app.broker.stats(["celery"])["celery"].ready == 2
    app.close()
    app.close()


def test_the_transport_gets_its_options_and_those_settings_that_were_given() -> None:
    plugin = Plugin()
    app = Umbel(
        broker="asked://host",
        set_as_current=False,
        broker_transport_options={"sep": ":", "ssl": "own"},
        broker_use_ssl=True,
        broker_heartbeat=10,
    )
    app.plugins.register("asked", plugin)
    with app:
        app.broker  # noqa: B018
    assert plugin.asked == [("asked://host", {"sep": ":", "ssl": "own", "heartbeat": 10})]


def test_delayed_messages_go_to_the_delay_store_where_the_broker_cannot_keep_them(tmp_path: Path) -> None:
    class Impatient:
        UMBEL_SPEC = 1

        @hookimpl
        def umbel_broker(self, url: str, options: Mapping[str, Any]) -> MemoryBroker:
            return MemoryBroker(Hub(), capabilities=Capabilities(held_by="owner", lease=30.0, processes=False))

    app = Umbel(broker="impatient://", delay_store=f"sqlite:///{tmp_path}/delay.db", set_as_current=False)
    app.plugins.register("impatient", Impatient())
    with app:
        app.send_task("job", countdown=3600)
        assert (tmp_path / "delay.db").exists()


def test_the_queues_of_the_settings_are_named_and_can_be_declared(app: Umbel) -> None:
    assert app.queue_names() == ["celery"]
    app.conf.task_queues = [Queue("one"), Queue("two")]
    assert app.queue_names() == ["one", "two"]
    assert [queue.name for queue in app.declare()] == ["one", "two"]
    app.declare(["three"])
    assert set(app.broker.queues()) >= {"one", "two", "three", "one.dead"}


def test_a_serializer_of_a_plugin_is_loaded_when_it_is_named(app: Umbel) -> None:
    class Reversed:
        UMBEL_SPEC = 1

        @hookimpl
        def umbel_serializers(self) -> list[Serializer]:
            return [
                Serializer(
                    name="reversed",
                    content_type="application/x-reversed",
                    dumps=lambda value: repr(value)[::-1].encode(),
                    loads=lambda data: None,
                )
            ]

    app.plugins.register("reversed", Reversed(), group="umbel.serializers")
    app.send_task("job", (12,), serializer="reversed")
    (message,) = app.broker.browse("celery", 1)
    assert message.content_type == "application/x-reversed"
    assert b")21(" in message.body or b",21(" in message.body
    with pytest.raises(ImproperlyConfigured, match="no-such-serializer"):
        app.send_task("job", serializer="no-such-serializer")


def test_a_router_of_a_plugin_is_asked(app: Umbel) -> None:
    class Routes:
        UMBEL_SPEC = 1

        @hookimpl
        def umbel_router(self, config: Mapping[str, Any]) -> Any:
            class Router:
                def route(self, task: str, args: Any, kwargs: Any, options: Any) -> dict[str, Any]:
                    return {"queue": f"{config['task_default_queue']}-{args[0]}"}

            return Router()

    app.plugins.register("mine", Routes(), group="umbel.routers")
    app.conf.task_routes = "mine"
    app.send_task("job", (7,))
    assert app.broker.stats(["celery-7"])["celery-7"].ready == 1
