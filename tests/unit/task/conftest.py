"""Apps of these tests leave nothing behind: neither a current app nor an open connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from umbel import Umbel, current
from umbel.message.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kind in ("UMBEL", "CELERY"):
        for name in ("BROKER_URL", "RESULT_BACKEND", "CONFIG_MODULE"):
            monkeypatch.delenv(f"{kind}_{name}", raising=False)
    before, default = current.current_app.get(), list(current._default)
    current.current_app.set(None)
    current._default.clear()
    yield
    current.current_app.set(before)
    current._default[:] = default


@pytest.fixture
def app() -> Iterator[Umbel]:
    """An app on a memory broker of its own."""
    with Umbel("tests", broker=f"memory://{new_id()}", set_as_current=False) as app:
        yield app
