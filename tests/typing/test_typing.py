"""mypy, and pyright where it is installed, accept right calls of tasks and refuse wrong ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RIGHT = Path(__file__).with_name("right.py")

WRONG = """
from typing import Any, assert_type
from umbel import AsyncResult, Task, Umbel, chain, shared_task

app = Umbel("typing")

@app.task
def add(x: int, y: int = 2) -> int:
    return x + y

@app.task(queue="slow")
def shout(text: str, *, times: int = 1) -> str:
    return text.upper() * times

@app.task(bind=True)
def whoami(self: Task[Any, Any], suffix: str) -> str:
    return suffix

@app.task
async def fetch(url: str) -> bytes:
    return url.encode()

@shared_task
def shared(x: int) -> int:
    return x

add.delay("two")  # wrong
add.delay()  # wrong
add.delay(1, 2, 3)  # wrong
add.delay(1, z=2)  # wrong
add("two")  # wrong
shout.delay("a", 2)  # wrong
shout.delay("a", times="b")  # wrong
whoami.delay()  # wrong
whoami.delay(whoami, "x")  # wrong
fetch.delay(1)  # wrong
shared.delay("x")  # wrong
number: str = add.delay(1).get()  # wrong
text: str = fetch("u")  # wrong
add.apply_async(5)  # wrong
add.apply_async(task_id=5)  # wrong
app.task(5)  # wrong
app.main = 5  # wrong
from umbel import nonsense  # wrong

async def main() -> None:
    await add.adelay("two")  # wrong
    add.adelay  # right
"""


def wrong_lines() -> set[int]:
    return {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}


def mypy(*arguments: str) -> str:
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_mypy_accepts_right_calls_with_their_types() -> None:
    assert "Success: no issues found" in mypy(str(RIGHT))


def test_mypy_refuses_every_wrong_call_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    output = mypy(str(file))
    assert {int(line) for line in re.findall(r"wrong\.py:(\d+): error", output)} == wrong_lines(), output


def pyright(file: Path, settings: Path) -> str:
    """What pyright says; in the build that brings its own Node.js, so that a test can have it everywhere."""
    command = [sys.executable, "-m", "basedpyright", "-p", str(settings), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_pyright_agrees(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    settings = tmp_path / "pyrightconfig.json"
    paths = f'"extraPaths": ["{ROOT / "core" / "src"}"]'
    settings.write_text(f'{{"typeCheckingMode": "standard", "pythonVersion": "3.11", {paths}}}')
    assert "0 errors" in pyright(RIGHT, settings)
    output = pyright(file, settings)
    assert {int(line) for line in re.findall(r"wrong\.py:(\d+):\d+ - error", output)} == wrong_lines(), output
