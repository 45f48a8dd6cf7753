"""The hooks of sqlite://: brokers and result stores on one file share its connections and its transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import parse
from umbel.spec import Broker, ResultBackend
from umbel.spec.hooks import hookimpl

UMBEL_SPEC = 1


@hookimpl
def umbel_broker(url: str, options: Mapping[str, Any]) -> Broker | None:
    """A broker on the file that the URL names: ``sqlite:///relative``, ``sqlite:////absolute``.

    Options: ``fast=1`` (does not wait for the disk), ``timeout``, ``lease``, ``unsafe_network=1``.
    """
    location = parse(url, options)
    return None if location is None else SqliteBroker(location)


@hookimpl
def umbel_result_backend(url: str, options: Mapping[str, Any]) -> ResultBackend | None:
    """A result store on the file that the URL names."""
    location = parse(url, options)
    return None if location is None else SqliteBackend(location)
