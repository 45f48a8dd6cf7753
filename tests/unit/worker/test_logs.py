"""Log lines for people and for machines."""

import io
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator

import pytest

from umbel import signals
from umbel.current import current_request
from umbel.exceptions import DuplicateNodenameWarning, ImproperlyConfigured
from umbel.message.context import Context
from umbel.worker.logs import level_number, setup_logging, use_color

ID = "1f0c9b52-aaaa-4bbb-8ccc-123456789abc"
ABOUT = {"data": {"name": "tasks.add", "id": ID}}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(out: io.StringIO) -> list[str]:
    return [re.sub(r"\[\d\d:\d\d:\d\d\]", "[12:01:02]", line) for line in out.getvalue().splitlines()]


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def test_a_line_about_a_task_begins_with_its_name_and_a_short_id(out: io.StringIO) -> None:
    setup_logging("INFO", stream=out)
    log = logging.getLogger("umbel.worker.trace")
    log.info("Task %s[%s] succeeded in %.3gs", "tasks.add", ID, 0.0034, extra=ABOUT)
    assert lines(out) == ["[12:01:02] INFO  tasks.add[1f0c9b52] succeeded in 0.0034s"]


def test_what_went_wrong_is_shown_with_its_whole_id(out: io.StringIO) -> None:
    setup_logging("INFO", stream=out)
    logging.getLogger("umbel.worker.trace").error("Task %s[%s] failed", "tasks.add", ID, extra=ABOUT)
    assert lines(out) == [f"[12:01:02] ERROR tasks.add[{ID}] failed"]


def test_a_line_written_inside_a_task_names_it_and_one_outside_names_its_logger(out: io.StringIO) -> None:
    setup_logging("INFO", stream=out)
    token = current_request.set(Context(task="tasks.add", id=ID))
    logging.getLogger("shop.orders").info("paid")
    current_request.reset(token)
    logging.getLogger("shop.orders").warning("open")
    logging.getLogger("umbel.worker").info("ready")
    assert lines(out) == [
        "[12:01:02] INFO  tasks.add[1f0c9b52] paid",
        "[12:01:02] WARN  shop.orders: open",
        "[12:01:02] INFO  ready",
    ]


def test_json_lines_have_the_whole_id_and_the_traceback_as_fields(out: io.StringIO) -> None:
    setup_logging("INFO", json=True, stream=out)
    log = logging.getLogger("umbel.worker.trace")
    try:
        raise ValueError("no")
    except ValueError:
        log.exception(
            "Task %s[%s] failed:\n%s", "tasks.add", ID, "x", extra={"data": {**ABOUT["data"], "runtime": 0.5}}
        )
    (line,) = out.getvalue().splitlines()
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", fields.pop("time"))
    assert fields.pop("exception").endswith("ValueError: no")
    assert fields == {
        "level": "ERROR",
        "logger": "umbel.worker.trace",
        "message": "failed:\nx",
        "pid": os.getpid(),
        "task": "tasks.add",
        "id": ID,
        "runtime": 0.5,
    }


def test_colours_are_used_when_asked_for_and_never_in_json(out: io.StringIO) -> None:
    setup_logging("INFO", color=True, stream=out)
    logging.getLogger("umbel.worker").info("ready")
    assert "\x1b[32mINFO " in out.getvalue()
    out.truncate(0)
    setup_logging("INFO", json=True, color=True, stream=out)
    logging.getLogger("umbel.worker").info("ready")
    assert "\x1b" not in out.getvalue()


def test_colour_follows_the_terminal_no_color_and_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with os.fdopen(ours, "w"), os.fdopen(theirs, "w") as terminal:
        assert use_color(terminal)
        assert not use_color(io.StringIO())
        assert not use_color(terminal, False)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not use_color(terminal)
        assert use_color(terminal, True)
        monkeypatch.setenv("NO_COLOR", "")
        assert use_color(terminal)
        monkeypatch.setenv("TERM", "dumb")
        assert not use_color(terminal)


def test_control_characters_of_a_stranger_do_not_reach_the_terminal(out: io.StringIO) -> None:
    setup_logging("INFO", stream=out)
    evil = {"data": {"name": "a\x1b[2J", "id": "b\n[12:00:00] INFO forged"}}
    logging.getLogger("umbel.worker.trace").error("bell \x07", extra=evil)
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "a\\x1b[2J" in out.getvalue()
    assert len(lines(out)) == 1


def test_lines_below_the_level_are_left_out(out: io.StringIO) -> None:
    setup_logging("warning", stream=out)
    logging.getLogger("umbel.worker").info("no")
    logging.getLogger("umbel.worker").warning("yes")
    assert lines(out) == ["[12:01:02] WARN  yes"]


def test_a_warning_becomes_one_line(out: io.StringIO) -> None:
    setup_logging("WARNING", stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)  # let it hook in below the block's own hook
        logging.captureWarnings(True)
        warnings.warn("taken", DuplicateNodenameWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = lines(out)
    assert re.fullmatch(r"\[12:01:02\] WARN  taken \(DuplicateNodenameWarning at \S*test_logs\.py:\d+\)", line)


def test_other_handlers_go_unless_they_are_to_stay(out: io.StringIO) -> None:
    other = logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    root.addHandler(other)
    setup_logging("INFO", stream=out, hijack=False)
    assert other in root.handlers
    setup_logging("INFO", stream=out)
    setup_logging("INFO", stream=out)
    assert [type(handler).__name__ for handler in root.handlers] == ["LineHandler"]


def test_a_receiver_of_setup_logging_does_it_instead(out: io.StringIO) -> None:
    calls = []

    def receiver(**named: object) -> None:
        calls.append(named)

    signals.setup_logging.connect(receiver)
    try:
        before = list(logging.getLogger().handlers)
        setup_logging("DEBUG", stream=out)
        assert logging.getLogger().handlers == before
    finally:
        signals.setup_logging.disconnect(receiver)
    assert calls[0]["loglevel"] == logging.DEBUG


def test_whoever_wants_to_change_the_logger_is_told_after_it_is_set_up(out: io.StringIO) -> None:
    loggers = []

    def receiver(logger: logging.Logger, **named: object) -> None:
        loggers.append(logger.name)

    for signal in (signals.after_setup_logger, signals.after_setup_task_logger):
        signal.connect(receiver)
    try:
        setup_logging("INFO", stream=out)
    finally:
        for signal in (signals.after_setup_logger, signals.after_setup_task_logger):
            signal.disconnect(receiver)
    assert loggers == ["root", "umbel.task"]


def test_an_unknown_level_is_refused_with_the_ones_there_are() -> None:
    assert level_number("info") == 20
    assert level_number(10) == 10
    with pytest.raises(ImproperlyConfigured, match=r"'VERBOSE' .* DEBUG, INFO"):
        level_number("VERBOSE")
    with pytest.raises(ImproperlyConfigured):
        level_number("Handler")


def test_long_lines_of_several_processes_do_not_run_into_each_other() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        setup_logging("INFO", stream=stream)
        pids = []
        for letter in "abc":
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                for _ in range(200):
                    logging.getLogger("umbel").info(letter * 3000)
                os._exit(0)
            pids.append(pid)
    read = b""
    while chunk := os.read(reader, 1 << 16):
        read += chunk
    os.close(reader)
    for pid in pids:
        os.waitpid(pid, 0)
    found = {line[11:] for line in read.decode().splitlines()}
    assert found == {"INFO  " + letter * 3000 for letter in "abc"}
    assert read.count(b"\n") == 600


def test_what_was_printed_before_comes_first(capfd: pytest.CaptureFixture[str]) -> None:
    setup_logging("INFO", stream=sys.stderr)
    print("printed", end=" ", file=sys.stderr)
    logging.getLogger("umbel").info("logged")
    assert re.fullmatch(r"printed \[.*\] INFO  logged\n", capfd.readouterr().err)


def test_a_format_of_ones_own_can_name_the_task(out: io.StringIO) -> None:
    setup_logging(
        "INFO", stream=out, format="%(levelname)s %(task_id)s %(message)s", task_format="T %(task_name)s %(message)s"
    )
    token = current_request.set(Context(task="tasks.add", id=ID))
    logging.getLogger("shop").info("paid")
    logging.getLogger("umbel.task.shop").info("paid")
    current_request.reset(token)
    logging.getLogger("shop").info("open")
    assert out.getvalue().splitlines() == [f"INFO {ID} paid", "T tasks.add paid", "INFO ??? open"]


def test_a_date_format_of_ones_own_is_used(out: io.StringIO) -> None:
    setup_logging("INFO", stream=out, datefmt="%Y!")
    logging.getLogger("umbel").info("x")
    assert re.fullmatch(r"\[\d{4}!\] INFO  x\n", out.getvalue())
