"""The current app and the current request."""

from __future__ import annotations

import contextvars
import threading

import pytest

from umbel import current


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has no default app, and leaves the one that there was."""
    monkeypatch.setattr(current, "_default", [])


def test_there_is_no_app_at_first() -> None:
    assert contextvars.Context().run(current.get_app) is None


def test_the_app_of_this_context_comes_before_the_default_one() -> None:
    current.set_default_app("default")

    def inside() -> object:
        current.current_app.set("mine")
        return current.get_app()

    assert contextvars.copy_context().run(inside) == "mine"
    assert contextvars.Context().run(current.get_app) == "default"


def test_another_thread_sees_the_default_app_only() -> None:
    current.set_default_app("default")
    token = current.current_app.set("mine")
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(current.get_app()))
    thread.start()
    thread.join()
    current.current_app.reset(token)
    assert seen == ["default"]


def test_the_last_default_app_counts() -> None:
    current.set_default_app("first")
    current.set_default_app("second")
    assert contextvars.Context().run(current.get_app) == "second"
