"""Letting tasks not start any more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from umbel.exceptions import TaskRevokedError
from umbel.results.codec import encode_failure
from umbel.results.reading import backend_of
from umbel.results.revoking import record
from umbel.spec import Result
from umbel.states import PENDING, RECEIVED, REJECTED, RETRY, REVOKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.results.applike import AppLike

_NOT_BEGUN = frozenset((PENDING, RECEIVED, RETRY, REJECTED))


def revoke(app: AppLike, ids: Sequence[str]) -> None:
    """Let those that have not begun not run: REVOKED is stored for them, and every worker is told.

    What is known to run goes on, and its result stands; what has ended keeps its result.
    """
    if not ids:
        return
    backend = backend_of(app)
    known = backend.fetch(ids)
    body, content_type = encode_failure(app.serializers, TaskRevokedError("revoked"), app.conf.result_serializer)
    results = []
    for id in ids:
        old = known.get(id)
        if old is not None and (old.terminal or old.state not in _NOT_BEGUN):
            continue
        results.append(
            Result(
                id=id,
                state=REVOKED,
                body=body,
                content_type=content_type,
                # As of the start that is known, or the store would take it for news of an older one.
                attempt=old.attempt if old else 1,
                generation=old.generation if old else 0,
                terminal=True,
                meta={"date_done": time.time()},
            )
        )
    if results:
        record(backend, results)
