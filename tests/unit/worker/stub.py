"""A worker whose processes are stubs that write down what happens: `python stub.py FILE CHILD AGENT GRACE N`."""

import json
import logging
import os
import socket
import sys
import time
from types import SimpleNamespace
from typing import Any

from umbel import signals
from umbel.clock import boot_time
from umbel.worker import children as children_module
from umbel.worker import processes, supervisor
from umbel.worker.logs import setup_logging
from umbel.worker.options import WorkerOptions
from umbel.worker.page import EARLY, Slot
from umbel.worker.supervisor import Supervisor

FILE = sys.argv[1]


def note(what: str, **details: Any) -> None:
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.monotonic(), **details})
    descriptor = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode() + b"\n")
    os.close(descriptor)


def times(what: str) -> int:
    with open(FILE) as file:
        return sum(json.loads(line)["what"] == what for line in file)


def child(app: Any, options: WorkerOptions, *, slot: Slot, owner: str, control: socket.socket) -> int:
    kind = app.child
    note("child", owner=owner, started=[task.id for task in slot.started()], processed=slot.processed)
    first = times("child") <= options.children
    lines = control.makefile()

    def tell(**message: Any) -> None:
        control.sendall(json.dumps(message).encode() + b"\n")

    if kind == "error" or (kind == "late-error" and not first):
        tell(error="the password is wrong")
        return 1
    if kind == "crash":
        raise RuntimeError("cannot be made")
    if kind == "stillborn" and times("child") <= 3:
        return 3
    tell(ready=True)
    number = owner.split("/")[1]
    if first or kind == "busy":
        match kind:
            case "busy":
                slot.begin(0, f"late-{number}")
                slot.begin(1, f"early-{number}", policy=EARLY)
                slot.count()
            case "limit":
                slot.begin(0, "quick")
                slot.begin(1, "slow", boot_time() + 0.3, False, 0.3, 7, 1)
                while True:
                    pass
            case "recycled":
                tell(leaving="max_tasks_per_child")
                return 0
            case "late-error":
                return 1
    note("working", owner=owner)
    for line in lines:
        message = json.loads(line)
        note("told", message=message)
        if message.get("terminate") or ("stop" in message and kind != "busy"):
            time.sleep(0.2)
            note("left")
            return 0
    note("orphan")
    os._exit(1)


def agent(app: Any, options: WorkerOptions, control: socket.socket) -> int:
    note("agent")
    first = times("agent") == 1
    lines = control.makefile()
    for line in lines:
        message = json.loads(line)
        note("agent-told", message=message)
        if "dead" in message:
            if app.agent == "dies" and first:
                os._exit(3)
            if app.agent == "mute":
                continue
            control.sendall(json.dumps({"released": message["dead"]["owner"]}).encode() + b"\n")
        elif "stop" in message:
            if app.agent == "hangs":
                time.sleep(60)
            note("agent-left")
            return 0
    os._exit(1)


def main() -> int:
    _, _, child_kind, agent_kind, grace, count = sys.argv
    for name in (
        "worker_init",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
        "worker_before_create_process",
    ):
        signals.ALL[name].connect(
            lambda sender, signal, name=name, **details: note(name, **details), weak=False, dispatch_uid=name
        )
    setup_logging("DEBUG")
    if child_kind == "crash":
        children_module.LONGEST_WAIT = 0.1
    if agent_kind in {"hangs", "short"}:
        supervisor.CLOSING = 0.4
    if agent_kind == "no-death-signal":
        processes._libc = None
    options = WorkerOptions(hostname="w@h", queues=("q",), concurrency=int(count), grace=float(grace))
    app: Any = SimpleNamespace(child=child_kind, agent=agent_kind)
    code = Supervisor(app, options, child=child, agent=agent, after_fork=lambda: note("after_fork")).run()
    note("exit", code=code)
    logging.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
