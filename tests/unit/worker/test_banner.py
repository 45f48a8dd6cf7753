"""What a worker shows of itself."""

import re
from types import SimpleNamespace
from typing import Any

from umbel.backends.memory import MemoryBackend
from umbel.spec import Capabilities
from umbel.version import __version__
from umbel.worker.banner import TASKS_SHOWN, WIDTH, banner
from umbel.worker.options import WorkerOptions

OPTIONS = WorkerOptions(hostname="celery@here", queues=("celery", "mail"), concurrency=2)


def app(**changes: Any) -> Any:
    facts: dict[str, Any] = {
        "main": "proj",
        "tasks": {"proj.add": None, "celery.chord": None},
        "broker": SimpleNamespace(capabilities=Capabilities(durable="disk")),
        "broker_url": "redis://user:secret@host/0",
        "backend": None,
        "result_url": None,
    }
    return SimpleNamespace(**facts | changes)


def facts(text: str) -> dict[str, str]:
    """The labelled lines, those that follow a label joined to it."""
    found = re.findall(r"^  (\w+) +(.*(?:\n {12}.*)*)$", text.partition("|       ")[2], re.M)
    return {label: " ".join(value.split()) for label, value in found}


def test_it_tells_who_works_where_on_what() -> None:
    text = banner(app(), OPTIONS)
    assert f"umbel {__version__}\n" in text
    assert "celery@here\n" in text
    assert facts(text) == {
        "app": "proj",
        "broker": "redis://user:***@host/0 survives a loss of power",
        "results": "disabled (result_backend is not set)",
        "pool": "prefork, 2 processes",
        "queues": "celery, mail",
        "tasks": "proj.add",
    }


def test_results_are_shown_without_their_password() -> None:
    apart = app(backend=MemoryBackend(), result_url="mongodb://me:secret@db")
    assert facts(banner(apart, OPTIONS))["results"] == "mongodb://me:***@db"
    together = app(backend=MemoryBackend(), result_url="redis://user:secret@host/0")
    assert facts(banner(together, OPTIONS))["results"] == "with the messages"


def test_limits_are_shown_where_there_are_any() -> None:
    options = WorkerOptions(
        hostname="w@h", queues=("q",), pool="threads", concurrency=1, time_limit=300.0, max_memory_per_child=51200
    )
    found = facts(banner(app(), options))
    assert found["limits"] == "hard 300 s, 50 MiB a child"
    assert found["pool"] == "threads, 1 thread"


def test_of_many_tasks_some_are_shown_in_lines_of_bounded_width() -> None:
    tasks = {f"proj.tasks.number_{number:03}": None for number in range(100)}
    text = banner(app(tasks=tasks), OPTIONS)
    assert f"number_{TASKS_SHOWN - 1:03}" in text
    assert f"number_{TASKS_SHOWN:03}" not in text
    assert "and 80 more" in text
    assert max(map(len, text.splitlines())) <= WIDTH + 13


def test_no_task_at_all_gets_a_hint() -> None:
    assert "imported?" in facts(banner(app(tasks={"celery.chord": None}), OPTIONS))["tasks"]


def test_notes_come_last() -> None:
    assert facts(banner(app(), OPTIONS, notes=["mind the gap"]))["note"] == "mind the gap"


def test_without_colour_there_is_no_escape_whatever_things_are_called() -> None:
    evil = app(tasks={"proj.\x1b[2J": None}, main="p\nroj")
    plain = banner(evil, OPTIONS)
    assert "\x1b" not in plain
    assert facts(plain)["app"] == "p\\x0aroj"
    assert re.sub(r"\x1b\[[\d;]*m", "", banner(evil, OPTIONS, color=True)) == plain
