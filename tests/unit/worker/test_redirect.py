"""What tasks print becomes log lines."""

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from umbel.worker.redirect import LONGEST, LoggedStream, redirect_stdouts


@pytest.fixture
def stream(caplog: pytest.LogCaptureFixture) -> LoggedStream:
    caplog.set_level(logging.INFO)
    return LoggedStream(logging.getLogger("umbel.redirected"), logging.WARNING, io.StringIO())


@pytest.fixture
def _as_before() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    yield
    sys.stdout, sys.stderr = before


def test_each_line_that_has_ended_is_logged_once(stream: LoggedStream, caplog: pytest.LogCaptureFixture) -> None:
    print("one", "two", file=stream)
    print("three ", end="", file=stream)
    assert caplog.messages == ["one two"]
    print("100 %s\n\nfour", file=stream)
    assert caplog.messages == ["one two", "three 100 %s", "four"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_lines_of_two_threads_do_not_mix(stream: LoggedStream, caplog: pytest.LogCaptureFixture) -> None:
    stream.write("main ")
    other = threading.Thread(target=print, args=("other",), kwargs={"file": stream})
    other.start()
    other.join()
    stream.write("thread\n")
    assert caplog.messages == ["other", "main thread"]


def test_a_line_that_never_ends_does_not_take_all_memory(
    stream: LoggedStream, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(LONGEST // 100 + 1):
        stream.write("x" * 100)
    assert caplog.messages == ["x" * (LONGEST + 100)]


def test_a_handler_that_prints_does_not_go_round_in_circles(caplog: pytest.LogCaptureFixture) -> None:
    original = io.StringIO()
    stream = LoggedStream(logging.getLogger("umbel.redirected"), logging.WARNING, original)

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("handled", record.getMessage(), file=stream)

    handler = Printing()
    logging.getLogger("umbel.redirected").addHandler(handler)
    try:
        print("hello", file=stream)
    finally:
        logging.getLogger("umbel.redirected").removeHandler(handler)
    assert original.getvalue() == "handled hello\n"


@pytest.mark.usefixtures("_as_before")
def test_both_standard_streams_are_redirected_and_other_programs_print_past_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    redirect_stdouts(logging.ERROR)
    print("out")
    print("err", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "print('program')"], stdout=sys.stdout, check=True)
    assert caplog.messages == ["out", "err"]
    assert "program" in capfd.readouterr().out
    assert not sys.stdout.isatty()
    assert sys.stdout.encoding
