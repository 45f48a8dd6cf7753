from __future__ import annotations

from types import SimpleNamespace

import pytest

from umbel.exceptions import ImproperlyConfigured
from umbel.routing.queues import Broadcast, Exchange, Queue, as_queue, binding, queue_of_options, worker_direct
from umbel.spec import Binding


def test_a_queue_is_declared_as_its_fields_say():
    queue = Queue(
        "videos",
        Exchange("media", "topic"),
        routing_key="media.video.#",
        queue_arguments={"x-queue-type": "quorum"},
        binding_arguments={"x-match": "all"},
        max_priority=5,
        expires=1.5,
        message_ttl=2,
        max_length=3,
        max_length_bytes=4,
    )
    declared = queue.declaration()
    assert declared.name == "videos"
    assert declared.durable
    assert declared.bindings == (
        Binding(exchange="media", exchange_type="topic", routing_key="media.video.#", arguments={"x-match": "all"}),
    )
    assert declared.options == {
        "queue_arguments": {
            "x-queue-type": "quorum",
            "x-expires": 1500,
            "x-message-ttl": 2000,
            "x-max-length": 3,
            "x-max-length-bytes": 4,
            "x-max-priority": 5,
        }
    }


def test_what_is_unusual_is_in_the_options_and_nothing_else():
    assert Queue("q", Exchange("e")).declaration().options == {}
    options = (
        Queue("q", Exchange("e", "fanout", durable=False, auto_delete=True), exclusive=True, no_ack=True)
        .declaration()
        .options
    )
    assert options == {
        "auto_delete": True,
        "exclusive": True,
        "no_ack": True,
        "exchanges": {"e": {"durable": False, "auto_delete": True}},
    }


def test_a_queue_may_have_several_ways_in():
    queue = Queue("q", bindings=[binding(Exchange("a"), "one"), binding("b", routing_key="two", arguments={"x": 1})])
    assert queue.declaration().bindings == (
        Binding(exchange="a", routing_key="one"),
        Binding(exchange="b", routing_key="two", arguments={"x": 1}),
    )
    both = Queue("q", Exchange("main"), "key", bindings=[binding(routing_key="other")])
    assert [(each.exchange, each.routing_key) for each in both.declaration().bindings] == [
        ("main", "key"),
        ("main", "other"),
    ]


def test_a_queue_on_the_default_exchange_has_no_binding():
    assert Queue("q", Exchange("")).declaration().bindings == ()


class FakeKombu:
    """The attributes that kombu's objects have, by duck typing."""

    exchange = SimpleNamespace(
        name="media", type="topic", durable=True, auto_delete=False, arguments={}, delivery_mode=None, passive=False
    )
    queue = SimpleNamespace(
        name="videos",
        exchange=exchange,
        routing_key="video.*",
        bindings=[SimpleNamespace(exchange=exchange, routing_key="more", arguments=None)],
        queue_arguments={"x-max-priority": 3},
        binding_arguments=None,
        consumer_arguments=None,
        durable=False,
        exclusive=False,
        auto_delete=True,
        no_ack=None,
        alias=None,
        channel=object(),
    )


def test_kombus_queue_is_ours_by_its_attributes():
    queue = as_queue(FakeKombu.queue)
    assert (queue.name, queue.durable, queue.auto_delete, queue.max_priority) == ("videos", False, True, None)
    assert [(each.exchange, each.exchange_type, each.routing_key) for each in queue.declaration().bindings] == [
        ("media", "topic", "video.*"),
        ("media", "topic", "more"),
    ]


def test_a_queue_may_be_a_dictionary():
    queue = queue_of_options("cpu", {"exchange": "work", "exchange_type": "topic", "binding_key": "cpu.#"})
    assert (queue.name, queue.exchange, queue.routing_key) == ("cpu", Exchange("work", "topic"), "cpu.#")
    assert queue_of_options("cpu", {"exchange_type": "fanout"}).exchange == Exchange("cpu", "fanout")
    assert queue_of_options("cpu", {"routing_key": "k", "max_priority": 3}).arguments() == {"x-max-priority": 3}
    assert queue_of_options("cpu", Queue("other")).name == "other"


def test_a_misspelled_field_is_named_with_the_known_ones():
    with pytest.raises(ImproperlyConfigured, match=r"task_queues\['cpu'\] has .* routingkey; known: .*routing_key"):
        queue_of_options("cpu", {"routingkey": "x"})


@pytest.mark.parametrize("value", [5, None, object(), {"a": 1}])
def test_what_is_no_queue_is_an_error(value):
    with pytest.raises(ImproperlyConfigured, match="a queue of task_queues is a name, a dictionary or a Queue"):
        as_queue(value)
    with pytest.raises(ImproperlyConfigured, match="an exchange is a name or an Exchange"):
        Queue("q", exchange=value or 0)


def test_the_settings_own_object_is_not_modified():
    mine = Queue("q")
    as_queue(mine).routing_key = "changed"
    assert mine.routing_key == ""


def test_each_broadcast_queue_is_one_of_its_own_on_a_shared_exchange():
    one, other = Broadcast("news"), Broadcast("news")
    assert one.name != other.name
    assert one.name.startswith("bcast.")
    assert one.alias == "news"
    assert one.auto_delete
    assert one.exchange == other.exchange == Exchange("news", "fanout")
    assert Broadcast("news", queue="mine").name == "mine"
    assert Broadcast("news", queue="mine", unique=True).name.startswith("mine.")


def test_a_worker_can_have_a_queue_of_its_own():
    queue = worker_direct("w1@host")
    assert (queue.name, queue.exchange, queue.routing_key) == ("w1@host.dq2", Exchange("C.dq2"), "w1@host")
    assert worker_direct(queue) is queue
    assert str(queue.exchange) == "C.dq2"
