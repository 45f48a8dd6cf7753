"""`umbel call` and `umbel result`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from umbel.cli.state import State, pass_state
from umbel.exceptions import ImproperlyConfigured
from umbel.exceptions import TimeoutError as ResultTimeoutError


class Json(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click only
    """A JSON value of one kind."""

    def __init__(self, kind: type[Any], name: str) -> None:
        self._kind = kind
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            parsed = json.loads(value)
        except ValueError as exc:
            self.fail(f"{value!r} is not JSON: {exc}", param, ctx)
        if not isinstance(parsed, self._kind):
            self.fail(f"{value!r} is not a {self.name}", param, ctx)
        return parsed


class Moment(click.ParamType):  # type: ignore[type-arg]
    """Seconds from now, or a moment in ISO 8601."""

    name = "SECONDS|ISO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import datetime

        try:
            return float(value)
        except (TypeError, ValueError):
            pass
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number of seconds nor a moment as 2030-01-31T12:00:00+00:00", param, ctx)


@click.command()
@click.argument("name")
@click.option("-a", "--args", "arguments", type=Json(list, "JSON array"), default="[]", help="Positional arguments.")
@click.option("-k", "--kwargs", type=Json(dict, "JSON object"), default="{}", help="Keyword arguments.")
@click.option("--eta", type=Moment(), help="Not before this moment.")
@click.option("--countdown", type=float, metavar="SECONDS", help="Not before so many seconds from now.")
@click.option("--expires", type=Moment(), help="Not after this.")
@click.option("--serializer", help="json, pickle, yaml, msgpack, ...")
@click.option("--queue", help="Where to.")
@click.option("--exchange", help="The exchange, in place of a queue.")
@click.option("--routing-key", help="The routing key.")
@click.option("--priority", type=click.IntRange(0, 255), help="9 first.")
@click.option("--wait", type=float, metavar="SECONDS", help="Wait for the result and print it.")
@pass_state
def call(
    state: State, /, name: str, arguments: list[Any], kwargs: dict[str, Any], wait: float | None, **options: Any
) -> None:
    """Send the task NAME and print its id."""
    import datetime

    given = {key: value for key, value in options.items() if value is not None}
    eta = given.get("eta")
    if isinstance(eta, float):
        given["eta"] = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=eta)
    app = state.app
    sent = app.send_task(name, arguments, kwargs, **given)
    click.echo(sent.id)
    if wait is not None:
        _show(sent, wait, traceback=False)


@click.command()
@click.argument("task_id")
@click.option("-t", "--task", "_task", help="Accepted for Celery's sake; not needed.")
@click.option("--traceback", is_flag=True, help="Show the traceback instead of the error.")
@click.option("--wait", type=float, metavar="SECONDS", help="Wait so long for it.")
@pass_state
def result(state: State, /, task_id: str, _task: str | None, traceback: bool, wait: float | None) -> None:
    """Show the result of the task TASK_ID; exit code 1 if it failed, 2 if there is none yet."""
    app = state.app
    if app.backend is None:
        raise ImproperlyConfigured("results are disabled: set result_backend, or say --result-backend URL")
    _show(app.AsyncResult(task_id), wait or 0.0, traceback=traceback)


def _show(sent: Any, wait: float, *, traceback: bool) -> None:
    try:
        value = sent.get(timeout=wait, propagate=False)
    except ResultTimeoutError:
        click.echo(f"{sent.state}: no result yet", err=True)
        sys.exit(2)
    if sent.successful():
        click.echo(value if isinstance(value, str) else _pretty(value))
        return
    if traceback and sent.traceback:
        click.echo(sent.traceback.rstrip())
    else:
        click.echo(f"{sent.state}: {value!r}", err=True)
    sys.exit(1)


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return repr(value)
