"""`app.conf`: what counts, what is refused, and how it is shown."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from umbel.app.conf import Conf
from umbel.exceptions import ImproperlyConfigured


def test_defaults_are_there_as_attributes_and_as_items() -> None:
    conf = Conf({})
    assert conf.task_default_queue == conf["task_default_queue"] == conf.get("task_default_queue") == "celery"
    assert conf.task_acks_late is True
    assert conf.redis_host is None  # known of Celery's, without effect


def test_an_old_name_reads_and_sets_the_new_setting() -> None:
    conf = Conf({})
    conf.CELERY_DEFAULT_QUEUE = "old"
    assert conf.task_default_queue == conf.CELERY_DEFAULT_QUEUE == conf["CELERY_DEFAULT_QUEUE"] == "old"


@pytest.mark.parametrize(
    ("typed", "meant"), [("task_seralizer", "task_serializer"), ("CELERY_TASK_SERIALISER", "CELERY_TASK_SERIALIZER")]
)
def test_a_mistyped_name_is_refused_with_the_right_one(typed: str, meant: str) -> None:
    conf = Conf({})
    with pytest.raises(ImproperlyConfigured, match=f"no setting is named '{typed}'; is '{meant}' meant"):
        conf.update({typed: "json"})
    with pytest.raises(ImproperlyConfigured, match=meant):
        setattr(conf, typed, "json")
    with pytest.raises(ImproperlyConfigured, match=meant):
        Conf({typed: "json"})


def test_reading_a_name_that_is_none_is_an_attribute_or_key_error_with_the_right_one() -> None:
    conf = Conf({})
    with pytest.raises(AttributeError, match="is 'task_routes' meant"):
        conf.task_route  # noqa: B018
    with pytest.raises(KeyError, match="is 'task_routes' meant"):
        conf["task_route"]
    assert conf.get("task_route", 5) == 5
    assert not hasattr(conf, "task_route")
    assert "task_route" not in conf
    assert "task_routes" in conf


def test_the_source_is_asked_when_the_first_setting_is_read_and_only_once() -> None:
    asked: list[int] = []

    def source() -> dict[str, Any]:
        asked.append(1)
        return {"task_default_queue": "from the source"}

    conf = Conf({})
    conf.read_from(source)
    conf.worker_prefetch = 7
    assert not asked
    assert conf.task_default_queue == "from the source"
    assert conf.worker_prefetch == 7
    assert asked == [1]


def test_what_is_assigned_before_the_source_is_read_counts_more() -> None:
    conf = Conf({"task_default_queue": "from the constructor"})
    conf.read_from(lambda: {"task_default_queue": "from the source", "worker_prefetch": 3})
    assert conf.task_default_queue == "from the constructor"
    assert conf.worker_prefetch == 3


def test_another_source_replaces_the_first() -> None:
    conf = Conf({})
    conf.read_from(lambda: {"worker_prefetch": 3})
    assert conf.worker_prefetch == 3
    before = conf.revision
    conf.read_from(lambda: {"task_default_queue": "second"})
    assert conf.revision != before
    assert conf.worker_prefetch == 500
    assert conf.task_default_queue == "second"


def test_defaults_of_the_program_count_less_than_anything_else() -> None:
    conf = Conf({})
    conf.add_defaults(lambda: {"worker_prefetch": 3, "task_default_queue": "default"})
    conf.read_from(lambda: {"task_default_queue": "from the source"})
    assert (conf.worker_prefetch, conf.task_default_queue) == (3, "from the source")


def test_the_environment_wins_over_the_program_and_the_command_line_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://environment")
    conf = Conf({"broker_url": "memory://constructor"})
    conf.broker_url = "memory://assigned"
    assert conf.broker_url == "memory://environment"
    monkeypatch.setenv("UMBEL_BROKER_URL", "memory://ours")
    assert Conf({}).broker_url == "memory://ours"
    conf.override({"broker_url": "memory://command-line"})
    assert conf.broker_url == "memory://command-line"


def test_a_dictionary_that_is_modified_in_place_stays_modified() -> None:
    conf = Conf({})
    conf.beat_schedule["nightly"] = {"task": "clean"}
    conf.worker_prefetch = 5
    assert conf.beat_schedule == {"nightly": {"task": "clean"}}
    assert Conf({}).beat_schedule == {}


def test_a_source_that_needs_the_settings_itself_is_refused() -> None:
    conf = Conf({})
    conf.read_from(lambda: {"worker_prefetch": conf.worker_concurrency})
    with pytest.raises(ImproperlyConfigured, match="needs them itself"):
        conf.worker_prefetch  # noqa: B018


def test_a_source_that_fails_is_asked_again() -> None:
    answers: list[Any] = [OSError("not yet"), {"worker_prefetch": 3}]

    def source() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    conf = Conf({})
    conf.read_from(source)
    with pytest.raises(OSError, match="not yet"):
        conf.worker_prefetch  # noqa: B018
    assert conf.worker_prefetch == 3


def test_threads_that_read_at_once_all_get_the_settings() -> None:
    about_to_read: list[int] = []
    asked: list[int] = []

    def source() -> dict[str, Any]:
        asked.append(1)
        while len(about_to_read) < 8:
            time.sleep(0.001)
        time.sleep(0.02)  # that they are in the middle of it cannot be seen
        return {"worker_prefetch": 3}

    conf = Conf({})
    conf.read_from(source)
    seen: list[int] = []

    def read() -> None:
        about_to_read.append(1)
        seen.append(conf.worker_prefetch)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [3] * 8
    assert asked == [1]


def test_what_was_given_is_told_from_defaults_and_what_has_no_effect_is_named() -> None:
    conf = Conf({"worker_prefetch": 200, "broker_pool_limit": 3, "worker_direct": True})
    assert conf.without_defaults() == {"worker_prefetch": 200, "broker_pool_limit": 3, "worker_direct": True}
    assert conf.without_effect() == ["broker_pool_limit", "worker_direct"]
    assert conf.value_set_for("worker_prefetch")
    assert not conf.value_set_for("worker_concurrency")


def test_the_table_hides_secrets() -> None:
    conf = Conf({"broker_url": "redis://me:hunter2@host", "redis_password": "hunter2", "worker_prefetch": 9})
    conf.broker_transport_options = {"password": "hunter2"}
    assert "hunter2" not in conf.humanize()
    assert "hunter2" not in repr(conf)
    assert conf.table()["worker_prefetch"] == 9
    assert "hunter2" in str(conf.table(censored=False))
    assert conf.table(with_defaults=True)["task_default_queue"] == "celery"


def test_it_behaves_as_a_mapping() -> None:
    conf = Conf({})
    assert len(conf) == len(list(conf)) == len(conf.keys()) == len(conf.items())
    assert conf.setdefault("worker_prefetch", 4) == 4
    assert conf.setdefault("worker_prefetch", 5) == 4
    conf.update({"worker_prefetch": 6}, task_default_queue="named")
    assert (conf.worker_prefetch, conf.get_by_parts("task", "default", "queue")) == (6, "named")
    assert conf.find_value_for_key("prefetch", "worker") == 6
    assert conf.find_value_for_key("timezone") is None


def test_every_change_makes_another_revision() -> None:
    conf = Conf({})
    seen = {conf.revision}
    conf.keys()
    seen.add(conf.revision)
    conf.worker_prefetch = 3
    seen.add(conf.revision)
    conf.override({"worker_prefetch": 4})
    assert len(seen | {conf.revision}) == 4
