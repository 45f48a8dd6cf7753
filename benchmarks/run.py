"""Run benchmarks one after the other: python benchmarks/run.py [NAME ...] [-- OPTIONS].

Without a name: all. With one name, what follows `--` goes to it; `python benchmarks/NAME.py --help` lists it. --quick
runs small ones, to see that they work, not to measure. The exit status is 1 if a goal was missed or a benchmark failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUICK = {
    "imports": ["--repeat", "3", "--starts", "2"],
    "memory": ["--tasks", "2000", "--repeat", "2"],
    "sqlite": ["--tasks", "1000", "--samples", "30", "--repeat", "1", "--modes", "full", "--workers", "1"],
    "fairness": ["--scale", "0.05", "--long", "1", "--good", "200"],
    "kill": ["--children-killed", "20", "--members-killed", "5", "--workers-killed", "4", "--quiet-kills", "3"],
}
"""The benchmarks in the order in which they run, and the options of a small run of each."""


def main() -> int:
    """Run those that were named."""
    words, options = sys.argv[1:], []
    if "--" in words:
        words, options = words[: words.index("--")], words[words.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(QUICK))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(words)
    names = given.names or list(QUICK)
    unknown = sorted(set(names) - set(QUICK))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(QUICK)}")
    if options and len(names) != 1:
        parser.error("options after -- need exactly one name before it")
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *(QUICK[name] if given.quick else []), *options]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(flush=True)
    if failed:
        print(f"missed or failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
