"""Plugins: found by entry point, loaded when something names them, asked through the four hooks."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from umbel.exceptions import BackendError, BrokerError, ImproperlyConfigured, PluginError, UmbelError
from umbel.plugins.entries import GROUPS, ROUTERS, SERIALIZERS, TRANSPORTS, Claim, Entries, conflict
from umbel.plugins.urls import mask, mask_text, scheme_of
from umbel.spec import VERSION, Broker, ResultBackend
from umbel.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from umbel.spec import Router, Serializer

PACKAGES = {
    **dict.fromkeys(("redis", "rediss", "sentinel", "valkey"), "umbel-redis"),
    **dict.fromkeys(("amqp", "amqps", "pyamqp", "librabbitmq", "rpc"), "umbel-amqp"),
    **dict.fromkeys(("sqs", "sqss"), "umbel-sqs"),
    **dict.fromkeys(("kafka", "confluentkafka"), "umbel-kafka"),
    **dict.fromkeys(("mongodb", "mongodb+srv"), "umbel-mongo"),
    "kombu": "umbel-kombu",
}
"""What to install for the schemes that people come with."""
EXTRAS = {"yaml": "umbel[yaml]", "msgpack": "umbel[msgpack]"}
"""What to install for the serializers whose libraries are optional."""
_KINDS = {
    "umbel_broker": "broker",
    "umbel_result_backend": "result backend",
    "umbel_serializers": "serializer",
    "umbel_router": "router",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One line of what is installed."""

    name: str
    group: str
    kind: str
    """broker, result backend, serializer, router, joined by commas; empty if it could not be loaded."""
    distribution: str
    version: str
    spec: int | None
    """The version of the contract that it was written for."""
    error: str | None
    """Why it cannot be used."""


class Plugins:
    """Makes brokers, stores, serializers and routers from what is installed."""

    def __init__(self) -> None:
        self._entries = Entries()
        self._loaded: dict[tuple[str, str], Any] = {}
        self._hooks: Any = None

    def register(self, name: str, plugin: Any, group: str = TRANSPORTS) -> None:
        """Use this module, or object, for a scheme or name, before anything that is installed."""
        value = getattr(plugin, "__name__", None) or repr(plugin)
        self._entries.give(
            Claim(group=group, name=name, value=value, distribution="this program", version="", plugin=plugin)
        )
        self._loaded.pop((group, name), None)

    def broker(self, url: str, options: Mapping[str, Any] | None = None) -> Broker:
        """A broker for the URL, not connected yet; PluginError or ImproperlyConfigured that says what to do."""
        made: Broker = self._transport("umbel_broker", Broker, url, options or {})
        return made

    def backend(self, url: str, options: Mapping[str, Any] | None = None) -> ResultBackend:
        """A result store for the URL, not connected yet; errors as of `broker`."""
        made: ResultBackend = self._transport("umbel_result_backend", ResultBackend, url, options or {})
        return made

    def serializers(self, names: Sequence[str]) -> list[Serializer]:
        """The serializers of these names."""
        found = []
        for name in names:
            claim = self._named(SERIALIZERS, name, "serializer")
            chosen = self._brought(claim, name)
            if chosen is None:
                need = f": pip install '{EXTRAS[name]}'" if name in EXTRAS else ""
                raise PluginError(f"{claim} brings no serializer named {name!r} here{need}")
            found.append(chosen)
        return found

    def router(self, name: str, config: Mapping[str, Any]) -> Router:
        """The router of this name, made from the app's settings."""
        claim = self._named(ROUTERS, name, "router")
        made: list[Router] = [each for each in self._ask(claim, "umbel_router", {"config": config}) if each is not None]
        if not made:
            raise PluginError(f"{claim} made no router: its settings are missing")
        return made[0]

    def installed(self) -> list[Installed]:
        """All that is installed, loaded to see whether it can be; what is wrong is in the lines, not raised."""
        return [self._inspect(claim) for group in GROUPS for claim in sorted(self._entries.claims(group), key=str)]

    def _brought(self, claim: Claim, name: str) -> Serializer | None:
        brought = [each for several in self._ask(claim, "umbel_serializers", {}) for each in several]
        return next((each for each in brought if each.name == name), None)

    def _transport(self, hook: str, kind: type, url: str, options: Mapping[str, Any]) -> Any:
        claim = self._claim(url, _KINDS[hook])
        shown = mask(url)
        try:
            made = self._ask(claim, hook, {"url": url, "options": options})
        except (UmbelError, BrokerError, BackendError) as exc:
            if _is_safe(exc, url):
                raise
            raise ImproperlyConfigured(mask_text(str(exc), url)) from None
        except ImportError as exc:
            raise PluginError(f"{claim} lacks what it needs for {shown}: {exc}") from exc
        except Exception as exc:  # noqa: BLE001 - raised again, without its cause where that shows the secret
            cause = exc if _is_safe(exc, url) else None
            raise ImproperlyConfigured(
                f"{shown} is not usable: {mask_text(str(exc), url)} [{claim.distribution}]"
            ) from cause
        if made is None:
            if hook not in self._implemented(self._load(claim)):
                raise PluginError(f"{claim} brings no {_KINDS[hook]}, so {shown} cannot be one")
            raise PluginError(f"{claim} does not take the URL {shown}")
        if not isinstance(made, kind):
            raise PluginError(f"{claim} made a {type(made).__name__}, which is no umbel.spec.{kind.__name__}")
        return made

    def _claim(self, url: str, kind: str) -> Claim:
        """Who claims the URL: its whole scheme first, then the part before the first plus sign."""
        scheme = scheme_of(url)
        if not scheme:
            raise ImproperlyConfigured(
                f"the {kind}'s URL {mask(url)!r} has no scheme; it looks like redis://localhost or sqlite:///a/file"
            )
        for name in dict.fromkeys((scheme, scheme.partition("+")[0])):
            claim = self._entries.find(TRANSPORTS, name)
            if claim is not None:
                return claim
        raise PluginError(self._unknown_scheme(scheme, kind))

    def _unknown_scheme(self, scheme: str, kind: str) -> str:
        package = PACKAGES.get(scheme) or PACKAGES.get(scheme.partition("+")[0])
        if package:
            return f"no {kind} for {scheme}:// is installed: pip install {package}"
        installed = self._entries.names(TRANSPORTS)
        meant = _close(scheme, [*installed, *PACKAGES])
        hint = f"; is {meant}:// meant?" if meant else ""
        if meant and meant not in installed:
            hint += f" pip install {PACKAGES[meant]}"
        return f"no {kind} for {scheme}:// is installed{hint} (installed: {', '.join(installed)})"

    def _named(self, group: str, name: str, kind: str) -> Claim:
        claim = self._entries.find(group, name)
        if claim is None:
            installed = self._entries.names(group)
            meant = _close(name, installed)
            hint = f"; is {meant!r} meant?" if meant else ""
            known = ", ".join(installed) or "none"
            raise PluginError(f"no {kind} named {name!r} is installed{hint} (installed: {known})")
        return claim

    def _ask(self, claim: Claim, hook: str, arguments: dict[str, Any]) -> Any:
        """What this plugin alone answers."""
        plugin = self._load(claim)
        others = [other for other in self._hooks.get_plugins() if other is not plugin]
        return self._hooks.subset_hook_caller(hook, others)(**arguments)

    def _load(self, claim: Claim) -> Any:
        key = (claim.group, claim.name)
        plugin = self._loaded.get(key)
        if plugin is None:
            plugin = claim.plugin if claim.plugin is not None else _imported(claim)
            _check_version(claim, plugin)
            self._join(claim, plugin)
            self._loaded[key] = plugin
        return plugin

    def _join(self, claim: Claim, plugin: Any) -> None:
        import pluggy  # noqa: PLC0415 - 7 ms, and a program that only defines tasks needs no plugin

        from umbel.spec import hooks  # noqa: PLC0415 - imports pluggy

        if self._hooks is None:
            self._hooks = pluggy.PluginManager(hooks.PROJECT)
            self._hooks.add_hookspecs(hooks)
        if self._hooks.is_registered(plugin):
            return
        try:
            self._hooks.register(plugin, name=f"{claim.group}/{claim.name}/{id(plugin)}")
            self._hooks.check_pending()
            if self._implemented(plugin):
                return
            wrong = "implements none of the hooks; are they decorated by umbel.spec.hooks.hookimpl?"
        except pluggy.PluginValidationError as exc:
            wrong = f"has a hook that is none of umbel.spec.hooks: {' '.join(str(exc).split())}"
        if self._hooks.is_registered(plugin):
            self._hooks.unregister(plugin)
        raise PluginError(f"{claim} {wrong}")

    def _implemented(self, plugin: Any) -> tuple[str, ...]:
        return tuple(caller.name for caller in self._hooks.get_hookcallers(plugin) or ())

    def _inspect(self, claim: Claim) -> Installed:
        kind = ""
        spec = error = None
        rivals = self._entries.claims(claim.group, claim.name)
        if len(rivals) > 1:
            error = conflict(rivals)
        else:
            try:
                plugin = self._load(claim)
                spec = _spec(claim, plugin)
                kind = ", ".join(_KINDS[hook] for hook in self._implemented(plugin))
                if claim.group == SERIALIZERS and claim.name in EXTRAS and self._brought(claim, claim.name) is None:
                    kind += f" (needs {EXTRAS[claim.name]})"
            except PluginError as exc:
                error = str(exc)
        return Installed(
            name=claim.name,
            group=claim.group,
            kind=kind,
            distribution=claim.distribution,
            version=claim.version,
            spec=spec,
            error=error,
        )


def _is_safe(exc: BaseException | None, url: str) -> bool:
    """Whether neither the error, nor what a traceback shows that it follows from, has the URL's secret in it."""
    while exc is not None:
        if mask_text(str(exc), url) != str(exc):
            return False
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return True


def _imported(claim: Claim) -> Any:
    module, _, attribute = claim.value.partition(":")
    try:
        found: Any = import_module(module.strip())
        for part in attribute.strip().split(".") if attribute else ():
            found = getattr(found, part)
    except Exception as exc:
        raise PluginError(f"{claim} cannot be loaded: {type(exc).__name__}: {exc}") from exc
    return found


def _spec(claim: Claim, plugin: Any) -> Any:
    """The version of the contract that the plugin says it was written for."""
    stated = getattr(plugin, "UMBEL_SPEC", None)
    if stated is None and claim.plugin is None:
        stated = getattr(import_module(claim.value.partition(":")[0].strip()), "UMBEL_SPEC", None)
    return stated


def _check_version(claim: Claim, plugin: Any) -> None:
    stated = _spec(claim, plugin)
    if type(stated) is not int:
        raise PluginError(f"{claim} does not say which umbel.spec it was written for: it lacks UMBEL_SPEC = {VERSION}")
    if stated > VERSION:
        raise PluginError(
            f"{claim} was written for version {stated} of umbel.spec; umbel {__version__} has {VERSION}: upgrade umbel"
        )


def _close(name: str, known: Sequence[str]) -> str | None:
    import difflib  # noqa: PLC0415 - only for a name that is wrong

    return next(iter(difflib.get_close_matches(name, known, 1, 0.6)), None)
