"""The chores of dev.py, of the Makefile and of CONTRIBUTING are the same, and old Pythons can read why they fail."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def dev(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run dev.py as a person does."""
    command = [sys.executable, str(ROOT / "dev.py"), *words]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


def chores() -> list[str]:
    """The names that `python3 dev.py` prints."""
    return re.findall(r"^  (\w+)", dev().stdout, re.MULTILINE)


def test_the_makefile_has_every_chore() -> None:
    line = re.search(r"^CHORES = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert line
    assert line[1].split() == chores()


def test_every_chore_is_a_plain_command_in_contributing() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*`.+` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert rows == chores()


def test_a_mistyped_chore_is_told_the_right_one() -> None:
    answer = dev("tset")
    assert answer.returncode == 1
    assert answer.stderr == "dev.py: no chore is called 'tset'; did you mean 'test'?\n"


def test_an_old_python_can_read_the_file_up_to_its_answer() -> None:
    ast.parse((ROOT / "dev.py").read_text(), feature_version=(3, 7))


def test_an_old_python_is_told_what_is_wrong(tmp_path: Path) -> None:
    source = (ROOT / "dev.py").read_text().replace("OLDEST = (3, 11)", "OLDEST = (3, 99)", 1)
    (tmp_path / "dev.py").write_text(source)
    command = [sys.executable, str(tmp_path / "dev.py"), "demo"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("dev.py: Umbel needs Python 3.99 or later, and this is 3.")


def test_the_environment_that_is_ready_is_not_touched(tmp_path: Path) -> None:
    """A stamp that says what the files say is believed; one that does not is not."""
    program = "import dev; print(dev.is_ready('run'), dev.is_ready('dev'))"

    def ready(stamp: str) -> list[str]:
        (tmp_path / "umbel-setup").write_text(stamp)
        environ = {**os.environ, "UMBEL_VENV": str(tmp_path), "PYTHONPATH": str(ROOT)}
        answer = subprocess.run(
            [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
        )
        return answer.stdout.split()

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "pyvenv.cfg").write_text("version = {}.{}.0\n".format(*sys.version_info[:2]))
    assert ready(dev_fingerprint("run")) == ["True", "False"]
    fingerprint = dev_fingerprint("dev")
    assert ready(fingerprint) == ["True", "True"]
    assert ready(fingerprint + "0") == ["False", "False"]
    (tmp_path / "pyvenv.cfg").write_text("version = 3.1.0\n")
    assert ready(fingerprint) == ["False", "False"]


def dev_fingerprint(level: str) -> str:
    """What dev.py writes when an environment of this level is ready."""
    program = f"import dev; print(dev.fingerprint({level!r}), end='')"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(os.name == "nt", reason="the simulated Python is a shell script")
def test_a_python_without_ensurepip_is_told_which_package_to_install(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules['ensurepip'] = None; sys.path.insert(0, {str(ROOT)!r}); import dev; dev.create()"
    )
    environ = {"PATH": str(tmp_path), "UMBEL_VENV": str(tmp_path / "venv")}
    answer = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "apt-get install python{}.{}-venv".format(*sys.version_info[:2]) in answer.stderr
    assert not (tmp_path / "venv").exists()
