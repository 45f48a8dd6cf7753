"""`umbel doctor`: what is installed, what it declares, and whether it answers."""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from umbel.cli.state import State, pass_state
from umbel.cli.table import table
from umbel.exceptions import UmbelError
from umbel.plugins.manager import Plugins
from umbel.plugins.urls import mask
from umbel.spec import BackendError, BrokerError
from umbel.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command()
@pass_state
def doctor(state: State, /) -> None:
    """Check the installation: plugins, what the broker declares, and whether the URLs answer.

    The exit code is 1 if anything is wrong.
    """
    click.echo(f"umbel {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    click.echo()
    healthy = _plugins()
    try:
        app = state.app
    except UmbelError as exc:
        click.echo(f"\n{_bad('no app')}: {exc}")
        sys.exit(0 if healthy else 1)
    click.echo(f"\nbroker   {mask(app.broker_url)}")
    healthy &= _answers("         ", lambda: app.broker.stats(app.queue_names()))
    _capabilities(app.broker.capabilities)
    backend = app.conf.result_backend or "the broker's"
    click.echo(
        f"\nresults  {mask(str(backend)) if app.backend is not None else 'disabled (result_backend is not set)'}"
    )
    store = app.backend
    if store is not None:
        healthy &= _answers("         ", lambda: store.fetch(["umbel-doctor"]))
    sys.exit(0 if healthy else 1)


def _plugins() -> bool:
    rows = []
    healthy = True
    for plugin in Plugins().installed():
        problem = plugin.error
        healthy &= not problem
        rows.append(
            [
                plugin.name,
                plugin.kind,
                f"{plugin.distribution} {plugin.version}",
                str(plugin.spec or "-"),
                problem or "ok",
            ]
        )
    click.echo(table(["PLUGIN", "KIND", "DISTRIBUTION", "CONTRACT", "STATE"], rows))
    return healthy


def _answers(indent: str, question: Callable[[], Any]) -> bool:
    since = time.monotonic()
    try:
        question()
    except (BrokerError, BackendError, UmbelError) as exc:
        click.echo(f"{indent}{_bad('no answer')}: {exc}")
        return False
    click.echo(f"{indent}{click.style('answers', fg='green')} in {(time.monotonic() - since) * 1000:.1f} ms")
    return True


def _capabilities(capabilities: Any) -> None:
    for field in dataclasses.fields(capabilities):
        click.echo(f"         {field.name:<16} {getattr(capabilities, field.name)}")


def _bad(text: str) -> str:
    return click.style(text, fg="red", bold=True)
