from __future__ import annotations

import gc
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from umbel import signals
from umbel.signals import Signal


@pytest.fixture
def signal() -> Signal:
    return Signal(name="test", providing_args={"x"})


def test_all_signals_of_celery_are_there():
    names = """
    before_task_publish after_task_publish task_sent task_received task_prerun task_postrun
    task_success task_retry task_failure task_internal_error task_revoked task_unknown task_rejected
    import_modules celeryd_init celeryd_after_setup worker_init worker_before_create_process
    worker_process_init worker_process_shutdown worker_ready worker_shutting_down worker_shutdown
    heartbeat_sent setup_logging after_setup_logger after_setup_task_logger beat_init
    beat_embedded_init eventlet_pool_started eventlet_pool_preshutdown eventlet_pool_postshutdown
    eventlet_pool_apply user_preload_options
    """.split()
    assert len(names) == 34
    assert set(signals.ALL) == set(names)
    assert all(signals.ALL[name].name == name for name in names)


def test_receivers_are_told_with_signal_and_sender_and_their_answers_come_back(signal):
    @signal.connect
    def first(sender, x, **kwargs):
        return ("first", sender, x, kwargs)

    @signal.connect()
    def second(**kwargs):
        return "second"

    assert signal.send("me", x=1) == [(first, ("first", "me", 1, {"signal": signal})), (second, "second")]


def test_nobody_listening_is_seen_without_a_call(signal):
    assert signal.receivers == ()
    assert signal.send("me") == []

    def receiver(**kwargs): ...

    signal.connect(receiver)
    assert signal.receivers
    assert signal.disconnect(receiver)
    assert signal.receivers == ()
    assert not signal.disconnect(receiver)


def test_a_receiver_may_listen_to_one_sender(signal):
    class Sender:
        pass

    mine, other = Sender(), Sender()
    heard: list[Any] = []

    def receiver(sender, **kwargs):
        heard.append(sender)

    signal.connect(receiver, sender=mine)
    signal.connect(receiver, sender="proj.add")

    @signal.connect(sender="".join(["proj", ".mul"]))
    def by_name(sender, **kwargs):
        heard.append(f"by name {sender}")

    for sender in (mine, other, "proj.add", "proj.mul", None):
        signal.send(sender)
    assert heard == [mine, "proj.add", "by name proj.mul"]
    assert signal.has_listeners(mine)
    assert not signal.has_listeners(other)
    assert signal.disconnect(receiver, sender=mine)
    assert not signal.has_listeners(mine)
    assert signal.has_listeners("proj.add")
    assert not signal.disconnect(receiver)


def test_a_sender_that_is_gone_takes_its_receivers_with_it(signal):
    class Sender:
        pass

    sender = Sender()
    signal.connect(str_receiver, sender=sender)
    del sender
    gc.collect()
    assert signal.receivers == ()


def str_receiver(**kwargs: Any) -> str:
    return "heard"


def test_receivers_are_held_weakly_unless_asked_otherwise(signal):
    class Owner:
        def method(self, **kwargs):
            return "method"

    owner = Owner()
    signal.connect(owner.method)
    signal.connect(lambda **kwargs: "gone at once")
    signal.connect(lambda **kwargs: "kept", weak=False)
    assert [response for _, response in signal.send(None)] == ["method", "kept"]
    del owner
    gc.collect()
    assert [response for _, response in signal.send(None)] == ["kept"]
    assert len(signal.receivers) == 1


def test_the_same_receiver_is_connected_once_a_sender(signal):
    for _ in range(3):
        signal.connect(str_receiver)
        signal.connect(str_receiver, sender="a")
    assert len(signal.send("a")) == 2
    assert len(signal.send("b")) == 1


def test_a_dispatch_uid_stands_for_the_receiver(signal):
    kept = [lambda **kwargs: 1, lambda **kwargs: 2]
    for receiver in kept:
        signal.connect(receiver, dispatch_uid="once")
    assert [response for _, response in signal.send(None)] == [1]
    assert not signal.disconnect(kept[0])
    assert signal.disconnect(dispatch_uid="once")
    assert signal.receivers == ()


def test_the_error_of_one_receiver_is_logged_and_the_others_are_told(signal, caplog):
    error = RuntimeError("oops")

    def broken(**kwargs):
        raise error

    signal.connect(broken)
    signal.connect(str_receiver)
    with caplog.at_level(logging.ERROR):
        assert signal.send(None) == [(broken, error), (str_receiver, "heard")]
    assert re.search(r"Signal handler .*broken raised: RuntimeError\('oops'\)", caplog.text)
    assert signal.send_robust(None) == signal.send(None)


def test_a_receiver_that_takes_no_keywords_is_refused_by_name(signal):
    def strict(sender): ...

    with pytest.raises(ValueError, match=r"must accept keyword arguments: add \*\*kwargs to .*test_signals.*strict"):
        signal.connect(strict)
    with pytest.raises(TypeError, match="must be callable: 5"):
        signal.connect(5)


def test_callable_objects_and_builtins_can_listen(signal):
    class Callable:
        def __call__(self, **kwargs):
            return "called"

    receiver = Callable()
    signal.connect(receiver)
    signal.connect(dict)
    assert [response for _, response in signal.send("me")] == ["called", {"signal": signal, "sender": "me"}]


def test_a_receiver_that_is_to_be_retried_is_called_until_it_succeeds(signal, monkeypatch, caplog):
    pauses: list[float] = []
    monkeypatch.setattr(signal, "_sleep", pauses.append)

    @signal.connect(retry=True)
    def eventually(**kwargs):
        if len(pauses) < 20:
            raise OSError("not yet")
        return "at last"

    assert signal.send(None) == [(eventually, "at last")]
    assert pauses[:4] == [2.0, 4.0, 6.0, 8.0]
    assert max(pauses) == 30.0
    assert len(caplog.records) == 20


def test_receivers_may_connect_and_disconnect_while_they_are_told(signal):
    def once(**kwargs):
        signal.disconnect(once)
        signal.connect(str_receiver)
        return "once"

    signal.connect(once)
    assert [response for _, response in signal.send(None)] == ["once"]
    assert [response for _, response in signal.send(None)] == ["heard"]


def test_a_signal_says_its_name():
    assert "task_success" in repr(signals.task_success)
    assert signals.task_success.providing_args == {"result", "runtime"}
    assert len(Path(signals.__file__).read_text().splitlines()) < 350
