"""A worker for the duration of a test."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from umbel.worker.command import build_options
from umbel.worker.embedded import Embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from umbel.app.base import Umbel


@contextmanager
def start_worker(
    app: Umbel, *, pool: str = "solo", concurrency: int = 1, queues: str | None = None, **options: Any
) -> Iterator[Embedded]:
    """Run a worker on threads of this process while the block runs; it consumes before the block begins.

    `pool` is ``solo`` or ``threads``. Soft and hard time limits need the real worker: they are not kept here.
    """
    resolved = build_options(app, pool=pool, concurrency=concurrency, queues=queues, **options)
    worker = Embedded(app, resolved)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
