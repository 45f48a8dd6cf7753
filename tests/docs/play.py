"""Run all blocks of one page, as its reader would: `python -m tests.docs.play PAGE`, in an empty directory."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import inspect
import json
import os
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tests.docs.pages import Block, Command, PageError, agrees, blocks, commands

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0
"""Seconds that a command in the background has to show its output, and to end when asked to."""


@dataclass(slots=True)
class Background:
    """A command that runs until the end of the page."""

    line: int
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(slots=True)
class Player:
    """Where a page's blocks run, one after the other."""

    page: Path
    module: ModuleType = field(default_factory=lambda: ModuleType("page"))
    running: list[Background] = field(default_factory=list)

    def play(self) -> str:
        """Run every block; what was run, in words. An error names the line of the page."""
        sys.modules["page"] = self.module
        sys.path.insert(0, "")
        ran = skipped = line = 0
        try:
            for block in blocks(self.page.read_text(encoding="utf-8")):
                line = block.line
                if block.skipped:
                    skipped += 1
                else:
                    self._run(block)
                    ran += 1
        except BaseException as error:
            self._tell_logs()
            error.add_note(f"in the block at {self.page}:{line}")
            raise
        finally:
            self._stop()
        return f"{ran} blocks run, {skipped} not run"

    def _run(self, block: Block) -> None:
        """Do with a block what its language calls for; what is only to be looked at is left alone."""
        ways: dict[str, Callable[[Block], object]] = {
            "python": self._python,
            "pycon": self._pycon,
            "console": self._console,
            "bash": self._bash,
            "json": lambda block: json.loads(block.text),
            "toml": lambda block: tomllib.loads(block.text),
        }
        if block.language in ways:
            ways[block.language](block)

    def _python(self, block: Block) -> None:
        if block.file:
            return self._file(block)
        # The empty lines make a traceback point into the page.
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, str(self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, self.module.__dict__))
        else:
            exec(code, self.module.__dict__)
        return None

    def _file(self, block: Block) -> None:
        path = Path(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text + "\n")
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        importlib.import_module(name)

    def _pycon(self, block: Block) -> None:
        test = doctest.DocTestParser().get_doctest(
            block.text + "\n", self.module.__dict__, "page", str(self.page), block.line - 1
        )
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
        runner.run(test, clear_globs=False)
        self.module.__dict__.update(test.globs)
        if runner.failures:
            raise PageError(f"{self.page}:{block.line}: the session above does not go as shown")

    def _bash(self, block: Block) -> None:
        self._command(block, Command(block.line, "set -e\n" + block.text))

    def _console(self, block: Block) -> None:
        for command in commands(block):
            words = command.text.split()
            if block.background:
                self._background(command)
            elif words[0] == "cd" and len(words) == 2:
                os.chdir(words[1])
            elif words[0] == "export" and len(words) == 2 and "=" in words[1]:
                name, _, value = words[1].partition("=")
                os.environ[name] = value
            else:
                self._command(block, command)

    def _command(self, block: Block, command: Command) -> None:
        done = subprocess.run(
            ["bash", "-c", command.text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        where = f"{self.page}:{command.line}: {command.text}"
        if done.returncode != block.status:
            raise PageError(f"{where}\nexits {done.returncode}, not {block.status}:\n{done.stdout}")
        if command.expected and not agrees(command.expected, done.stdout):
            raise PageError(f"{where}\nshould print\n{command.expected}\nand prints\n{done.stdout}")

    def _background(self, command: Command) -> None:
        log = Path(f".background-{command.line}.log")
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", command.text], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        self.running.append(Background(command.line, process, log.absolute()))
        deadline = time.monotonic() + PATIENCE
        while command.expected and not agrees(command.expected, log.read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PageError(f"{self.page}:{command.line}: {command.text}\nshould print\n{command.expected}")
            time.sleep(0.02)

    def _stop(self) -> None:
        """End what runs in the background, as Ctrl-C would."""
        wrong = []
        for job in reversed(self.running):
            status = job.process.poll()
            if status is not None:
                wrong.append(f"{self.page}:{job.line}: ended by itself, with status {status}")
                continue
            job.process.terminate()
            try:
                status = job.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                job.process.kill()
                wrong.append(f"{self.page}:{job.line}: did not end within {PATIENCE:.0f} s of SIGTERM")
            else:
                if status:
                    wrong.append(f"{self.page}:{job.line}: exits {status} after SIGTERM")
        if wrong:
            self._tell_logs()
            raise PageError("\n".join(wrong))

    def _tell_logs(self) -> None:
        for job in self.running:
            print(f"--- output of line {job.line}\n{job.log.read_text(errors='replace')}", file=sys.stderr)


if __name__ == "__main__":
    try:
        print(Player(Path(sys.argv[1])).play())
    except PageError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
