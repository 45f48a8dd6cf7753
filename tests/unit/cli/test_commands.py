"""The commands, against a queue file and a worker inside the test."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from umbel.cli.main import umbel
from umbel.spec import Message
from umbel.testing import start_worker

APP = """
    from umbel import Umbel
    app = Umbel("{name}", broker="sqlite:///{folder}/q.db", set_as_current=False)

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(name="fail")
    def fail():
        raise ValueError("on purpose")
"""


class Cli:
    """Runs commands on a project of the test's own."""

    def __init__(self, folder: Path, module: str) -> None:
        self.module = module
        (folder / f"{module}.py").write_text(textwrap.dedent(APP.format(folder=folder, name=module)))
        self.app: Any = __import__(module).app

    def __call__(self, *arguments: str, code: int = 0, **options: Any) -> Result:
        done = CliRunner().invoke(umbel, ["-A", self.module, *arguments], **options)
        assert done.exit_code == code, (done.output, done.exception)
        return done


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Cli(tmp_path, f"cliproj_{tmp_path.name.replace('-', '_')}")
    yield made
    made.app.close()


def dead_letter(cli: Cli, id: str = "stranger") -> None:
    """Put a message of a task that nobody knows into the queue, and let a worker quarantine it."""
    headers = {"task": "unknown.task", "id": id, "retries": 0}
    cli.app.broker.publish([Message(queue="celery", id=id, body=b"[[], {}, {}]", headers=headers)])
    with start_worker(cli.app):
        with pytest.raises(Exception, match="unknown"):
            cli.app.AsyncResult(id).get(timeout=10)
        while not cli.app.broker.stats(["celery.dead"])["celery.dead"].ready:
            pass


def test_call_prints_the_id_and_result_the_value(cli: Cli) -> None:
    id = cli("call", "add", "-a", "[2, 3]").output.strip()
    with start_worker(cli.app):
        assert cli("result", id, "--wait", "10").output.strip() == "5"
    assert cli("call", "add", "-k", '{"x": 1, "y": 1}', "--countdown", "60").output.strip()
    assert cli.app.broker.stats(["celery"])["celery"].delayed == 1


def test_call_can_wait_for_the_answer(cli: Cli) -> None:
    with start_worker(cli.app):
        assert cli("call", "add", "-a", "[20, 22]", "--wait", "10").output.splitlines()[1] == "42"


def test_a_failed_result_has_exit_code_1_and_its_traceback_on_request(cli: Cli) -> None:
    with start_worker(cli.app):
        id = cli("call", "fail").output.strip()
        assert "on purpose" in cli("result", id, "--wait", "10", code=1).output
        assert "Traceback" in cli("result", id, "--traceback", code=1).output


def test_queues_shows_how_full_they_are(cli: Cli) -> None:
    for _ in range(3):
        cli("call", "add", "-a", "[1, 1]")
    line = next(line for line in cli("queues").output.splitlines() if line.startswith("celery "))
    assert line.split()[:4] == ["celery", "3", "0", "0"]
    assert json.loads(cli("queues", "--json").output)["celery"]["ready"] == 3


def test_browse_looks_without_taking(cli: Cli) -> None:
    id = cli("call", "add", "-a", "[7, 8]").output.strip()
    assert id in cli("browse", "celery").output
    assert "7, 8" in cli("browse", "celery", "--arguments").output
    assert json.loads(cli("browse", "celery", "--json").output)["task"] == "add"
    assert cli.app.broker.stats(["celery"])["celery"].ready == 1


def test_purge_asks_first_and_then_deletes(cli: Cli) -> None:
    cli("call", "add", "-a", "[1, 1]")
    cli("purge", input="n\n", code=1)
    assert cli.app.broker.stats(["celery"])["celery"].ready == 1
    assert "deleted 1 message" in cli("purge", "-f").output
    assert cli.app.broker.stats(["celery"])["celery"].ready == 0


def test_dead_letters_are_listed_shown_and_purged(cli: Cli) -> None:
    assert "no dead letters" in cli("dead", "list").output
    dead_letter(cli)
    listed = cli("dead", "list").output
    assert "stranger" in listed
    assert "unknown.task" in listed
    assert json.loads(cli("dead", "list", "--json").output)["death"]["queue"] == "celery"
    assert "never registered" in cli("dead", "show", "stranger").output
    assert "deleted 1" in cli("dead", "purge", "stranger").output
    assert "no dead letters" in cli("dead", "list").output


def test_a_replayed_letter_runs_once_somebody_knows_the_task(cli: Cli) -> None:
    dead_letter(cli, "again")
    dead_letter(cli, "stays")

    @cli.app.task(name="unknown.task")
    def late() -> str:
        return "at last"

    assert "replayed 1" in cli("dead", "replay", "again").output
    with start_worker(cli.app):
        assert cli.app.AsyncResult("again").get(timeout=10) == "at last"
    assert "stays" in cli("dead", "list").output
    assert "again" not in cli("dead", "list").output


def test_doctor_says_what_is_installed_and_whether_it_answers(cli: Cli) -> None:
    text = cli("doctor").output
    assert "sqlite" in text
    assert "memory" in text
    assert "answers" in text
    assert "max_delay" in text


def test_completion_prints_a_script(cli: Cli) -> None:
    assert "_UMBEL_COMPLETE" in cli("completion", "bash").output
