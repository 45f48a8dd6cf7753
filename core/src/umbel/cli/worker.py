"""`umbel worker`."""

from __future__ import annotations

import sys
from typing import Any

import click

from umbel.cli.state import State, pass_state

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@click.command()
@click.option("-n", "--hostname", metavar="NAME", help="Node name; %h host, %n name, %d domain. Default: celery@%h.")
@click.option("-Q", "--queues", metavar="NAMES", help="The queues to consume, separated by commas.")
@click.option("-X", "--exclude-queues", metavar="NAMES", help="Queues of the settings not to consume.")
@click.option("-c", "--concurrency", metavar="N", help="Processes or threads. Default: as many as cores.")
@click.option("-P", "--pool", type=click.Choice(["prefork", "threads", "solo"]), help="Default: prefork.")
@click.option("-l", "--loglevel", type=click.Choice(LEVELS, case_sensitive=False), help="Default: WARNING.")
@click.option("--prefetch", type=click.IntRange(min=1), help="The most tasks that one child holds.")
@click.option("--time-limit", type=float, metavar="SECONDS", help="Hard time limit of a task.")
@click.option("--soft-time-limit", type=float, metavar="SECONDS", help="Soft time limit of a task.")
@click.option("--max-tasks-per-child", type=click.IntRange(min=1), help="Replace a child after so many tasks.")
@click.option("--max-memory-per-child", type=click.IntRange(min=1), metavar="KIB", help="Replace a child beyond this.")
@click.option("--grace", type=float, metavar="SECONDS", help="Time for running tasks when the worker is stopped.")
@click.option("-I", "--include", metavar="MODULES", help="Modules to import besides, separated by commas.")
@click.option("--purge", is_flag=True, help="Delete what waits in the queues first.")
@click.option("--log-json", is_flag=True, help="Log as JSON lines.")
@click.option("--show-arguments", is_flag=True, help="Show arguments and values of tasks in the log.")
@pass_state
def worker(state: State, /, **options: Any) -> None:
    """Run the tasks of the application.

    TERM or Ctrl-C stops it warmly: running tasks are finished. A second one stops it at once; nothing is lost either
    way.
    """
    from umbel.worker.command import run_worker

    given = {name: value for name, value in options.items() if value not in (None, False)}
    if state.no_color:
        given["no_color"] = True
    if state.quiet:
        given["quiet"] = True
    sys.exit(run_worker(state.app, **given))
