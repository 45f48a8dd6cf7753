"""Functions become tasks of an app."""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from umbel import Task, Umbel, shared_task
from umbel.app import living
from umbel.exceptions import AlreadyRegistered, DuplicateTaskNameWarning, NotRegistered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_definitions() -> Iterator[None]:
    """Shared tasks of one test are not those of the next."""
    before = list(living._definitions)
    yield
    living._definitions[:] = before


def test_a_task_is_still_a_function_with_its_name_and_words(app: Umbel) -> None:
    @app.task
    def add(x: int, y: int = 2) -> int:
        """Add two numbers."""
        return x + y

    assert add(1) == 3
    assert (add.__name__, add.__module__) == ("add", __name__)  # type: ignore[attr-defined]
    assert add.__qualname__.endswith("<locals>.add")  # type: ignore[attr-defined]
    assert add.name == f"{__name__}.add"
    assert add.__doc__ == "Add two numbers."
    assert str(inspect.signature(add)) == "(x: 'int', y: 'int' = 2) -> 'int'"
    assert repr(add) == f"<@task: {add.name} of tests at {id(app):#x}>"
    assert app.tasks[add.name] is add
    assert add.app is app


def test_with_options_the_decorator_is_called_first(app: Umbel) -> None:
    @app.task(name="sum", queue="q", max_retries=5, priority=3)
    def add(x: int, y: int) -> int:
        return x + y

    assert (add.name, add.queue, add.max_retries, add.priority) == ("sum", "q", 5, 3)
    assert add(1, 2) == 3


def test_a_bound_task_gets_itself_first(app: Umbel) -> None:
    @app.task(bind=True)
    def whoami(self: Any, x: int) -> Any:
        return self, x

    assert whoami(5) == (whoami, 5)
    assert whoami.bound


def test_a_task_of_a_script_is_named_after_the_app(app: Umbel) -> None:
    def job() -> None: ...

    job.__module__ = "__main__"
    assert app.task(job).name == "tests.job"
    assert Umbel(set_as_current=False).task(job).name == "__main__.job"


def test_a_subclass_may_name_tasks_its_own_way() -> None:
    class Mine(Umbel):
        def gen_task_name(self, name: str, module: str) -> str:
            return f"mine.{name}"

    @Mine(set_as_current=False).task
    def job() -> None: ...

    assert job.name == "mine.job"


def test_of_two_functions_under_one_name_the_first_stays_and_the_second_is_warned_of(app: Umbel) -> None:
    @app.task(name="same")
    def first() -> int:
        return 1

    with pytest.warns(DuplicateTaskNameWarning, match=r"'same' is registered already") as caught:

        @app.task(name="same")
        def second() -> int:
            return 2

    assert caught[0].filename == __file__
    assert second is first
    assert second() == 1


def test_the_same_function_again_is_no_reason_to_warn(app: Umbel) -> None:
    def job() -> int:
        return 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert app.task(job) is app.task(job)
    other = Umbel(set_as_current=False)
    assert other.task(job) is not app.task(job)


@pytest.mark.parametrize(
    ("option", "meant"), [("max_retires", "max_retries"), ("rate_limits", "rate_limit"), ("binds", "bind")]
)
def test_a_mistyped_option_is_refused_with_the_right_one(app: Umbel, option: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"no task option is named '{option}'; is '{meant}' meant"):

        @app.task(**{option: 1})
        def job() -> None: ...

    assert not any(name.endswith("job") for name in app.tasks)


def test_an_option_of_celery_s_that_is_to_come_is_refused_by_name(app: Umbel) -> None:
    with pytest.raises(NotImplementedError, match="pydantic"):
        app.task(pydantic=True)(lambda: None)


def test_a_base_class_may_have_options_of_its_own(app: Umbel) -> None:
    class Logged(Task[Any, Any]):
        level = "info"

        def shout(self) -> str:
            return self.level.upper()

    @app.task(base=Logged, level="debug")
    def job() -> None: ...

    assert isinstance(job, Logged)
    assert job.shout() == "DEBUG"


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"time_limit": 5, "soft_time_limit": 10}, ValueError, "exceeds time_limit"),
        ({"time_limit": "5"}, TypeError, "time_limit must be a number of seconds"),
        ({"max_retries": "3"}, TypeError, "max_retries must be a whole number"),
        ({"autoretry_for": "ValueError"}, TypeError, "autoretry_for must be a tuple of exceptions"),
        ({"throws": (1,)}, TypeError, "throws must be a tuple of exceptions"),
    ],
)
def test_a_wrong_value_of_an_option_is_refused_and_leaves_no_task_behind(
    app: Umbel, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    app.finalize()
    with pytest.raises(error, match=match):
        app.task(name="wrong", **options)(lambda: None)
    assert "wrong" not in app.tasks


@pytest.mark.parametrize("thing", [5, "name", int])
def test_only_a_function_becomes_a_task(app: Umbel, thing: Any) -> None:
    with pytest.raises(TypeError, match=r"a task is made of a function|is a class"):
        app.task(thing)


def test_whatever_can_be_called_becomes_a_task_if_it_is_named(app: Umbel) -> None:
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    assert app.task(name="adder")(Adder())(1) == 2
    assert app.task(name="partial")(functools.partial(pow, 2))(3) == 8
    with pytest.raises(TypeError, match="name"):
        app.task(Adder())


def test_a_task_cannot_be_made_of_two_functions(app: Umbel) -> None:
    with pytest.raises(TypeError, match="takes one function"):
        app.task(len, len)  # type: ignore[call-overload]


def test_a_function_that_is_a_task_already_is_refused(app: Umbel) -> None:
    @app.task
    def job() -> None: ...

    with pytest.raises(TypeError, match="is a task already"):
        app.task(job)


def test_the_filter_adapts_what_the_decorator_returns(app: Umbel) -> None:
    assert app.task(filter=lambda task: ("adapted", task.name), name="job")(lambda: None) == ("adapted", "job")


def test_a_class_of_one_s_own_is_registered_as_an_object_and_the_last_one_counts(app: Umbel) -> None:
    class Add(Task[Any, Any]):
        name = "add"

        def run(self, x: int, y: int) -> int:
            return x + y

    class AddMore(Add):
        def run(self, x: int, y: int) -> int:
            return x + y + 1

    first = app.register_task(Add())
    assert first(1, 2) == 3
    second = app.register_task(AddMore, max_retries=1)
    assert app.tasks["add"] is second
    assert (second(1, 2), second.max_retries) == (4, 1)
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        second.delay(1)
    with pytest.raises(TypeError, match="takes a task"):
        app.register_task(len)


def test_a_class_without_a_name_gets_that_of_its_module_and_its_own(app: Umbel) -> None:
    class Job(app.Task):  # type: ignore[name-defined,misc]
        def run(self) -> None: ...

    assert app.register_task(Job).name == f"{__name__}.Job"
    assert issubclass(Job, Task)
    assert Job().app is app


def test_the_base_of_all_tasks_may_be_given(app: Umbel) -> None:
    class Mine(Task[Any, Any]):
        max_retries = 11

    other = Umbel(set_as_current=False, task_cls=Mine)
    assert other.task(lambda: None, name="job").max_retries == 11  # type: ignore[call-overload]
    named = Umbel(set_as_current=False, task_cls="umbel.task.task:Task")
    assert isinstance(named.task(name="job")(lambda: None), Task)


def test_tasks_are_bound_when_all_are_asked_for_and_told_so(app: Umbel) -> None:
    told: list[str] = []

    class Told(Task[Any, Any]):
        @classmethod
        def on_bound(cls, app: Any) -> None:
            told.append(app.main)

    @app.task(base=Told)
    def early() -> None: ...

    app.on_after_finalize.connect(lambda **named: told.append("finalized"), weak=False)
    assert told == []
    assert early.name in app.tasks
    assert told == ["tests", "finalized"]

    @app.task(base=Told)
    def late() -> None: ...

    assert told == ["tests", "finalized", "tests"]


def test_without_autofinalize_tasks_cannot_be_used_before_it_is_done_by_hand() -> None:
    app = Umbel(set_as_current=False, autofinalize=False, broker="memory://autofinalize")

    @app.task
    def job() -> None: ...

    with pytest.raises(RuntimeError, match="app not finalized"):
        app.tasks  # noqa: B018
    with pytest.raises(RuntimeError, match="app not finalized"):
        job.delay()
    app.finalize()
    assert job.name in app.tasks
    job.delay()
    app.close()


def test_a_name_that_nobody_registered_is_an_error_of_its_own(app: Umbel) -> None:
    with pytest.raises(NotRegistered, match=r"no\.such"):
        app.tasks["no.such"]
    with pytest.raises(NotRegistered):
        app.tasks.unregister("no.such")
    assert app.tasks.get("no.such") is None
    assert not issubclass(NotRegistered, AlreadyRegistered)


def test_the_built_in_tasks_are_told_from_the_others(app: Umbel) -> None:
    @app.task(name="job")
    def job() -> None: ...

    assert {"celery.map", "celery.starmap", "celery.chunks", "celery.accumulate"} <= app.tasks.keys()
    assert list(app.tasks.regular()) == ["job"]
    app.tasks.unregister(job)
    assert "job" not in app.tasks


def test_a_task_is_pickled_as_the_place_to_find_it_at(app: Umbel) -> None:
    @app.task(name="pickled")
    def job() -> None: ...

    assert pickle.loads(pickle.dumps(job)) is job


def test_a_pickled_task_s_module_is_imported_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "pickled_tasks.py").write_text(
        "from umbel import Umbel\napp = Umbel('pickled', set_as_current=False)\n@app.task\ndef job(): pass\n"
    )
    module = importlib.import_module("pickled_tasks")
    data = pickle.dumps(module.job)
    module.app.close()
    del sys.modules["pickled_tasks"], module
    assert pickle.loads(data) is sys.modules["pickled_tasks"].job
    del sys.modules["pickled_tasks"]


def test_annotations_change_tasks_by_name_and_all_of_them(app: Umbel) -> None:
    app.conf.task_annotations = {"*": {"rate_limit": "10/s", "priority": 1}, "special": {"priority": 9}}

    @app.task(name="special")
    def special() -> None: ...

    @app.task(name="plain")
    def plain() -> None: ...

    app.finalize()
    assert (special.priority, special.rate_limit) == (9, "10/s")
    assert (plain.priority, plain.rate_limit) == (1, "10/s")
    assert plain.resolved.rate_limit == "10/s"


def test_annotations_may_be_objects_and_may_wrap_methods(app: Umbel) -> None:
    class Annotation:
        def annotate_any(self) -> dict[str, Any]:
            return {"max_retries": 7}

        def annotate(self, task: Any) -> dict[str, Any] | None:
            return {"@run": lambda run: lambda x: run(x) * 10} if task.name == "special" else None

    app.conf.task_annotations = [Annotation()]

    @app.task(name="special")
    def special(x: int) -> int:
        return x

    app.finalize()
    assert (special(2), special.max_retries) == (20, 7)


def test_a_shared_task_belongs_to_apps_before_and_after_it() -> None:
    before = Umbel("before", set_as_current=False)
    finalized = Umbel("finalized", set_as_current=False)
    finalized.finalize()

    @shared_task(max_retries=7)
    def job(x: int) -> int:
        return x + 1

    after = Umbel("after")
    names = {before.tasks[job.name].name, finalized.tasks[job.name].name, after.tasks[job.name].name}
    assert names == {f"{__name__}.job"}
    assert job.app is after
    before.set_current()
    assert job.app is before
    assert (job(1), job.max_retries) == (2, 7)
    assert isinstance(job, Task)
    assert pickle.loads(pickle.dumps(job)) is before.tasks[job.name]


def test_a_shared_task_may_be_named_and_is_not_shared_twice() -> None:
    app = Umbel("app")

    @shared_task(name="named")
    def job() -> str:
        return "done"

    assert job == app.tasks["named"]
    assert job.s().task == "named"
    with pytest.raises(TypeError, match="applied twice"):
        shared_task(job)
    with pytest.raises(TypeError, match="takes one function"):
        shared_task(len, len)  # type: ignore[call-overload]


def test_a_task_of_one_app_may_be_shared_with_the_others(app: Umbel) -> None:
    @app.task(shared=True, name="everywhere")
    def job() -> int:
        return 1

    other = Umbel("other", set_as_current=False)
    assert other.tasks["everywhere"] is not job
    assert other.tasks["everywhere"]() == 1


def test_errors_that_a_task_throws_are_rebuilt_as_themselves(app: Umbel) -> None:
    class Expected(Exception):
        pass

    @app.task(throws=Expected, name="thrower")
    def job() -> None: ...

    app.finalize()
    rebuilt = app.exception_types.rebuilt(Expected.__module__, Expected.__qualname__, ["why"])
    assert isinstance(rebuilt, Expected)
    assert job.resolved.throws == (Expected,)
