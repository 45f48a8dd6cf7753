"""What Celery's app has, and what is still to come here: asked for, it says so."""

from __future__ import annotations

from typing import Any, NoReturn

COMMAND = "the app does not start programs: call umbel.cli.main.main(['-A', 'module', 'worker', ...])"


class _Later:
    """An attribute that is not there yet. It is no AttributeError: nobody should go on as if it were optional."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, app: Any, owner: type) -> Any:
        if app is None:
            return self
        raise NotImplementedError(f"app.{self._name} is not supported yet: {self._what}")


class Later:
    """An app without what is to come."""

    control = _Later("remote control; a queued task can be revoked through its result")
    events = _Later("events")
    Beat = _Later("periodic tasks; those that were added are kept")
    amqp = _Later("Celery's own way to make messages; see app.encode and app.send")
    log = _Later("logging set up by the app; the worker sets up its own")
    loader = _Later("loaders; see app.config_from_object and app.import_default_modules")
    pool = _Later("kombu's connections; see app.broker")
    producer_pool = _Later("kombu's producers; see app.broker")
    Worker = _Later("workers made by the program; run `umbel -A ... worker`, or use umbel.testing.start_worker")
    WorkController = _Later("workers made by the program; run `umbel -A ... worker`")

    def setup_security(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet: have messages signed."""
        raise NotImplementedError("app.setup_security is not supported yet: signed messages")

    def start(self, argv: list[str] | None = None) -> NoReturn:
        """Not supported: the command line is above the app; call ``umbel.cli.main.main(argv)``."""
        raise NotImplementedError(COMMAND)

    def worker_main(self, argv: list[str] | None = None) -> NoReturn:
        """Not supported: the command line is above the app; call ``umbel.cli.main.main(argv)``."""
        raise NotImplementedError(
            "app.worker_main is not supported: call umbel.cli.main.main(['-A', 'module', 'worker'])"
        )
