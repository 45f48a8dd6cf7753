"""Where a forked child begins: it works, and listens to its supervisor."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from umbel.spec import BrokerError
from umbel.worker.child import Child
from umbel.worker.wakeup import Listening

if TYPE_CHECKING:
    import socket

    from umbel.results.applike import AppLike
    from umbel.worker.options import WorkerOptions
    from umbel.worker.page import Slot

logger = logging.getLogger("umbel.worker.child")


def run_child(app: AppLike, options: WorkerOptions, *, slot: Slot, owner: str, control: socket.socket) -> int:
    """Work until the supervisor says stop, or dies; the exit code of the process.

    To the supervisor, JSON lines: {"ready": true}, {"leaving": why}, {"error": text}. From it: {"stop": grace},
    {"terminate": true}; the end of the stream means that it is dead.
    """
    lock = threading.Lock()

    def tell(**words: Any) -> None:
        with lock:
            try:
                control.sendall(json.dumps(words).encode() + b"\n")
            except OSError:
                pass  # the supervisor is gone: `_listen` sees that too

    child = Child(app, options, owner=owner, page=slot, leaving=lambda why: tell(leaving=why))
    threading.Thread(target=_listen, args=(control, child), name="umbel-control", daemon=True).start()
    try:
        with Listening((signal.SIGTERM,), lambda signum: child.stop()):
            child.run(ready=lambda: tell(ready=True))
    except BrokerError as exc:
        tell(error=str(exc))
        return 1
    return 0


def _listen(control: socket.socket, child: Child) -> None:
    with control.makefile("rb") as lines:
        for line in lines:
            words = json.loads(line)
            if "stop" in words:
                child.stop(words["stop"])
            elif words.get("terminate"):
                os._exit(1)
    # A dead supervisor's child must not settle anything more: others may have its tasks already.
    os._exit(1)
