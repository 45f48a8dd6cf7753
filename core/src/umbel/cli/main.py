"""`umbel`: the group of all commands and the options they share."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from umbel.cli.state import State
from umbel.version import __version__

COMMANDS = {
    "worker": ("umbel.cli.worker:worker", "Run tasks."),
    "call": ("umbel.cli.call:call", "Send a task by name and print its id."),
    "result": ("umbel.cli.call:result", "Show the result of a task."),
    "queues": ("umbel.cli.queues:queues", "Show how full the queues are."),
    "browse": ("umbel.cli.queues:browse", "Look into a queue without taking anything."),
    "purge": ("umbel.cli.queues:purge", "Delete the messages that wait in queues."),
    "dead": ("umbel.cli.dead:dead", "List, show, replay or purge dead letters."),
    "doctor": ("umbel.cli.doctor:doctor", "Check the installation, the plugins and the URLs."),
    "completion": ("umbel.cli.completion:completion", "Print the script for tab completion."),
}
"""Name, where it is, and its line of help: so that `umbel --help` imports none of them."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            if near and near[0] not in exc.message:
                raise click.UsageError(f"{exc.message} Did you mean {near[0]!r}?", ctx) from exc
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "UMBEL"})
@click.option("-A", "--app", metavar="APP", help="The application: module, or module:attribute.")
@click.option("-b", "--broker", metavar="URL", help="The broker, in place of the application's own.")
@click.option("--result-backend", metavar="URL", help="The result store, in place of the application's own.")
@click.option("--config", metavar="MODULE", help="A module with the settings.")
@click.option("--workdir", metavar="DIR", help="Change to this directory first.", type=click.Path(exists=True))
@click.option("-C", "--no-color", is_flag=True, help="No colours.")
@click.option("-q", "--quiet", is_flag=True, help="Only what was asked for.")
@click.version_option(__version__, "--version", prog_name="umbel")
@click.pass_context
def umbel(ctx: click.Context, /, **options: Any) -> None:
    """Umbel: a task queue toolkit.

    \b
    umbel -A proj worker            run the tasks of proj
    umbel -A proj call add -a [1,2] send one by name
    umbel -A proj queues            see what waits
    """
    ctx.obj = State(**options)
    if options["no_color"]:
        ctx.color = False


def main(argv: list[str] | None = None) -> None:
    """The console script: every error that a user can mend is one line, and the exit code is 1."""
    for name in ("APP", "BROKER", "RESULT_BACKEND"):
        if f"UMBEL_{name}" not in os.environ and f"CELERY_{name}" in os.environ:
            os.environ[f"UMBEL_{name}"] = os.environ[f"CELERY_{name}"]
    from umbel.cli.errors import one_line

    with one_line():
        umbel.main(args=argv, prog_name="umbel", standalone_mode=True)
    sys.exit(0)
