"""The application: current or not, closed, pickled, and what it does not have yet."""

from __future__ import annotations

import contextvars
import pickle
import threading
from datetime import UTC, timedelta
from typing import Any

import pytest

import umbel
from umbel import Celery, Umbel, current, current_app, current_task
from umbel.exceptions import ImproperlyConfigured
from umbel.results.group import GroupResult


def test_celery_is_the_same_class() -> None:
    assert Celery is Umbel


def test_every_exported_name_is_there_and_any_other_is_an_attribute_error() -> None:
    for name in umbel.__all__:
        assert getattr(umbel, name) is not None
    assert set(umbel.__all__) <= set(dir(umbel))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        umbel.nonsense  # type: ignore[attr-defined]  # noqa: B018
    assert len(umbel.uuid()) == 36
    assert umbel.states.SUCCESS == "SUCCESS"


def test_the_latest_app_is_current_here_and_in_threads_that_have_none() -> None:
    first = Umbel("first")
    second = Umbel("second")
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(current_app.main))
    thread.start()
    thread.join()
    assert current_app.main == "second"
    assert seen == ["second"]
    first.set_current()
    assert current_app == first
    assert contextvars.Context().run(lambda: current_app == second)
    first.set_default()
    assert contextvars.Context().run(lambda: current_app == first)


def test_an_app_that_is_not_to_be_current_is_not() -> None:
    app = Umbel("first")
    Umbel("second", set_as_current=False)
    assert current_app == app


def test_a_closed_app_is_not_current_any_more() -> None:
    with Umbel("first") as app:
        assert current.get_app() is app
    assert current.get_app() is None
    app.close()


def test_without_any_app_the_current_one_is_made() -> None:
    made = current_app._get_current_object()  # type: ignore[attr-defined]
    assert (made.main, current_app) == ("default", made)
    assert current_app.conf.worker_prefetch == 500  # although there is no celeryconfig


def test_the_proxy_of_the_current_app_behaves_as_the_app() -> None:
    app = Umbel("first")
    assert isinstance(current_app, Umbel)
    assert repr(current_app) == repr(app) == str(current_app)
    assert hash(current_app) == hash(app)
    current_app.main = "renamed"
    assert app.main == "renamed"
    assert "conf" in dir(current_app)
    with current_app as entered:
        assert entered is app


def test_there_is_no_current_task_outside_of_tasks(app: Umbel) -> None:
    assert not current_task
    assert app.current_task is None
    assert app.current_worker_task is None
    seen: list[Any] = []

    @app.task
    def look() -> None:
        seen.extend([current_task.name, app.current_task, app.current_worker_task])

    look()
    assert seen == [look.name, look, None]
    look.apply()
    assert seen[3:] == [look.name, look, look]


def test_any_setting_may_be_given_to_the_constructor() -> None:
    app = Umbel("x", set_as_current=False, worker_prefetch=7, changes={"task_default_queue": "q"}, include=["os.path"])
    assert (app.conf.worker_prefetch, app.conf.task_default_queue, app.conf.include) == (7, "q", ("os.path",))
    with pytest.raises(ImproperlyConfigured, match="is 'worker_prefetch' meant"):
        Umbel("x", set_as_current=False, worker_prefech=7)


def test_a_subclass_may_prepare_the_settings_and_itself() -> None:
    class Mine(Umbel):
        prepared = False

        def on_init(self) -> None:
            self.prepared = True

        def prepare_config(self, c: dict[str, Any]) -> dict[str, Any]:
            return {**c, "worker_prefetch": 12}

    app = Mine("x", set_as_current=False, config_source={"task_default_queue": "q"})
    assert app.prepared
    assert (app.conf.worker_prefetch, app.conf.task_default_queue) == (12, "q")


def test_who_connects_is_told_before_and_after_the_settings_are_read() -> None:
    app = Umbel("x", set_as_current=False)
    told: list[str] = []

    @app.on_configure.connect
    def before(**named: Any) -> None:
        told.append("before")

    @app.on_after_configure.connect
    def after(sender: Any, source: Any, **named: Any) -> None:
        assert source is app.conf
        sender.add_periodic_task(10, app.signature("clean"), name="nightly")
        told.append("after")

    assert told == []
    assert app.conf.beat_schedule["nightly"]["task"] == "clean"
    assert told == ["before", "after"]


def test_periodic_tasks_are_kept_until_there_is_a_scheduler(app: Umbel) -> None:
    @app.task
    def clean(folder: str) -> None: ...

    key = app.add_periodic_task(timedelta(minutes=5), clean.s("here"), queue="slow")
    assert key == f"{clean.name}('here')"
    assert app.conf.beat_schedule == {
        key: {
            "task": clean.name,
            "schedule": timedelta(minutes=5),
            "args": ("here",),
            "kwargs": {},
            "options": {"queue": "slow"},
        }
    }
    assert app.add_periodic_task(1, clean, ("there",), name="named") == "named"
    assert app.conf.beat_schedule["named"]["args"] == ("there",)


def test_a_pickled_app_is_another_one_with_the_same_settings() -> None:
    app = Umbel("pickled", broker="memory://a", set_as_current=False, config_source={"task_default_queue": "q"})
    app.conf.worker_prefetch = 3
    again = pickle.loads(pickle.dumps(app))
    assert again is not app
    assert (again.main, again.broker_url) == ("pickled", "memory://a")
    assert (again.conf.worker_prefetch, again.conf.task_default_queue) == (3, "q")


@pytest.mark.parametrize("name", ["control", "events", "Beat", "Worker", "log", "amqp", "loader", "pool"])
def test_what_is_still_to_come_says_so_by_name(app: Umbel, name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"app.{name} is not supported yet"):
        getattr(app, name)


def test_methods_that_are_still_to_come_say_so(app: Umbel) -> None:
    with pytest.raises(NotImplementedError, match="setup_security"):
        app.setup_security()
    for start in (app.start, app.worker_main):
        with pytest.raises(NotImplementedError, match=r"umbel\.cli\.main\.main"):
            start()


def test_the_time_zone_is_utc_unless_the_settings_say_otherwise(app: Umbel) -> None:
    assert app.timezone is UTC
    assert app.uses_utc_timezone()
    assert app.now().tzinfo is UTC
    app.conf.timezone = "Europe/Berlin"
    assert app.now().utcoffset() in (timedelta(hours=1), timedelta(hours=2))
    assert not app.uses_utc_timezone()
    app.conf.timezone = "Europe/Atlantis"
    with pytest.raises(ImproperlyConfigured, match="Atlantis"):
        app.now()


def test_without_utc_the_time_zone_is_the_machine_s(app: Umbel) -> None:
    app.conf.enable_utc = False
    assert app.now().tzinfo is not None


def test_either_is_the_first_value_or_the_setting(app: Umbel) -> None:
    assert app.either("worker_prefetch", None, 5, 6) == 5
    assert app.either("worker_prefetch", None) == 500


def test_handles_belong_to_the_app(app: Umbel) -> None:
    result = app.AsyncResult("some-id")
    assert (result.id, result.app) == ("some-id", app)
    group = app.GroupResult("group-id", [result])
    assert group.app is app
    group.save()
    restored = app.GroupResult.restore("group-id")
    assert isinstance(restored, GroupResult)
    assert restored == group
    assert app.ResultSet([result]).app is app
    assert app.signature("some.task", (1,)).app is app


def test_ids_are_of_this_app_and_of_each_thread(app: Umbel) -> None:
    oids = [app.thread_oid, app.thread_oid]
    thread = threading.Thread(target=lambda: oids.append(app.thread_oid))
    thread.start()
    thread.join()
    assert oids[0] == oids[1] != oids[2]
    assert app.oid == app.oid != Umbel(set_as_current=False).oid
