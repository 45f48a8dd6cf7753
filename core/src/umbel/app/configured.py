"""An app's settings."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from umbel.app.conf import Conf
from umbel.app.connections import broker_url, result_url
from umbel.app.home import home_of, maker
from umbel.app.sources import from_object
from umbel.exceptions import ImproperlyConfigured
from umbel.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIG_MODULE = ("UMBEL_CONFIG_MODULE", "CELERY_CONFIG_MODULE")
"""Variables of the environment that name a module with settings, for an app that names none itself."""


class Configured:
    """An app with settings, which are read when the first of them is asked for."""

    main: str | None = None
    namespace: str | None = None
    conf: Conf

    def __init__(self, changes: Mapping[str, Any]) -> None:
        self._made_by = maker(self)
        self._periodic: dict[str, Any] = {}
        self.on_configure = Signal(name="app.on_configure")
        """Sent before the settings are read."""
        self.on_after_configure = Signal(name="app.on_after_configure", providing_args={"source"})
        """Sent after that."""
        self.conf = Conf(changes, on_read=self._configured)
        self.conf.read_from(self._from_environment)

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from an object, a class, a dictionary, or the name of one or of a module.

        It is read when the first setting is asked for; with `force`, now. `silent`: a module that is not there is no
        error. With a namespace only names that begin with it count (``CELERY_TASK_ROUTES`` in the namespace CELERY).
        """
        self.namespace = namespace or self.namespace
        self.conf.read_from(lambda: self._from_object(obj, silent=silent))
        if force:
            self.conf.keys()

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """Take settings from the module that a variable of the environment names; whether it names one."""
        module = os.environ.get(variable_name)
        if not module:
            if silent:
                return False
            raise ImproperlyConfigured(
                f"the environment variable {variable_name} is not set, which is to name a module with settings"
            )
        self.config_from_object(module, silent=silent, force=force)
        return True

    def add_defaults(self, fun: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Have settings that count where nobody gives others: a dictionary, or a function that makes one."""
        self.conf.add_defaults(fun if callable(fun) else lambda: fun)

    def prepare_config(self, c: dict[str, Any]) -> Mapping[str, Any]:
        """The settings as they are to be used, from those that were read; for subclasses."""
        return c

    def either(self, default_key: str, *defaults: Any) -> Any:
        """The first value that is not None, else the setting."""
        return next((value for value in defaults if value is not None), self.conf.get(default_key))

    @property
    def home(self) -> str:
        """The folder of the queue file that is used where no broker is given."""
        return home_of(self._made_by)

    @property
    def broker_url(self) -> str:
        """Where messages go, as it comes of the settings; with its password, if it has one."""
        return broker_url(self.conf, self.home)

    @property
    def result_url(self) -> str | None:
        """Where results go; None if nowhere."""
        return result_url(self.conf, self.home)

    @property
    def backend_is_set(self) -> bool:
        """Whether results are stored anywhere."""
        return self.result_url is not None

    @property
    def timezone(self) -> tzinfo:
        """The time zone of the settings."""
        name = self.conf.timezone
        if name:
            from zoneinfo import ZoneInfo  # noqa: PLC0415 - only for those who set a zone

            try:
                return ZoneInfo(name)
            except (LookupError, ValueError) as exc:
                raise ImproperlyConfigured(f"setting 'timezone': there is no time zone {name!r}") from exc
        return UTC if self.conf.enable_utc else _local_zone()

    def uses_utc_timezone(self) -> bool:
        """Whether the time zone is UTC."""
        return self.timezone is UTC or str(self.timezone) == "UTC"

    def now(self) -> datetime:
        """The present moment, in the app's time zone."""
        return datetime.now(self.timezone)

    def _from_object(self, obj: Any, *, silent: bool) -> Mapping[str, Any]:
        self.on_configure.send(sender=self)
        try:
            found = from_object(obj, self.namespace)
        except ModuleNotFoundError as exc:
            if not isinstance(obj, str) or (exc.name or "").partition(".")[0] != obj.partition(".")[0]:
                raise
            if not silent:
                raise ImproperlyConfigured(f"the settings cannot be read: {exc}") from exc
            found = {}
        return self.prepare_config(found)

    def _from_environment(self) -> Mapping[str, Any]:
        module = next(filter(None, map(os.environ.get, CONFIG_MODULE)), None)
        return self._from_object(module or {}, silent=False)

    def _configured(self) -> None:
        self.conf.beat_schedule.update(self._periodic)
        self.on_after_configure.send(sender=self, source=self.conf)


def _local_zone() -> tzinfo:
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    return zone
