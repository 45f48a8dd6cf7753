"""Forking."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from umbel.spec import BrokerError
from umbel.worker.processes import Process, fork, in_a_process

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def ended(process: Process) -> int:
    deadline = time.monotonic() + 5.0
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.control.close()
    assert process.status is not None
    return process.status


def leave(code: object) -> Callable[[socket.socket], int]:
    def entry(control: socket.socket) -> int:
        raise SystemExit(code)

    return entry


@pytest.mark.parametrize(
    ("entry", "status"),
    [(lambda control: 0, 0), (lambda control: 7, 7), (leave(3), 3), (leave(None), 0), (leave("no"), 1)],
)
def test_the_exit_code_is_what_the_entry_returns_or_leaves_with(
    entry: Callable[[socket.socket], int], status: int
) -> None:
    assert ended(fork(entry, title="t", abandon=lambda: None)) == status


def test_an_error_is_shown_and_is_exit_code_1(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(fork(lambda control: 1 // 0, title="t", abandon=lambda: None)) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_the_two_sides_can_talk() -> None:
    def entry(control: socket.socket) -> int:
        control.sendall(b'{"got": ' + control.makefile("rb").readline().strip() + b"}\n")
        return 0

    process = fork(entry, title="t", abandon=lambda: None)
    process.control.send({"n": 1})
    deadline = time.monotonic() + 5.0
    while not (heard := process.control.receive()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert heard == [{"got": {"n": 1}}]
    assert ended(process) == 0


def test_killing_is_seen_as_such_and_a_second_time_does_nothing() -> None:
    def entry(control: socket.socket) -> int:
        signal.pause()
        return 0

    process = fork(entry, title="t", abandon=lambda: None)
    process.kill()
    assert ended(process) == -signal.SIGKILL
    process.kill()


def test_a_process_that_somebody_else_has_waited_for_counts_as_ended() -> None:
    process = fork(lambda control: 0, title="t", abandon=lambda: None)
    os.waitpid(process.pid, 0)
    assert ended(process) == -signal.SIGKILL


def test_what_was_printed_before_is_not_printed_twice(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from umbel.worker.processes import fork\n"
        "print('before', end=' ')\n"
        "process = fork(lambda control: print('inside', end=' ') or 0, title='t', abandon=lambda: None)\n"
        "os.waitpid(process.pid, 0)\n"
        "print('after', end='')\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=buffered)
    assert done.stdout == "before inside after"


HAMMERED = """
import os, signal, time
from umbel.worker.processes import fork

parent = os.getpid()

def handler(signum, frame):
    if os.getpid() != parent:
        os.write(1, b"!")

signal.signal(signal.SIGTERM, handler)
hammer = os.fork()
if hammer == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        os.killpg(0, signal.SIGTERM)
for _ in range(25):
    process = fork(lambda control: 0, title="t", abandon=lambda: None)
    while process.poll() is None:
        time.sleep(0.001)
    os.write(1, b"%d" % process.status)
os.kill(hammer, signal.SIGKILL)
"""


def test_a_signal_to_the_whole_group_while_it_forks_meets_the_childs_handlers_only() -> None:
    done = subprocess.run([sys.executable, "-c", HAMMERED], capture_output=True, check=True, start_new_session=True)
    assert done.stdout == b"0" * 25


SUBREAPER = """
import ctypes, os, signal, time
from umbel.worker.processes import reap_orphans

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become ours, as they do process 1's
reap_orphans([])
reader, writer = os.pipe()
middle = os.fork()
if middle == 0:
    orphan = os.fork()
    if orphan == 0:
        signal.pause()
    os.write(writer, b"%d" % orphan)
    os._exit(0)
os.waitid(os.P_PID, middle, os.WEXITED | os.WNOWAIT)
reap_orphans([middle])
os.waitpid(middle, 0)
orphan = int(os.read(reader, 20))
os.kill(orphan, signal.SIGKILL)
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
reap_orphans([middle])
print(os.path.exists(f"/proc/{orphan}"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="being given orphans is Linux's")
def test_orphans_are_buried_and_ones_own_are_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SUBREAPER], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_work_in_a_process_of_its_own_says_what_went_wrong() -> None:
    def fails() -> None:
        raise BrokerError("no such host")

    def crashes() -> None:
        os._exit(4)

    assert in_a_process(lambda: None) is None
    assert in_a_process(fails) == "no such host"
    assert in_a_process(crashes) == "a process of it ended with status 4"
