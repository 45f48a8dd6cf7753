"""`umbel dead`: what could not be run, and why."""

from __future__ import annotations

import json
import time

import click

from umbel.app.dead import dead_queue, remove, replay
from umbel.cli.queues import describe, known_queues
from umbel.cli.state import State, pass_state
from umbel.cli.table import ago, table
from umbel.exceptions import ImproperlyConfigured
from umbel.spec import DEATH, Message

LOOK = 1_000_000
"""Letters that a search by id goes through."""


@click.group()
def dead() -> None:
    """List, show, replay or purge dead letters.

    A message goes to `<queue>.dead` when it cannot be run: undecodable, not registered, refused, or lost with its
    worker too often. Nothing is dropped silently.
    """


def _queue_names(state: State, queue: str | None) -> list[str]:
    if queue:
        return [dead_queue(queue)]
    return [name for name in known_queues(state, None) if name.endswith(".dead")]


@dead.command("list")
@click.option("-Q", "--queue", metavar="NAME", help="Only those of this queue.")
@click.option("-n", "--limit", default=50, show_default=True, help="The most letters to show of each queue.")
@click.option("--json", "as_json", is_flag=True, help="As JSON lines.")
@pass_state
def list_(state: State, /, queue: str | None, limit: int, as_json: bool) -> None:
    """List the dead letters with their reasons."""
    letters = [letter for name in _queue_names(state, queue) for letter in state.app.broker.browse(name, limit)]
    if as_json:
        for letter in letters:
            click.echo(json.dumps({**describe(letter), "death": letter.headers.get(DEATH)}))
        return
    if not letters:
        click.echo("no dead letters")
        return
    now = time.time()
    rows = []
    for letter in letters:
        death = letter.headers.get(DEATH) or {}
        reason = " ".join(str(death.get("reason", "?")).split())
        rows.append(
            [
                letter.id,
                str(letter.headers.get("task") or "?"),
                str(death.get("queue") or letter.queue),
                ago(now - death["at"]) if "at" in death else "?",
                reason if len(reason) <= 80 else reason[:79] + "…",
            ]
        )
    click.echo(table(["ID", "TASK", "QUEUE", "AGE", "REASON"], rows, right=(3,)))


@dead.command()
@click.argument("task_id")
@click.option("-Q", "--queue", metavar="NAME", help="The queue it died in.")
@pass_state
def show(state: State, /, task_id: str, queue: str | None) -> None:
    """Show one dead letter whole: reason, headers and body."""
    letter = _find(state, task_id, queue)
    death = letter.headers.get(DEATH) or {}
    click.echo(f"{click.style('reason', bold=True)}   {death.get('reason', '?')}")
    click.echo(f"{click.style('queue', bold=True)}    {death.get('queue', letter.queue)}")
    click.echo(f"{click.style('attempts', bold=True)} {death.get('attempt', '?')}")
    click.echo(click.style("headers", bold=True))
    for name, value in letter.headers.items():
        if name != DEATH and value is not None:
            click.echo(f"  {name}: {json.dumps(value, default=repr)}")
    click.echo(click.style(f"body ({len(letter.body):,} bytes, {letter.content_type})", bold=True))
    click.echo("  " + letter.body[:10_000].decode("utf-8", "backslashreplace"))


def _find(state: State, task_id: str, queue: str | None) -> Message:
    for name in _queue_names(state, queue):
        for letter in state.app.broker.browse(name, LOOK):
            if letter.id == task_id:
                return letter
    raise ImproperlyConfigured(f"no dead letter has the id {task_id!r}; `umbel dead list` shows those there are")


@dead.command("replay")
@click.argument("task_ids", nargs=-1)
@click.option("-Q", "--queue", metavar="NAME", help="Only those of this queue.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@pass_state
def replay_(state: State, /, task_ids: tuple[str, ...], queue: str | None, everything: bool) -> None:
    """Send dead letters back to their queues, by id or all of them."""
    if bool(task_ids) == everything:
        raise click.UsageError("name the ids of the letters, or say --all")
    app, wanted = state.app, list(task_ids) or None
    sent = [id for name in _queue_names(state, queue) for id in replay(app.broker, name, wanted, app.backend)]
    missing = sorted(set(task_ids) - set(sent))
    click.echo(f"replayed {len(sent):,} message(s)")
    if missing:
        raise ImproperlyConfigured(f"no dead letter has the id(s) {', '.join(missing)}")


@dead.command("purge")
@click.argument("task_ids", nargs=-1)
@click.option("-Q", "--queue", metavar="NAME", help="Only those of this queue.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_state
def purge_(state: State, /, task_ids: tuple[str, ...], queue: str | None, everything: bool, force: bool) -> None:
    """Delete dead letters for good, by id or all of them."""
    if bool(task_ids) == everything:
        raise click.UsageError("name the ids of the letters, or say --all")
    names = _queue_names(state, queue)
    if task_ids:
        count = sum(len(remove(state.app.broker, name, task_ids)) for name in names)
    else:
        if not force:
            click.confirm(f"Delete all dead letters of {', '.join(names) or 'no queue'}?", abort=True)
        count = sum(state.app.broker.purge(name) or 0 for name in names)
    click.echo(f"deleted {count:,} dead letter(s)")
