"""From the command line and the settings to a worker that runs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from umbel.app.base import Umbel
from umbel.exceptions import ImproperlyConfigured
from umbel.worker.command import build_options
from umbel.worker.cpus import usable_cpus

T = TypeVar("T")


def until(look: Callable[[], T], timeout: float = 20.0) -> T:
    """What `look` finds, once it is true."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.01)
    return found


def app(**settings: Any) -> Umbel:
    made = Umbel("proj", broker="memory://test-command", set_as_current=False)
    made.conf.update(settings)
    return made


def test_without_a_word_the_defaults_of_the_settings_count() -> None:
    options = build_options(app())
    assert options.hostname.startswith("celery@")
    assert (options.pool, options.concurrency, options.queues) == ("prefork", usable_cpus(), ("celery",))
    assert (options.time_limit, options.soft_time_limit) == (None, None)
    assert (options.delivery_limit, options.grace, options.prefetch) == (3, 25.0, 500)
    assert options.rates is None


@pytest.mark.parametrize(
    ("disabled", "general", "own"), [(False, None, "1/h"), (False, "1/h", None), (True, "1/h", "1/h")]
)
def test_rate_limits_are_the_tasks_own_or_the_general_one(disabled: bool, general: str | None, own: str | None) -> None:
    limited = app(task_default_rate_limit=general, worker_disable_rate_limits=disabled)
    limited.task(name="proj.it", rate_limit=own)(lambda: None)
    rates = build_options(limited).rates
    assert (rates is None) == disabled
    if rates is not None:
        assert rates.take("proj.it") == 0.0
        assert rates.take("proj.it") > 3000.0
        rates.close()


SETTINGS = {
    "worker_pool": "threads",
    "worker_concurrency": 3,
    "worker_prefetch": 7,
    "task_time_limit": 60.0,
    "task_soft_time_limit": 50.0,
    "worker_max_tasks_per_child": 11,
    "worker_max_memory_per_child": 2048,
    "worker_shutdown_timeout": 5.0,
    "task_delivery_limit": 9,
    "max_message_size": 1000,
    "task_default_queue": "mail",
}


def test_the_settings_count_where_the_command_line_says_nothing() -> None:
    options = build_options(app(**SETTINGS))
    assert (options.pool, options.concurrency, options.prefetch) == ("threads", 3, 7)
    assert (options.time_limit, options.soft_time_limit) == (60.0, 50.0)
    assert (options.max_tasks_per_child, options.max_memory_per_child) == (11, 2048)
    assert (options.grace, options.delivery_limit, options.max_message_size) == (5.0, 9, 1000)
    assert options.queues == ("mail",)


def test_the_command_line_wins() -> None:
    options = build_options(
        app(**SETTINGS),
        pool="prefork",
        concurrency="2",
        prefetch=8,
        time_limit=6.0,
        soft_time_limit=5.0,
        max_tasks_per_child=1,
        max_memory_per_child=4096,
        grace=0.0,
        queues=" a, b,a ,",
        show_arguments=True,
    )
    assert (options.pool, options.concurrency, options.prefetch) == ("prefork", 2, 8)
    assert (options.time_limit, options.soft_time_limit) == (6.0, 5.0)
    assert (options.max_tasks_per_child, options.max_memory_per_child) == (1, 4096)
    assert options.grace == 0.0
    assert options.queues == ("a", "b")
    assert options.show_arguments


def test_queues_of_the_settings_can_be_excluded() -> None:
    several = app(task_queues={"a": {}, "b": {}, "c": {}})
    assert set(build_options(several).queues) == {"a", "b", "c"}
    assert set(build_options(several, exclude_queues="b,c").queues) == {"a"}
    with pytest.raises(ImproperlyConfigured, match="no queue is left"):
        build_options(several, exclude_queues="a,b,c")


def test_solo_is_one_task_at_a_time_and_auto_is_as_many_as_processors() -> None:
    assert build_options(app(), pool="solo", concurrency=8).concurrency == 1
    assert build_options(app(worker_concurrency=5), concurrency="auto").concurrency == usable_cpus()


@pytest.mark.parametrize("wrong", ["0", "-1", "many", 0])
def test_a_wrong_concurrency_is_refused(wrong: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"concurrency {wrong!r}"):
        build_options(app(), concurrency=wrong)


def test_a_soft_limit_above_the_hard_one_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"soft time limit \(50 s\) is longer than the hard one \(6 s\)"):
        build_options(app(**SETTINGS), time_limit=6.0)


PROGRAM = """
import json, os, sys
from umbel import signals
from umbel.app.base import Umbel
from umbel.exceptions import UmbelError
from umbel.worker.command import run_worker

app = Umbel("proj", broker=sys.argv[1], set_as_current=False)

@app.task(name="proj.say")
def say(word):
    print("printed", word)

@signals.worker_ready.connect
def at_once(**named):
    if len(sys.argv) > 3:
        say.delay(sys.argv[3])

app.conf.worker_send_task_events = True
asked = json.loads(sys.argv[2])
if asked.get("purge"):
    with Umbel("client", broker=sys.argv[1], set_as_current=False) as client:
        client.send_task("proj.say", ["stale"])
try:
    sys.exit(run_worker(app, **asked))
except UmbelError as exc:
    sys.exit(f"refused: {exc}")
"""


class Worker:
    """A worker in a process of its own, and what it prints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "program.py"
        self.program.write_text(textwrap.dedent(PROGRAM))
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, broker: str, word: str = "", **asked: Any) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, str(self.program), broker, json.dumps(asked), *([word] if word else [])]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}
        number = len(self.processes)
        with (self.folder / f"out{number}").open("wb") as out, (self.folder / f"err{number}").open("wb") as err:
            process = subprocess.Popen(arguments, stdout=out, stderr=err, cwd=self.folder, env=environment)
        self.processes.append(process)
        return process

    def out(self, number: int = 0) -> str:
        return (self.folder / f"out{number}").read_text()

    def err(self, number: int = 0) -> str:
        return (self.folder / f"err{number}").read_text()

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.end()


def test_a_worker_shows_its_banner_runs_tasks_and_stops_when_told(worker: Worker) -> None:
    process = worker.start(f"sqlite:///{worker.folder}/q.db", "hello", loglevel="info", concurrency=1, purge=True)
    until(lambda: "printed hello" in worker.err() or process.poll() is not None)
    until(lambda: "succeeded" in worker.err() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, worker.err()
    assert "q.db" in worker.out()
    assert "proj.say" in worker.out()
    assert "printed" not in worker.out()
    assert "ready" in worker.err()
    assert "Purged queue celery, 1 message deleted" in worker.err()
    assert "stale" not in worker.err()
    assert "have no effect: worker_send_task_events" in worker.err()


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_memory_works_in_one_process_and_says_so(worker: Worker, pool: str) -> None:
    process = worker.start("memory://", "hello", pool=pool, loglevel="info")
    until(lambda: "succeeded" in worker.err() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0, worker.err()
    assert "nobody replaces it if it dies" in worker.out()


def test_json_lines_leave_out_the_banner_but_not_what_it_warns_of(worker: Worker) -> None:
    process = worker.start("memory://", "hello", pool="threads", log_json=True, loglevel="info", time_limit=5.0)
    until(lambda: "printed hello" in worker.err() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, worker.err()
    assert worker.out() == ""
    messages = [json.loads(line)["message"] for line in worker.err().splitlines()]
    assert any("does not keep the hard time limit" in message for message in messages)


def test_memory_with_prefork_is_refused(worker: Worker) -> None:
    assert worker.start("memory://").wait(10) == 1
    assert worker.err().startswith("refused: memory:// lives in one process")


def test_a_name_that_is_taken_is_refused_and_a_default_one_gets_a_suffix(worker: Worker) -> None:
    url = f"sqlite:///{worker.folder}/q.db"
    worker.start(url, pool="solo", loglevel="info", hostname="w@h")
    until(lambda: "ready" in worker.err())
    assert worker.start(url, pool="solo", hostname="w@h").wait(10) == 1
    assert "refused: the worker name w@h is taken by process" in worker.err(1)
    worker.start(url, pool="solo", loglevel="info")
    until(lambda: "ready" in worker.err(2))
    worker.start(url, pool="solo", loglevel="info")
    until(lambda: "celery-2@" in worker.err(3))
    assert "DuplicateNodenameWarning" in worker.err(3)
