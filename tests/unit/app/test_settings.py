"""The table of settings, and what may be given for each."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import umbel
from umbel.app.settings import TABLE, WITHOUT_EFFECT, old_names
from umbel.app.sources import checked
from umbel.exceptions import ImproperlyConfigured

SOURCE = Path(umbel.__file__).parent


def test_every_default_is_a_value_that_its_setting_takes() -> None:
    for name, setting in TABLE.items():
        assert checked(name, setting.default) == setting.default
        assert setting.help.endswith(".")


def test_no_setting_is_in_both_lists() -> None:
    assert not WITHOUT_EFFECT & TABLE.keys()


def test_a_setting_counts_as_effective_only_if_something_reads_it() -> None:
    words = " ".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "settings.py")
    read = set(re.findall(r"\b[a-z]+_[a-z_]+\b|\btimezone\b|\bimports\b|\binclude\b", words))
    read.add("task_protocol")  # its one value is all the effect that it has
    idle = [name for name, setting in TABLE.items() if setting.effect and name not in read]
    assert not idle, f"nothing reads {idle}: say effect=False, or put them among those without effect"


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("task_acks_late", "yes", "True or False"),
        ("worker_concurrency", 0, "a whole number, 1 or more, or 'auto'"),
        ("worker_prefetch", 1.5, "a whole number, 1 or more"),
        ("task_time_limit", -1, "a number of seconds"),
        ("task_time_limit", float("nan"), "a number of seconds"),
        ("accept_content", "json", "a list of text"),
        ("task_default_queue", None, "text"),
        ("task_publish_retry_policy", [1], "a dictionary"),
        ("task_default_rate_limit", "10/year", "'10/s'"),
        ("task_default_queue_type", "lazy", "one of 'classic', 'quorum'"),
        ("task_protocol", 1, "one of 2"),
        ("task_default_delivery_mode", 3, "persistent"),
        ("broker_url", 5, "a URL"),
    ],
)
def test_a_wrong_value_is_refused_with_the_setting_the_value_and_what_is_expected(
    name: str, wrong: Any, expected: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        checked(name, wrong)
    message = str(caught.value)
    assert repr(name) in message
    assert expected in message
    if name != "broker_url":
        assert repr(wrong) in message


def test_a_value_that_may_be_secret_is_not_shown() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        checked("broker_url", {"password": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("result_expires", timedelta(hours=1), 3600.0),
        ("result_expires", 0, None),
        ("result_expires", None, None),
        ("task_acks_late", 1, True),
        ("accept_content", {"json"}, ("json",)),
        ("imports", "one.module", ("one.module",)),
        ("task_default_rate_limit", "100/m", "100/m"),
        ("task_default_delivery_mode", "transient", 1),
        ("worker_concurrency", "auto", "auto"),
    ],
)
def test_other_ways_of_saying_a_value_are_understood(name: str, given: Any, kept: Any) -> None:
    assert checked(name, given) == kept


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CELERY_ALWAYS_EAGER", "task_always_eager"),
        ("CELERYD_CONCURRENCY", "worker_concurrency"),
        ("BROKER_URL", "broker_url"),
        ("CELERY_RESULT_BACKEND", "result_backend"),
        ("CELERYBEAT_SCHEDULE", "beat_schedule"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
        ("CELERYD_TASK_TIME_LIMIT", "task_time_limit"),
        ("CELERY_DISABLE_RATE_LIMITS", "worker_disable_rate_limits"),
        ("CELERY_MESSAGE_COMPRESSION", "task_compression"),
        ("CELERY_RESULT_DBURI", "database_url"),
        ("CASSANDRA_SERVERS", "cassandra_servers"),
        ("CELERY_TIMEZONE", "timezone"),
    ],
)
def test_an_old_name_means_its_new_one(old: str, new: str) -> None:
    assert old_names()[old] == new
