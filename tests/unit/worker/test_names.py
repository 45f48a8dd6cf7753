"""Names of workers."""

import os
import signal
import stat
from pathlib import Path

import pytest

from umbel.exceptions import DuplicateNodenameWarning, ImproperlyConfigured
from umbel.worker.names import expand, resolve_name, runtime_directory


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("w1@%h", "w1@george.example.com"),
        ("w1@%n", "w1@george"),
        ("w1@%d", "w1@example.com"),
        ("w%%1@%n.%d", "w%1@george.example.com"),
        ("%h", "celery@george.example.com"),
        ("fast", "celery@fast"),
    ],
)
def test_patterns_are_expanded(pattern: str, name: str) -> None:
    assert expand(pattern, "george.example.com") == name


@pytest.mark.parametrize(
    ("pattern", "hint"), [("w@%x", "%x"), ("w%", "not one of"), ("w@", "host name"), (" ", "host name")]
)
def test_a_wrong_pattern_is_refused_with_the_reason(pattern: str, hint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=hint):
        expand(pattern, "george")


def test_the_default_name_gets_a_suffix_and_a_warning_when_it_is_taken() -> None:
    first = resolve_name(hostname="h")
    assert first.name == "celery@h"
    with pytest.warns(DuplicateNodenameWarning, match=f"celery@h is taken by process {os.getpid()}"):
        second = resolve_name(hostname="h")
    with pytest.warns(DuplicateNodenameWarning, match="celery-3@h"):
        third = resolve_name(hostname="h")
    assert (second.name, third.name) == ("celery-2@h", "celery-3@h")
    for name in (first, second, third):
        name.close()


def test_a_name_that_was_asked_for_and_is_taken_is_an_error() -> None:
    first = resolve_name("w@%h", hostname="h")
    with pytest.raises(ImproperlyConfigured, match=r"w@h is taken by process .* -n w-2@h"):
        resolve_name("w@%h", hostname="h")
    first.close()
    first.close()
    resolve_name("w@%h", hostname="h").close()


def test_long_names_that_begin_alike_are_two_names() -> None:
    names = [resolve_name("x" * 300 + end + "@h") for end in "ab"]
    assert names[0].name != names[1].name
    for name in names:
        name.close()


def test_a_killed_process_leaves_its_name_and_a_forked_child_does_not_hold_it() -> None:
    ready, written = os.pipe()
    gone, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(held)
        name = resolve_name("w@h")
        if os.fork() == 0:  # a child of the worker: outlives it here, and has let go
            name.close()
            os.write(written, b".")
            os.read(gone, 1)
            os._exit(0)
        signal.pause()
        os._exit(1)
    os.read(ready, 1)
    with pytest.raises(ImproperlyConfigured, match=f"process {pid}"):
        resolve_name("w@h")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    resolve_name("w@h").close()
    for descriptor in (ready, written, gone, held):
        os.close(descriptor)


def test_the_runtime_directory_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime_directory() == tmp_path / "umbel"
    assert stat.S_IMODE(runtime_directory().stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert runtime_directory() == tmp_path / f"umbel-{os.getuid()}"


def test_a_runtime_directory_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "umbel").mkdir()
    (tmp_path / "umbel").chmod(0o777)
    with pytest.raises(PermissionError):
        runtime_directory()
    with pytest.warns(DuplicateNodenameWarning, match="unique"):
        assert resolve_name("w@h").name == "w@h"
