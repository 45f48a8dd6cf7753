"""The wheel of the core holds the package, its types and its licence, and asks for no more than it should."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from email.message import Message

CORE = Path(__file__).parents[2] / "core"
MOST = 6
"""Distributions that the core and Redis may bring in all; two are for Redis."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, just built."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=CORE, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def metadata(wheel: Path) -> Message:
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_it_holds_every_source_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = CORE / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert held == {name for name in files if "__pycache__" not in name and ".egg-info" not in name}
    assert "umbel/py.typed" in held


def test_it_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("LICENSE"))
        assert archive.read(name).decode() == (CORE / "LICENSE").read_text()
    assert metadata(wheel)["License-Expression"] == "BSD-3-Clause"


def test_it_asks_for_a_python_and_two_distributions(wheel: Path) -> None:
    said = metadata(wheel)
    assert said["Requires-Python"] == ">=3.11"
    always = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(line.split(">")[0] for line in always) == ["click", "pluggy"]
    assert len(always) + 1 + 2 <= MOST


def test_it_imports_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    path = [str(wheel), sysconfig.get_path("purelib")]
    program = f"import sys; sys.path[:0] = {path!r}; import umbel; print(umbel.__file__, umbel.__version__)"
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith(str(wheel))
    assert answer.stdout.split()[1] == metadata(wheel)["Version"]
