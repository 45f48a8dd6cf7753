"""Which app and which running task the present code belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

current_app: ContextVar[Any] = ContextVar("umbel_app", default=None)
"""The app set in this context, or None."""
current_request: ContextVar[Any] = ContextVar("umbel_request", default=None)
"""The `Context` of the task that is running here, or None; each links to the one it interrupted (`outer`)."""

_default: list[Any] = []
"""The app of threads that have set none, as Celery's API demands: the one module state beside the two above."""


def set_default_app(app: Any) -> None:
    """Make it the app of every thread that has set none."""
    _default[:] = [app]


def get_app() -> Any:
    """The app set in this context, else the default one, else None."""
    return current_app.get() or (_default[0] if _default else None)
