"""Waiting for a task inside a task: refused unless allowed, for it can hold up the worker it waits for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from umbel.current import current_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from umbel.message.context import Context

_ALLOWED = "_join_allowed"
"""The name under which a request remembers it."""


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Within it, `get` and `join` may be called in a task. It is for the caller to see that no worker is starved."""
    with _set(True):
        yield


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Within it, they may not."""
    with _set(False):
        yield


@contextmanager
def _set(allowed: bool) -> Iterator[None]:
    request: Context | None = current_request.get()
    if request is None:
        yield
        return
    before = request.__dict__.get(_ALLOWED, False)
    request.__dict__[_ALLOWED] = allowed
    try:
        yield
    finally:
        request.__dict__[_ALLOWED] = before


def assert_will_not_block() -> None:
    """RuntimeError inside a task that has not allowed it."""
    request: Context | None = current_request.get()
    while request is not None:
        if request.__dict__.get(_ALLOWED, False):
            return
        if not request.called_directly:
            raise RuntimeError(
                "Never call result.get() within a task: it can wait for a worker that waits for it. Use a chain, a "
                "chord or a callback; or `await` it in an async task; or say allow_join_result() if you know better"
            )
        request = request.outer
