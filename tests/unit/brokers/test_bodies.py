"""The directory in which offloaded bodies lie."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.unit.brokers.helpers import Background
from umbel.brokers.bodies import STALE_PART, DirectoryStore, body_store
from umbel.exceptions import ImproperlyConfigured

NOW = 1_700_000_000.0


@pytest.fixture
def store(tmp_path: Path):
    store = DirectoryStore(tmp_path / "deep" / "bodies")
    yield store
    store.close()
    store.close()


def test_what_was_put_is_got_until_it_is_deleted(store: DirectoryStore) -> None:
    names = store.put([b"one", b"\0\xff" * 100_000, b""], [NOW] * 3)
    assert [store.get(name) for name in names] == [b"one", b"\0\xff" * 100_000, b""]
    store.delete(names[:2])
    store.delete(names[:2])
    with pytest.raises(LookupError, match=names[0]):
        store.get(names[0])
    assert store.get(names[2]) == b""


def test_nobody_else_can_read_it(store: DirectoryStore) -> None:
    (name,) = store.put([b"secret"], [NOW])
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert (store.directory / f"{name}.body").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name",
    ["", "..", "../../etc/passwd", "/etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "\n", "a/" * 16, "\0" * 32],
)
def test_a_name_is_never_a_path(name: str, store: DirectoryStore) -> None:
    store.put([b""], [NOW])
    for use in (store.get, lambda name: store.delete([name]), lambda name: store.keep([name], NOW)):
        with pytest.raises(LookupError, match="not the name"):
            use(name)


def test_it_is_on_disk_before_it_has_a_name(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        kind = "directory" if Path(f"/proc/self/fd/{descriptor}").resolve() == store.directory.resolve() else "file"
        steps.append(kind)
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    store.put([b"1", b"2"], [NOW, NOW])
    assert steps == ["file", "file", "rename", "rename", "directory"]


def test_when_one_cannot_be_written_none_is_kept(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = Path.replace, iter([True, False])

    def full(self: Path, target: Path) -> Path:
        if next(calls):
            return rename(self, target)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        store.put([b"1", b"2"], [NOW, NOW])
    assert list(store.directory.iterdir()) == []


def test_a_missing_directory_is_not_a_missing_body(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is not there"):
        DirectoryStore(tmp_path / "unmounted").get("a" * 32)


def test_a_sweep_deletes_what_is_outdated_and_nothing_else(store: DirectoryStore) -> None:
    old, new = store.put([b"old", b"new"], [NOW - 1, NOW + 1])
    (store.directory / "README").write_text("somebody's")
    (store.directory / f"{old}.txt").write_text("somebody's")
    os.utime(store.directory / "README", (1, 1))
    os.utime(store.directory / f"{old}.txt", (1, 1))
    assert store.sweep(NOW, 100) == 1
    assert sorted(path.name for path in store.directory.iterdir()) == sorted([f"{new}.body", "README", f"{old}.txt"])


def test_a_sweep_goes_on_where_the_last_one_stopped(store: DirectoryStore) -> None:
    store.put([b""] * 20, [NOW + 1] * 10 + [NOW - 1] * 10)
    deleted = [store.sweep(NOW, 6) for _ in range(4)]
    assert sum(deleted) == 10
    assert max(deleted) <= 6


def test_a_sweep_of_nothing_is_nothing(store: DirectoryStore) -> None:
    assert store.sweep(NOW, 10) == 0


def test_the_leftovers_of_a_crash_are_swept_once_they_are_old(store: DirectoryStore) -> None:
    store.put([b""], [NOW * 2])
    part = store.directory / f"{'a' * 32}.part"
    part.write_bytes(b"half")
    written = part.stat().st_ctime
    assert store.sweep(written + STALE_PART - 1, 100) == 0
    store.sweep(written, 1)
    assert sum(store.sweep(written + STALE_PART + 1, 100) for _ in range(2)) == 1
    assert not part.exists()


def test_keeping_for_longer_saves_from_the_sweep(store: DirectoryStore) -> None:
    first, second, third = store.put([b"1", b"2", b"3"], [NOW - 10] * 3)
    store.keep([first, "b" * 32], NOW + 10)
    store.keep([second], NOW + 10, instead_of=NOW - 10)
    store.keep([third], NOW + 10, instead_of=NOW - 5)
    assert store.sweep(NOW, 100) == 1
    assert (store.get(first), store.get(second)) == (b"1", b"2")


def test_many_threads_put_and_sweep_at_once(store: DirectoryStore) -> None:
    together = threading.Barrier(4)

    def work() -> list[str]:
        together.wait()
        names: list[str] = []
        for _ in range(20):
            names += store.put([b"x", b"y"], [NOW + 1, NOW - 1])[:1]
            store.sweep(NOW, 10)
        return names

    threads = [Background(work) for _ in range(4)]
    names = [name for thread in threads for name in thread.wait()]
    assert len(set(names)) == 80
    assert {store.get(name) for name in names} == {b"x"}


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_a_directory_can_be_named_by_path_or_url(form: str, tmp_path: Path) -> None:
    store = body_store(form.format(tmp_path / "a"))
    assert isinstance(store, DirectoryStore)
    assert store.directory == tmp_path / "a"


def test_a_url_may_be_quoted_and_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, expected in ((f"file://{tmp_path}/a%20b", "a b"), ("bodies", "bodies")):
        store = body_store(url)
        assert isinstance(store, DirectoryStore)
        assert store.directory == tmp_path / expected


@pytest.mark.parametrize("url", ["", "file://", "s3://bucket/x", "file://host/path"])
def test_a_url_that_means_nothing_here_is_refused_with_the_settings_name(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="task_offload_url"):
        body_store(url)
