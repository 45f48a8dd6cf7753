"""What a worker shows of itself when it starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from umbel.plugins.urls import mask
from umbel.version import __version__
from umbel.worker.logs import paint, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.worker.options import WorkerOptions

TASKS_SHOWN = 20
"""Names of tasks; of more, only how many."""
WIDTH = 100

FLOWER = (
    r"   . o O o .   ",
    r"    \ \|/ /    ",
    r"     '.|.'     ",
    r"       |       ",
)
DURABLE = {
    "none": "nothing is kept when the process ends",
    "process": "survives a crash of the broker, not of its host",
    "host": "survives a restart of the host, not a loss of power",
    "disk": "survives a loss of power",
}
"""What `Capabilities.durable` means, in words."""


def banner(app: Any, options: WorkerOptions, *, color: bool = False, notes: Sequence[str] = ()) -> str:
    """Several lines about the worker; `notes` are shown below, each as a line of its own."""

    def dim(text: str) -> str:
        return paint(text, "2") if color else text

    titles = ["", f"umbel {__version__}", options.hostname, dim(f"process {os.getpid()}")]
    if color:
        titles[1], titles[2] = paint(titles[1], "1"), paint(titles[2], "1;32")
    lines = [""]
    for line, title in zip(FLOWER, titles, strict=True):
        stem = line if title else line.rstrip()
        lines.append(f"{paint(stem, '32') if color else stem}{title}")
    lines.append("")
    for label, values in _facts(app, options):
        for index, value in enumerate(values):
            lines.append(f"  {dim(label.ljust(9)) if index == 0 else ' ' * 9} {printable(value)}")
    lines += [f"  {paint('note', '33') if color else 'note'}{' ' * 6}{printable(note)}" for note in notes]
    return "\n".join([*lines, ""])


def _facts(app: Any, options: WorkerOptions) -> list[tuple[str, list[str]]]:
    capabilities = app.broker.capabilities
    kept = DURABLE.get(capabilities.durable, capabilities.durable)
    names = sorted(name for name in app.tasks if not name.startswith(("celery.", "umbel.")))
    return [
        ("app", [str(app.main or "-")]),
        ("broker", [mask(str(app.broker_url)), kept]),
        ("results", [_results(app)]),
        ("pool", [_pool(options)]),
        ("limits", limits) if (limits := _limits(options)) else ("", []),
        ("queues", _wrapped(options.queues)),
        ("tasks", _tasks(names)),
    ]


def _results(app: Any) -> str:
    if app.backend is None:
        return "disabled (result_backend is not set)"
    return "with the messages" if app.result_url == app.broker_url else mask(str(app.result_url))


def _pool(options: WorkerOptions) -> str:
    if options.pool == "prefork":
        return f"prefork, {_count(options.concurrency, 'process', 'processes')}"
    if options.pool == "threads":
        return f"threads, {_count(options.concurrency, 'thread', 'threads')}"
    return "solo, one task at a time in this process"


def _limits(options: WorkerOptions) -> list[str]:
    limits = [
        f"{name} {value:g} s"
        for name, value in (("soft", options.soft_time_limit), ("hard", options.time_limit))
        if value is not None
    ]
    if options.max_tasks_per_child is not None:
        limits.append(f"{options.max_tasks_per_child} tasks a child")
    if options.max_memory_per_child is not None:
        limits.append(f"{options.max_memory_per_child / 1024:g} MiB a child")
    return [", ".join(limits)] if limits else []


def _tasks(names: Sequence[str]) -> list[str]:
    if not names:
        return ["none: is the module with your tasks imported?"]
    shown = _wrapped(names[:TASKS_SHOWN])
    if len(names) > TASKS_SHOWN:
        shown.append(f"and {len(names) - TASKS_SHOWN} more")
    return shown


def _wrapped(words: Sequence[str]) -> list[str]:
    """The words, separated by commas, in as many lines as it takes; a word is never cut."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 2 > WIDTH:
            lines[-1] += ","
            lines.append(word)
        else:
            lines[-1] += f", {word}" if lines[-1] else word
    return lines


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
