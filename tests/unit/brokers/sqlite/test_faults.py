"""What goes wrong with files is said in one sentence, to whoever can do something about it, and nothing is lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.brokers.helpers import Background, bodies, consume, message, receive_all, until
from tests.unit.brokers.sqlite.processes import Child
from umbel.backends.sqlite import SqliteBackend
from umbel.brokers.sqlite import schema
from umbel.brokers.sqlite.broker import SqliteBroker
from umbel.brokers.sqlite.location import Location
from umbel.spec import BackendError, BrokerError, Fatal, PublishError, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534


def intact(path: Path) -> bool:
    """Whether SQLite finds nothing wrong."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def refused(path: Path, match: str, **options: object) -> None:
    """Broker and result store refuse the file, for good, naming it."""
    broker = SqliteBroker(Location.of(path, **options))
    with pytest.raises(Fatal, match=match) as caught:
        broker.publish([message()])
    assert str(path) in str(caught.value)
    with pytest.raises(Fatal, match=match):
        consume(broker)
    broker.close()
    backend = SqliteBackend(Location.of(path, **options))
    with pytest.raises(BackendError, match=match):
        backend.store([Result(id="1", state="SUCCESS")], ttl=None)
    with pytest.raises(BackendError, match=match):
        backend.fetch(["1"])
    backend.close()


# --- files that cannot be used ---------------------------------------------------------------------------------------


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "a" / "b" / "queue.db")
    broker.publish([message()])
    broker.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "sub" / "queue.db", "its folder cannot be made")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("my diary\n" * 500)
    refused(path, "not an intact SQLite database")
    assert path.read_text().startswith("my diary")


def test_a_damaged_database_is_refused(path: Path) -> None:
    broker = SqliteBroker(path)
    broker.publish([message("x" * 500) for _ in range(500)])
    broker.close()
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    path.write_bytes(damaged)
    refused(path, "not an intact SQLite database.*restore a copy")


def test_a_newer_schema_is_refused_with_both_versions(path: Path) -> None:
    SqliteBroker(path).declare([])
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    refused(path, f"schema version 99, and this umbel knows versions up to {len(schema.MIGRATIONS)}.*upgrade umbel")


def test_the_database_of_another_application_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE person (name)")
    connection.close()
    refused(path, "another application")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_a_network_file_system_is_refused_with_the_way_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = path.with_name("mounts")
    mounts.write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {path.parent} rw shared:1 - nfs4 host:/x rw\n")
    monkeypatch.setattr("umbel.brokers.sqlite.volumes.MOUNTS", str(mounts))
    refused(path, r"network file system \(nfs4\).*unsafe_network=1")
    broker = SqliteBroker(Location.of(path, unsafe_network=True))
    broker.publish([message()])
    broker.close()


def test_an_sqlite_that_is_too_old_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    refused(path, r"needs SQLite 3\.35\.0 or later")


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that other users can enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("what", ["file", "folder", "run folder"])
def test_what_this_user_may_not_write_to_is_named(what: str, shared: Path) -> None:
    path = shared / "queue.db"
    if what == "folder":
        (shared / "sub").mkdir(mode=0o555)
        path = shared / "sub" / "queue.db"
    else:
        broker = SqliteBroker(path)
        broker.publish([message()])
        broker.close()
        path.chmod(0o444 if what == "file" else 0o666)
        shared.chmod(0o777)

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        if not os.getuid():
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        broker = SqliteBroker(path)
        for use in (lambda: broker.publish([message()]), lambda: consume(broker)):
            try:
                use()
                say("no error")
            except Fatal as error:
                say(error)

    if what == "run folder":
        path.with_name("queue.db-run").chmod(0o555)
        for file in path.parent.glob("queue.db-run/*"):
            file.chmod(0o444)
        if os.getuid():
            pytest.skip("only root can make files that this user may not write to")
    with Child(work) as child:
        for line in (child.hear(), child.hear()):
            assert str(path) in line
            assert "writable" in line or "right to write" in line


# --- a disk that is full ---------------------------------------------------------------------------------------------


def limit(broker: SqliteBroker, pages: int) -> None:
    """Let the database grow by so many pages more."""
    connections = broker.access.session.connections
    writer, _ = connections.writer(time.monotonic())
    now = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {now + pages}").fetchone()


def test_a_full_disk_is_said_to_the_sender_and_passes(live: SqliteBroker) -> None:
    live.publish([message("first")])
    limit(live, 10)
    large = message("x" * 100_000)
    with pytest.raises(PublishError, match=r"disk is full.*make room") as caught:
        live.publish([message("second"), large])
    assert [failure.certain for failure in caught.value.failures] == [True, True]
    live.publish([message("third")])
    limit(live, 10_000)
    live.publish([large])
    assert [body[:6] for body in bodies(receive_all(consume(live)))] == ["first", "third", "xxxxxx"]


def test_a_settlement_that_finds_the_disk_full_is_undone_and_can_be_repeated(path: Path, live: SqliteBroker) -> None:
    backend = SqliteBackend(path)
    settler = live.settler(backend)
    assert settler is not None
    live.publish([message("1", id="1"), message("2", id="2")])
    consumer = consume(live)
    held = consumer.receive(2, 0)
    limit(live, 2)
    results = [(Result(id=one.message.id, state="SUCCESS", body=b"x" * 50_000, terminal=True), one) for one in held]
    with pytest.raises(BrokerError, match="disk is full"):
        settler.settle(consumer, results, [message("child")], held, ttl=60)
    assert backend.fetch(["1", "2"]) == {}
    assert live.stats(["q"])["q"].leased == 2
    limit(live, 10_000)
    assert settler.settle(consumer, results, [message("child")], held, ttl=60) == []
    assert len(backend.fetch(["1", "2"])) == 2
    assert bodies(receive_all(consumer)) == ["child"]
    backend.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    point = tmp_path / "small"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(point)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small file system")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def test_no_confirmed_message_is_lost_on_a_disk_that_fills_up(small_disk: Path) -> None:
    path = small_disk / "queue.db"
    broker = SqliteBroker(path)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 500_000)
    sent, refusals = 0, 0
    while refusals < 20:
        try:
            broker.publish([message(f"{sent} ".ljust(3000))])
            sent += 1
        except PublishError as error:
            assert "disk is full" in str(error)  # noqa: PT017 - it may come at any message
            refusals += 1
    ballast.unlink()
    begin = time.monotonic()
    broker.publish([message(f"{sent} ")])
    assert time.monotonic() - begin < 5
    broker.close()
    assert intact(path)
    after = SqliteBroker(path)
    assert [int(body.split()[0]) for body in bodies(receive_all(consume(after)))] == list(range(sent + 1))
    after.close()


def test_a_file_that_may_not_grow_is_said_to_the_sender(path: Path) -> None:
    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        broker = SqliteBroker(path)
        sent = 0
        broker.publish([message("0")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        try:
            while True:
                sent += 1
                broker.publish([message(str(sent).ljust(2000))])
        except PublishError as error:
            say(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        broker.publish([message("last")])
        say(sent)

    with Child(work) as child:
        assert "reading or writing failed" in child.hear()
        sent = int(child.hear())
        assert child.wait() == 0
    assert intact(path)
    broker = SqliteBroker(path)
    assert len(receive_all(consume(broker))) == sent + 1
    broker.close()


# --- a file that somebody else holds, or takes away ------------------------------------------------------------------


def lock(path: Path) -> Child:
    """A process in the middle of a transaction, until it is told to end it."""

    def work(say: Callable[[object], None], hear: Callable[[], str]) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        say("locked")
        hear()
        connection.execute("ROLLBACK")

    child = Child(work)
    assert child.hear() == "locked"
    return child


def test_a_sender_gets_an_error_by_its_deadline(path: Path) -> None:
    broker = SqliteBroker(Location.of(path, timeout=0.3))
    broker.declare([])
    with lock(path):
        calls = [Background(lambda: broker.publish([message()])) for _ in range(5)]
        begin = time.monotonic()
        for call in calls:
            with pytest.raises(PublishError, match=r"locked for 0\.3"):
                call.wait()
        assert time.monotonic() - begin < 1.5
    broker.publish([message("after")])
    assert bodies(receive_all(consume(broker))) == ["after"]
    broker.close()


def test_a_sender_waits_for_another_processes_transaction(path: Path, live: SqliteBroker) -> None:
    live.declare([])
    with lock(path) as child:
        call = Background(lambda: live.publish([message("1")]))
        time.sleep(0.05)
        assert not call.done
        child.tell()
        call.wait()
    assert bodies(receive_all(consume(live))) == ["1"]


@pytest.mark.parametrize("how", ["deleted", "replaced", "with its folder"])
def test_a_file_that_is_taken_away_is_made_anew_by_all(how: str, path: Path, live: SqliteBroker) -> None:
    live.publish([message("gone"), message("gone too")])
    backend = SqliteBackend(path)
    watcher = backend.watch()
    watcher.add(["1"])
    consumer = consume(live)
    held = consumer.receive(1, 0)
    if how == "replaced":
        other = SqliteBroker(path.with_name("other.db"))
        other.publish([message("in the other")])
        other.close()
        path.with_name("other.db").replace(path)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink()
    elif how == "deleted":
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink()
    else:
        shutil.rmtree(path.parent)
    live.publish([message("new")])
    expected = ["in the other", "new"] if how == "replaced" else ["new"]
    assert bodies(consumer.receive(10, 1)) == expected
    consumer.ack(held)
    blocked = Background(lambda: (consumer.receive(1, 20), watcher.next(20)))
    until(live.access.host.board.waiting)
    live.publish([message("newer")])
    until(live.access.host.board.waiting)
    backend.store([Result(id="1", state="SUCCESS", terminal=True)], ttl=60)
    found, news = blocked.wait()
    assert (bodies(found), [result.state for result in news]) == (["newer"], ["SUCCESS"])
    backend.close()


def test_a_closed_broker_says_so(path: Path) -> None:
    broker, backend = SqliteBroker(path), SqliteBackend(path)
    broker.close()
    backend.close()
    with pytest.raises(BrokerError, match="is closed here"):
        broker.publish([message()])
    with pytest.raises(BackendError, match="is closed here"):
        backend.fetch(["1"])


def test_a_call_from_a_signal_handler_within_another_is_refused(live: SqliteBroker) -> None:
    def nested(connection: sqlite3.Connection) -> None:
        live.publish([message("inner")])

    with pytest.raises(BrokerError, match="signal handler"):
        live.access.write(nested)
    live.publish([message("outer")])
    assert bodies(receive_all(consume(live))) == ["outer"]
