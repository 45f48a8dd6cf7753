"""The supervisor, with real processes and real signals; what they do is a stub's."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a supervisor forks")

T = TypeVar("T")
STUB = Path(__file__).with_name("stub.py")


def until(look: Callable[[], T], timeout: float = 10.0) -> T:
    """What `look` finds, once it is true."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


class Stub:
    """The supervised worker, and what its processes have written down."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "events.jsonl"
        self.log = folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, child: str, agent: str = "good", *, grace: float = 5.0, children: int = 1, wait: str = "working"
    ) -> None:
        command = [sys.executable, STUB, self.file, child, agent, str(grace), str(children)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        if wait:
            self.see(wait, children)

    def events(self, what: str) -> list[dict[str, Any]]:
        text = self.file.read_text() if self.file.exists() else ""
        found = [json.loads(line) for line in text.splitlines()]
        return [event for event in found if event["what"] == what]

    def see(self, what: str, count: int = 1) -> list[dict[str, Any]]:
        return until(lambda: events if len(events := self.events(what)) >= count else None) or []

    def told(self, key: str) -> list[Any]:
        """What the agents were told under this key."""
        return [event["message"][key] for event in self.events("agent-told") if key in event["message"]]

    def kill(self, signum: int) -> None:
        assert self.process is not None
        self.process.send_signal(signum)

    def exit_code(self, timeout: float = 10.0) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def pids(self) -> list[int]:
        return [event["pid"] for event in self.events("child") + self.events("agent")]

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        until(lambda: not any(map(alive, self.pids())))


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    stub = Stub(tmp_path)
    yield stub
    stub.end()


def test_it_starts_an_agent_and_all_children_and_says_when_they_are_ready(stub: Stub) -> None:
    stub.start("idle", children=3)
    stub.see("worker_ready")
    owners = [event["owner"] for event in stub.events("child")]
    assert len(set(owners)) == 3
    assert {owner.split("/")[1] for owner in owners} == {"0", "1", "2"}
    assert all(owner.startswith("w@h/") for owner in owners)
    until(lambda: sorted(owner for told in stub.told("alive") for owner in told) == sorted(owners))
    assert len(stub.events("agent")) == len(stub.events("worker_init")) == 1
    assert len(stub.events("worker_before_create_process")) == 3
    assert len(stub.see("after_fork", 4)) == 4
    assert "w@h ready" in stub.log.read_text()


def test_a_killed_child_is_replaced_at_once_and_the_agent_is_told_what_it_ran(stub: Stub) -> None:
    stub.start("busy", children=2)
    first = stub.events("child")
    victim = next(event for event in first if "/0/" in event["owner"])
    killed = time.monotonic()
    os.kill(victim["pid"], signal.SIGKILL)
    replacement = stub.see("child", 3)[2]
    assert replacement["at"] - killed < 0.5
    assert replacement["owner"] != victim["owner"]
    assert "/0/" in replacement["owner"]
    assert replacement["started"] == []
    assert replacement["processed"] == 0
    until(lambda: stub.told("dead"))
    assert stub.told("dead") == [
        {
            "owner": victim["owner"],
            "reason": "killed by SIGKILL",
            "charged": ["late-0"],
            "failed": [{"id": "early-0", "limit": None, "attempt": 1, "generation": 0}],
        }
    ]
    assert alive(next(event["pid"] for event in first if event is not victim))
    log = stub.log.read_text()
    assert "killed by SIGKILL; another takes its place; back in the queue, charged with an attempt: late-0" in log
    assert "Task early-0 is lost with its child, and fails" in log


def test_a_child_that_leaves_of_itself_is_replaced(stub: Stub) -> None:
    stub.start("recycled")
    until(lambda: "left (max_tasks_per_child); another takes its place" in stub.log.read_text())
    until(lambda: stub.told("dead"))
    assert stub.told("dead")[0]["charged"] == []


def test_a_task_past_its_hard_limit_is_killed_although_it_holds_the_gil(stub: Stub) -> None:
    stub.start("limit", wait="child")
    begun = stub.events("child")[0]["at"]
    until(lambda: stub.told("dead"))
    (told,) = [event for event in stub.events("agent-told") if "dead" in event["message"]]
    assert 0.3 <= told["at"] - begun < 0.3 + 1.0
    assert told["message"]["dead"]["failed"] == [{"id": "slow", "limit": 0.3, "attempt": 7, "generation": 1}]
    assert told["message"]["dead"]["charged"] == ["quick", "slow"]
    stub.see("working")
    assert "Task slow exceeded its hard time limit of 0.3 s" in stub.log.read_text()


def test_children_that_die_young_are_replaced_more_and_more_slowly(stub: Stub) -> None:
    stub.start("stillborn")
    moments = [event["at"] for event in stub.events("child")]
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert len(pauses) == 3
    for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert pause >= least
    stub.see("worker_ready")


def test_an_error_of_every_child_at_the_start_is_shown_once_and_ends_the_worker(stub: Stub) -> None:
    stub.start("error", children=3, wait="")
    assert stub.exit_code() == 1
    log = stub.log.read_text()
    assert log.count("the password is wrong") == 1
    assert "w@h cannot start: the password is wrong" in log


def test_an_error_of_a_later_child_does_not_end_the_worker(stub: Stub) -> None:
    stub.start("late-error", wait="")
    until(lambda: "cannot work, another tries in 0.1 s: the password is wrong" in stub.log.read_text())
    stub.see("child", 3)
    stub.kill(signal.SIGTERM)
    assert stub.exit_code() == 0


def test_a_worker_whose_children_always_crash_at_the_start_gives_up(stub: Stub) -> None:
    stub.start("crash", wait="")
    assert stub.exit_code() == 1
    log = stub.log.read_text()
    assert len(stub.events("child")) == 8
    assert log.count("RuntimeError: cannot be made") == 8
    assert "cannot start: 8 children in a row" in log


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_warmly(stub: Stub, signum: signal.Signals) -> None:
    stub.start("idle", children=2)
    stub.kill(signum)
    assert stub.exit_code() == 0
    assert len(stub.events("left")) == 2
    assert [event["message"] for event in stub.events("told")] == [{"stop": 5.0}] * 2
    (shutting,) = stub.events("worker_shutting_down")
    assert (shutting["sig"], shutting["how"], shutting["exitcode"]) == (signum.name, "Warm", 0)
    (left,), (shut,) = stub.events("agent-left"), stub.events("worker_shutdown")
    assert max(event["at"] for event in stub.events("left")) < left["at"] < shut["at"]
    assert {death["owner"] for death in stub.told("dead")} == {event["owner"] for event in stub.events("child")}


def test_what_does_not_finish_within_the_grace_is_killed_and_goes_back_uncharged(stub: Stub) -> None:
    stub.start("busy", grace=0.5, children=2)
    asked = time.monotonic()
    stub.kill(signal.SIGTERM)
    assert stub.exit_code() == 0
    assert 0.5 <= time.monotonic() - asked < 2.0
    assert [death["charged"] for death in stub.told("dead")] == [[], []]
    assert sorted(death["failed"][0]["id"] for death in stub.told("dead")) == ["early-0", "early-1"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_the_second_signal_stops_at_once(stub: Stub, second: signal.Signals) -> None:
    stub.start("busy", grace=60.0)
    stub.kill(signal.SIGINT)
    stub.see("told")
    asked = time.monotonic()
    stub.kill(second)
    assert stub.exit_code() == 1
    assert time.monotonic() - asked < 1.5
    assert [death["charged"] for death in stub.told("dead")] == [[]]
    assert [event["how"] for event in stub.events("worker_shutting_down")] == ["Warm", "Cold"]


def test_a_signal_sent_to_the_worker_and_to_its_group_counts_once(stub: Stub) -> None:
    stub.start("idle")
    assert stub.process is not None
    stub.kill(signal.SIGTERM)
    os.killpg(stub.process.pid, signal.SIGTERM)
    stub.kill(signal.SIGTERM)
    assert stub.exit_code() == 0
    assert len(stub.events("left")) == 1


def test_quit_stops_at_once(stub: Stub) -> None:
    stub.start("busy", grace=60.0)
    stub.kill(signal.SIGQUIT)
    assert stub.exit_code(2.0) == 1


def test_a_signal_to_the_whole_group_leaves_children_and_agent_their_time(stub: Stub) -> None:
    stub.start("idle", children=2)
    assert stub.process is not None
    os.killpg(stub.process.pid, signal.SIGINT)
    assert stub.exit_code() == 0
    assert len(stub.events("left")) == 2
    assert len(stub.events("agent-left")) == 1


def test_nobody_is_replaced_while_it_stops(stub: Stub) -> None:
    stub.start("busy", grace=0.5, children=2)
    stub.kill(signal.SIGTERM)
    stub.see("told", 2)
    os.kill(stub.events("child")[0]["pid"], signal.SIGKILL)
    assert stub.exit_code() == 0
    assert len(stub.events("child")) == 2
    # It died of itself, so its task is charged; the other was killed by us.
    assert sorted(len(death["charged"]) for death in stub.told("dead")) == [0, 1]


def test_a_dead_agent_is_replaced_and_told_of_the_living_and_of_the_unconfirmed_dead(stub: Stub) -> None:
    stub.start("busy", "dies", children=2)
    os.kill(stub.events("child")[0]["pid"], signal.SIGKILL)
    stub.see("agent", 2)
    until(lambda: len(stub.told("dead")) == 2)
    dead = stub.told("dead")
    assert dead[0] == dead[1]
    until(lambda: len(stub.told("alive")) >= 4)
    second = stub.events("agent")[1]["pid"]
    living = {
        owner
        for event in stub.events("agent-told")
        if event["pid"] == second and "alive" in event["message"]
        for owner in event["message"]["alive"]
    }
    assert living == {event["owner"] for event in stub.see("child", 3)} - {dead[0]["owner"]}
    assert "exited with code 3" in stub.log.read_text()


@pytest.mark.parametrize("kind", ["mute", "hangs"])
def test_it_exits_within_grace_and_two_seconds_whatever_the_agent_does(stub: Stub, kind: str) -> None:
    stub.start("busy", kind, grace=0.3)
    stub.kill(signal.SIGTERM)
    asked = time.monotonic()
    assert stub.exit_code() == 0
    assert time.monotonic() - asked < 0.3 + 2.0
    assert ("comes back when its leases end" in stub.log.read_text()) == (kind == "mute")


def test_a_stopped_child_and_a_stopped_agent_do_not_hold_up_the_end(stub: Stub) -> None:
    stub.start("idle", "short", grace=0.3)
    for pid in stub.pids():
        os.kill(pid, signal.SIGSTOP)
    stub.kill(signal.SIGTERM)
    asked = time.monotonic()
    assert stub.exit_code() == 0
    assert time.monotonic() - asked < 0.3 + 2.0


def test_a_killed_supervisor_takes_its_processes_with_it_even_if_they_are_stopped(stub: Stub) -> None:
    stub.start("busy", children=2)
    for pid in stub.pids():
        os.kill(pid, signal.SIGSTOP)
    stub.kill(signal.SIGKILL)
    stub.exit_code()
    until(lambda: not any(map(alive, stub.pids())), 2.0)


def test_where_the_kernel_does_not_do_that_the_end_of_the_line_does(stub: Stub) -> None:
    stub.start("busy", "no-death-signal", children=3)
    stuck = next(event["pid"] for event in stub.events("child") if "/2/" in event["owner"])
    os.kill(stuck, signal.SIGSTOP)  # the youngest: it must not hold the lines of the others
    stub.kill(signal.SIGKILL)
    stub.exit_code()
    try:
        until(lambda: not any(alive(pid) for pid in stub.pids() if pid != stuck), 2.0)
    finally:
        os.kill(stuck, signal.SIGKILL)
    assert len(stub.events("orphan")) == 2


def test_signals_to_a_child_change_nothing_and_the_programs_it_starts_can_be_terminated(stub: Stub) -> None:
    stub.start("idle")
    (pid,) = [event["pid"] for event in stub.events("child")]
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(pid, signum)
    masks = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    ignored = {signum for signum in signal.valid_signals() if int(masks["SigIgn"], 16) >> (signum - 1) & 1}
    assert signal.SIGINT in ignored
    assert not ignored & {signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
    stub.kill(signal.SIGTERM)
    assert stub.exit_code() == 0
    assert len(stub.events("left")) == 1
    assert "wakeup" not in stub.log.read_text()


def test_an_idle_supervisor_does_next_to_nothing(stub: Stub) -> None:
    stub.start("busy", children=2)
    stub.see("worker_ready")
    assert stub.process is not None

    def cpu() -> float:
        assert stub.process is not None
        fields = Path(f"/proc/{stub.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu()
    time.sleep(1.0)
    assert cpu() - before <= 0.05
