"""Log lines of a worker: for people, in colour on a terminal, or as JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from umbel import signals
from umbel.current import current_request
from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")
SHORT_ID = 8
"""Characters of a UUID in lines below WARNING; what went wrong is shown with its whole id, for `umbel result`."""
_UUID = 36

_WARNING = re.compile(r"(.+?:\d+): (\w+): (.*)")
"""A warning as Python prints it: where, what kind, and what it says."""
_SHORT = {"WARNING": "WARN", "CRITICAL": "CRIT"}
_COLORS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_CONTROLS: Mapping[int, str] = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
"""Control characters that a task's name, id or error could bring to the terminal."""
_CONTROLS_OF_TEXT = {**_CONTROLS, ord("\n"): "\n    ", ord("\t"): "\t"}
"""Further lines are indented, so that no error's text looks like a line of the log."""


def level_number(level: str | int) -> int:
    """The number of a level's name, whatever its case; ImproperlyConfigured for what is none."""
    if isinstance(level, int):
        return level
    number = getattr(logging, level.upper(), None) if level.upper() in LEVELS else None
    if number is None:
        raise ImproperlyConfigured(f"log level {level!r} is not one of {', '.join(LEVELS)}")
    return int(number)


def use_color(stream: Any, wanted: bool | None = None) -> bool:
    """Whether to colour what goes there: as wanted, else on a terminal, unless NO_COLOR is set or it is a dumb one."""
    if wanted is not None:
        return wanted
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def paint(text: str, color: str) -> str:
    """The text in this colour (numbers of an ANSI escape)."""
    return f"\x1b[{color}m{text}\x1b[0m"


def printable(text: str) -> str:
    """The text in one line, its control characters made visible."""
    return text.translate(_CONTROLS)


class LineHandler(logging.Handler):
    """One write a record, so that the lines of several processes do not run into each other."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line."""
        try:
            line = self.format(record) + "\n"
            try:
                descriptor = self.stream.fileno()
            except (OSError, AttributeError, ValueError):  # a stream in memory
                self.stream.write(line)
            else:
                self.stream.flush()  # what others have printed comes first
                data = line.encode("utf-8", "backslashreplace")
                while data:
                    data = data[os.write(descriptor, data) :]
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)


def _task_of(record: logging.LogRecord) -> tuple[str, str] | None:
    """Name and id of the task that the record is about, or was made in."""
    data = getattr(record, "data", None)
    if isinstance(data, dict) and data.get("name") and data.get("id"):
        return str(data["name"]), str(data["id"])
    request = current_request.get()
    if request is not None and request.task and request.id:
        return str(request.shadow or request.task), str(request.id)
    return None


def _text_of(record: logging.LogRecord, task: tuple[str, str] | None) -> str:
    """The message without the words that name the task: they are shown, or are fields, of their own."""
    if record.name == "py.warnings":
        text = record.getMessage().partition("\n")[0]  # further lines show the source
        found = _WARNING.fullmatch(text)
        return f"{found[3]} ({found[2]} at {found[1]})" if found else text
    text = record.getMessage()
    if task is not None:
        for prefix in (f"Task {task[0]}[{task[1]}] ", f"Task {task[0]}[{task[1]}]: "):
            text = text.removeprefix(prefix)
    return text


class PeopleFormatter(logging.Formatter):
    """``[12:01:02] INFO  tasks.add[1f0c9b52] succeeded in 0.003s``."""

    def __init__(self, *, color: bool, datefmt: str | None = None) -> None:
        super().__init__(datefmt=datefmt or "%H:%M:%S")
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback's lines after it."""
        moment = self.formatTime(record, self.datefmt)
        level = f"{_SHORT.get(record.levelname, record.levelname):<5}"
        task = _task_of(record)
        text = _text_of(record, task)
        subject = ""
        if task is not None:
            name, id = task
            if len(id) == _UUID and record.levelno < logging.WARNING:
                id = id[:SHORT_ID]
            name, id = printable(name), printable(id)
            subject = f"{paint(name, '36')}{paint(f'[{id}]', '2')} " if self._color else f"{name}[{id}] "
        elif record.name != "py.warnings" and record.name.partition(".")[0] not in {"umbel", "root"}:
            subject = f"{record.name}: "
        if self._color:
            level = paint(level, _COLORS.get(record.levelname, "0"))
            moment = paint(f"[{moment}]", "2")
            head = f"{moment} {level} {subject}"
        else:
            head = f"[{moment}] {level} {subject}"
        details = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            details.append(self.formatStack(record.stack_info))
        return head + "\n".join([text, *details]).translate(_CONTROLS_OF_TEXT)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, pid; task and id; exception; what `data` brings besides."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        task = _task_of(record)
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": moment,
            "level": record.levelname,
            "logger": record.name,
            "message": _text_of(record, task),
            "pid": record.process,
        }
        if task is not None:
            fields["task"], fields["id"] = task
        data = getattr(record, "data", None)
        if isinstance(data, dict):
            fields.update({key: value for key, value in data.items() if key not in {"name", "id", *fields}})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class OwnFormatter(logging.Formatter):
    """A format of the user's, in the %-style; ``%(task_name)s`` and ``%(task_id)s`` are ``???`` outside tasks.

    `task_format` is for what loggers below ``umbel.task`` say, and by default the same.
    """

    def __init__(
        self, format: str, datefmt: str | None = None, task_format: str | None = None, task_datefmt: str | None = None
    ) -> None:
        super().__init__(format, datefmt)
        self._task = logging.Formatter(task_format or format, task_datefmt or datefmt)

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        record.task_name, record.task_id = _task_of(record) or ("???", "???")
        if f"{record.name}.".startswith("umbel.task."):
            return self._task.format(record)
        return super().format(record)


def setup_logging(
    loglevel: str | int = "WARNING",
    json: bool = False,
    color: bool | None = None,
    stream: TextIO | None = None,
    *,
    hijack: bool = True,
    format: str | None = None,
    datefmt: str | None = None,
    task_format: str | None = None,
    task_datefmt: str | None = None,
) -> None:
    """Send the log of this process, and of those that it forks, to a stream (standard error).

    Handlers that were there are removed, unless `hijack` is False. Does nothing but tell the receivers of the signal
    `setup_logging` where there are any. Warnings become log lines. The formats are as `OwnFormatter` takes them.
    """
    level = level_number(loglevel)
    stream = stream or sys.stderr
    colorize = not json and use_color(stream, color)
    details = {"loglevel": level, "logfile": None, "format": format, "colorize": colorize}
    if signals.setup_logging.receivers:
        signals.setup_logging.send(sender=None, **details)
        return
    root = logging.getLogger()
    for handler in list(root.handlers):
        if hijack or isinstance(handler, LineHandler):
            root.removeHandler(handler)
    handler = LineHandler(stream)
    if json:
        handler.setFormatter(JsonFormatter())
    elif format or task_format:
        handler.setFormatter(OwnFormatter(format or task_format or "", datefmt, task_format, task_datefmt))
    else:
        handler.setFormatter(PeopleFormatter(color=colorize, datefmt=datefmt))
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    signals.after_setup_logger.send(sender=None, logger=root, **details)
    signals.after_setup_task_logger.send(sender=None, logger=logging.getLogger("umbel.task"), **details)
