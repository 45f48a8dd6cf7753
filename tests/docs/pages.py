"""The fenced blocks of a page, with what the comments before them ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUN = ("python", "pycon", "console", "bash")
PARSED = ("json", "toml")
SHOWN = ("text", "mermaid", "ini")
"""Languages of blocks that nothing can be done with."""

FENCE = re.compile(r"^(?P<indent>\s*)(?P<mark>`{3,}|~{3,})(?P<language>[^`]*)$")
COMMENT = re.compile(r"^\s*<!--\s*(?P<text>.*?)\s*-->\s*$")
FILE = re.compile(r"^# (?P<name>[\w./-]+\.py)$")


class PageError(Exception):
    """A block that does not say properly what it is."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    language: str
    line: int
    """Of its first line of content, counted from 1."""
    text: str
    skipped: str = ""
    """Why it is not run."""
    status: int = 0
    """The exit status that its commands must have."""
    background: bool = False

    @property
    def file(self) -> str:
        """The file that a block of Python is to be written to, or nothing."""
        found = FILE.match(self.text.partition("\n")[0])
        return found["name"] if found and self.language == "python" else ""


@dataclass(slots=True)
class Command:
    """One command of a console block, and the output shown for it."""

    line: int
    text: str
    expected: str = ""


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page in order. PageError: one has no language, an unknown one, or no reason for not being run."""
    lines = page.splitlines()
    comments: list[str] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        comment, fence = COMMENT.match(line), FENCE.match(line)
        if fence:
            end = _end(lines, number, fence)
            content = [text.removeprefix(fence["indent"]) for text in lines[number:end]]
            yield _block(fence["language"].strip(), number + 1, "\n".join(content), comments)
            number = end + 1
            comments = []
        elif comment:
            comments.append(comment["text"])
        elif line.strip():
            comments = []


def _end(lines: Sequence[str], start: int, fence: re.Match[str]) -> int:
    for number in range(start, len(lines)):
        text = lines[number].strip()
        if text.startswith(fence["mark"]) and not text.strip(fence["mark"][0]):
            return number
    raise PageError(f"line {start}: the block does not end")


def _block(language: str, line: int, text: str, comments: Sequence[str]) -> Block:
    if language not in (*RUN, *PARSED, *SHOWN):
        known = ", ".join((*RUN, *PARSED, *SHOWN))
        raise PageError(f"line {line}: language {language!r} of the block; there are: {known}")
    skipped, status, background = "", 0, False
    for comment in comments:
        if comment.startswith("not run"):
            skipped = comment.removeprefix("not run").lstrip(":").strip()
            if len(skipped.split()) < 2:
                raise PageError(f"line {line}: 'not run' needs a reason: <!-- not run: the reason -->")
        elif comment.startswith("exits "):
            status = int(comment.removeprefix("exits "))
        elif comment == "in the background":
            background = True
    return Block(language, line, text, skipped, status, background)


def commands(block: Block) -> list[Command]:
    """The commands of a console block; a backslash at the end of a line continues it."""
    found: list[Command] = []
    continues = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if continues:
            found[-1].text += "\n" + line.removeprefix("> ")
        elif line.startswith("$ "):
            found.append(Command(number, line.removeprefix("$ ")))
        elif not found:
            raise PageError(f"line {number}: a console block begins with a command, after '$ '")
        else:
            found[-1].expected += line + "\n"
            continue
        continues = line.endswith("\\")
    return found


def agrees(expected: str, actual: str) -> bool:
    """Whether the output is what the page shows; ``...`` stands for anything, on a line of its own for any lines."""
    parts = []
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*?".join(re.escape(text) for text in line.rstrip().split("...")) + r"\n")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", actual)
    text = "".join(line.rstrip() + "\n" for line in plain.strip("\n").splitlines())
    return re.fullmatch("".join(parts), text) is not None
