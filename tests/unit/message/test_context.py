from __future__ import annotations

from umbel.message.context import Context
from umbel.spec import Delivery, Message


def test_what_a_message_does_not_bring_has_a_default():
    request = Context()
    assert (request.id, request.retries, request.called_directly, request.delivery_info) == (None, 0, True, {})
    assert (request.time_limit, request.soft_time_limit, request.reply_to) == (None, None, None)
    assert request.get("id", "x") is None
    assert request.get("nope", "x") == "x"


def test_fields_are_set_and_cleared():
    request = Context({"id": "1"}, retries=2)
    request.update(timelimit=[10, 5])
    assert (request.id, request.retries, request.time_limit, request.soft_time_limit) == ("1", 2, 10, 5)
    assert sorted(request) == ["id", "retries", "timelimit"]
    assert "'id': '1'" in repr(request)
    request.clear()
    assert request.id is None


def test_children_are_each_requests_own():
    one, other = Context(), Context()
    one.children.append("child")
    assert one.children == ["child"]
    assert other.children == []


def test_where_it_came_from_is_what_the_delivery_says():
    message = Message(
        queue="q", body=b"", id="1", exchange="e", routing_key="k", priority=3, reply_to="me", correlation_id="c"
    )
    request = Context(id="1", delivery=Delivery(message=message, receipt=None, attempt=2))
    assert request.delivery_info == {"exchange": "e", "routing_key": "k", "priority": 3, "redelivered": True}
    assert (request.reply_to, request.correlation_id) == ("me", "c")
    message.routing_key, message.correlation_id = "", None
    assert (request.delivery_info["routing_key"], request.correlation_id) == ("q", "1")
