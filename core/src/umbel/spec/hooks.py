"""The four hooks, all factories, called once at start; nothing on the message path is a hook.

A plugin is a module with some of these functions under `hookimpl`, found by an entry point:
group ``umbel``, named by the URL's scheme; ``umbel.serializers`` and ``umbel.routers``, named by what settings name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from umbel.spec.backend import ResultBackend
from umbel.spec.broker import Broker
from umbel.spec.router import Router
from umbel.spec.serializer import Serializer

PROJECT = "umbel"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def umbel_broker(url: str, options: Mapping[str, Any]) -> Broker | None:
    """A broker for the URL, not connected yet; None if the scheme is not yours. ValueError: the URL is wrong."""


@hookspec(firstresult=True)
def umbel_result_backend(url: str, options: Mapping[str, Any]) -> ResultBackend | None:
    """A result store for the URL; None if the scheme is not yours. `options["broker_url"]` is the broker's."""


@hookspec
def umbel_serializers() -> Sequence[Serializer]:
    """The serializers that this plugin brings."""
    return ()


@hookspec
def umbel_router(config: Mapping[str, Any]) -> Router | None:
    """A router made from the app's settings; None if they do not ask for one."""
