"""Measure Python's own standard library with a real worker: one task per file, and a chord that makes the report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import sysconfig
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
if str(ROOT) not in sys.path:  # so that `python examples/codebase` works, from any directory
    sys.path.insert(0, str(ROOT))

from examples.codebase import show  # noqa: E402 - the path comes first
from examples.codebase.job import run  # noqa: E402
from examples.codebase.measure import sources  # noqa: E402
from examples.codebase.worker import Journal, Worker, WorkerFailed  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Do what the command line asks; the exit status is 0 if every file is in the report exactly once."""
    options = parse()
    base = Path(options.path).resolve()
    paths = sources(base, options.limit)
    if not paths:
        print(f"There is no Python file in {base}.", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that the worker is stopped as by Ctrl-C
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with home(keep=options.keep) as folder:
        os.environ["UMBEL_HOME"] = str(folder)
        journal = Journal(folder / f"journal-{os.getpid()}.tsv")
        os.environ["CODEBASE_JOURNAL"] = str(journal.path)
        progress = show.Progress(len(paths))
        progress.say(f"Python {platform.python_version()}, {len(paths):,} files; the queue is in {folder}")
        try:
            with Worker(options.processes, log=folder / "worker.log") as worker:
                found, happened = run(paths, base, worker, journal, progress, kill=options.kill)
        except WorkerFailed as error:
            print(f"\nThe worker failed: {error}", file=sys.stderr)
            return 1
    if options.json:
        print(json.dumps({**found, "run": happened}, indent=2))
    else:
        show.report(found, sys.stdout)
        show.conclusion(happened, sys.stdout)
    return 1 if happened["missing"] or happened["more_than_once"] else 0


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python examples/codebase", description=__doc__)
    parser.add_argument("--kill", action="store_true", help="kill a process of the worker (SIGKILL) during the run")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--limit", type=int, metavar="N", help="only N files, evenly spread")
    parser.add_argument("--path", default=sysconfig.get_path("stdlib"), metavar="DIR", help="measure this code instead")
    parser.add_argument("-c", "--processes", type=int, default=2, metavar="N", help="of the worker; 2 if not given")
    parser.add_argument("--keep", action="store_true", help="keep the queue file, to look into it afterwards")
    return parser.parse_args()


@contextmanager
def home(*, keep: bool) -> Iterator[Path]:
    """Where this run has its queue: $UMBEL_HOME, else a new folder in .umbel, so that no old run is in the way."""
    given = os.environ.get("UMBEL_HOME")
    if given:
        folder = Path(given).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    beside = HERE / ".umbel"
    try:
        beside.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=beside))
    except OSError:  # a checkout that this user may not write to
        folder = Path(tempfile.mkdtemp(prefix="umbel-codebase-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        sys.exit(130)
