"""The options that all commands share, and the app that they lead to."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from umbel.app.base import Umbel


class State:
    """What was said before the command's name."""

    def __init__(
        self,
        *,
        app: str | None,
        broker: str | None,
        result_backend: str | None,
        config: str | None,
        workdir: str | None,
        no_color: bool,
        quiet: bool,
    ) -> None:
        self._name = app
        self._broker = broker
        self._result_backend = result_backend
        self._config = config
        self.no_color = no_color or bool(os.environ.get("NO_COLOR"))
        self.quiet = quiet
        self._app: Umbel | None = None
        if workdir:
            os.chdir(workdir)

    @property
    def app(self) -> Umbel:
        """The app of -A, else one of its own for -b; with the other options applied. Found once."""
        if self._app is None:
            self._app = self._found()
        return self._app

    def _found(self) -> Umbel:
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        if self._name:
            from umbel.app.discovery import find_app

            app = find_app(self._name)
        elif self._broker:
            from umbel.app.base import Umbel

            app = Umbel("umbel", set_as_current=False)
        else:
            raise ImproperlyConfigured("which app? Say -A MODULE (or set UMBEL_APP), or -b URL for a broker by itself")
        if self._config:
            app.config_from_object(self._config)
        changes: dict[str, Any] = {}
        if self._broker:
            changes["broker_url"] = self._broker
        if self._result_backend:
            changes["result_backend"] = self._result_backend
        app.conf.override(changes)
        app.set_default()
        return app


pass_state = click.make_pass_decorator(State)
