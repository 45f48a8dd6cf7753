"""`umbel queues`, `umbel browse` and `umbel purge`."""

from __future__ import annotations

import json
from typing import Any

import click

from umbel.cli.state import State, pass_state
from umbel.cli.table import ago, number, table
from umbel.spec import Message, Unsupported


def split(names: str | None) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def known_queues(state: State, names: str | None) -> list[str]:
    """Those that were named, else all that the broker has, else those of the settings."""
    given = split(names)
    if given:
        return given
    app = state.app
    try:
        existing = list(app.broker.queues())
    except Unsupported:
        existing = []
    return sorted({*existing, *app.queue_names()})


@click.command()
@click.option("-Q", "--queues", "names", metavar="NAMES", help="Only these, separated by commas.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@pass_state
def queues(state: State, /, names: str | None, as_json: bool) -> None:
    """Show how full the queues are: ready, being worked on (leased), delayed, and how old the oldest ready is."""
    found = known_queues(state, names)
    stats = state.app.broker.stats(found)
    if as_json:
        click.echo(
            json.dumps(
                {
                    name: {"ready": s.ready, "leased": s.leased, "delayed": s.delayed, "oldest_age": s.oldest_age}
                    for name, s in stats.items()
                }
            )
        )
        return
    rows = [
        [name, number(s.ready), number(s.leased), number(s.delayed), ago(s.oldest_age)]
        for name, s in ((name, stats[name]) for name in found if name in stats)
    ]
    click.echo(table(["QUEUE", "READY", "LEASED", "DELAYED", "OLDEST"], rows, right=(1, 2, 3, 4)))


def describe(message: Message) -> dict[str, Any]:
    """A message as a person or a program wants to see it."""
    return {
        "id": message.id,
        "task": message.headers.get("task"),
        "queue": message.queue,
        "priority": message.priority,
        "eta": message.headers.get("eta"),
        "retries": message.headers.get("retries"),
        "args": message.headers.get("argsrepr"),
        "kwargs": message.headers.get("kwargsrepr"),
        "size": len(message.body),
    }


@click.command()
@click.argument("queue")
@click.option("-n", "--limit", default=20, show_default=True, help="The most messages to show.")
@click.option("--arguments", is_flag=True, help="Show the arguments too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON lines.")
@pass_state
def browse(state: State, /, queue: str, limit: int, arguments: bool, as_json: bool) -> None:
    """Look into QUEUE without taking anything: the next message first."""
    messages = state.app.broker.browse(queue, limit)
    if as_json:
        for message in messages:
            click.echo(json.dumps(describe(message)))
        return
    heads = ["ID", "TASK", "PRIORITY", "RETRIES", "BYTES"] + (["ARGUMENTS"] if arguments else [])
    rows = []
    for message in messages:
        words = describe(message)
        row = [
            message.id,
            str(words["task"] or "?"),
            "-" if message.priority is None else str(message.priority),
            str(words["retries"] or 0),
            f"{words['size']:,}",
        ]
        rows.append(row + ([f"{words['args']} {words['kwargs']}"] if arguments else []))
    click.echo(table(heads, rows, right=(2, 3, 4)) if rows else f"{queue} has nothing ready")


@click.command()
@click.option(
    "-Q", "--queues", "names", metavar="NAMES", help="The queues, separated by commas. Default: those of the app."
)
@click.option("-X", "--exclude-queues", metavar="NAMES", help="Not these.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_state
def purge(state: State, /, names: str | None, exclude_queues: str | None, force: bool) -> None:
    """Delete the messages that wait in queues; what is being worked on or delayed stays. There is no way back."""
    app = state.app
    chosen = [name for name in split(names) or app.queue_names() if name not in split(exclude_queues)]
    if not force:
        click.confirm(f"Delete all that waits in {', '.join(chosen)}?", abort=True)
    counts = [app.broker.purge(name) for name in chosen]
    known = [count for count in counts if count is not None]
    total = f"{sum(known):,}" if len(known) == len(counts) else "an unknown number of"
    click.echo(f"deleted {total} message(s) from {', '.join(chosen)}")
