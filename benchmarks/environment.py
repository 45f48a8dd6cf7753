"""The peers' virtual environment: made on first use, outside of the repository.

It is in $UMBEL_BENCH_HOME, else in the user's cache folder. The working files of benchmarks are there as well, because
they have to be on a disk: /tmp may be memory, where synchronising costs nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = ("huey==3.5.*", "dramatiq==2.2.*")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCE = ROOT / "core" / "src"


def home() -> Path:
    """Where benchmarks keep what they need."""
    given = os.environ.get("UMBEL_BENCH_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(given) if given else cache / "umbel-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def working_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder on the disk that is deleted after use."""
    return tempfile.TemporaryDirectory(prefix="run-", dir=home())


def peers_python() -> Path:
    """The interpreter that has the peers; makes its environment if need be."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = home() / f"peers-{version}"
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if not (stamp.exists() and stamp.read_text() == repr(PEERS) and python.exists()):
        print(f"Installing {', '.join(PEERS)} (first use)", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, *PEERS], check=True)
        stamp.write_text(repr(PEERS))
    return python


def peers_versions() -> dict[str, str]:
    """What is installed there."""
    script = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in ('huey', 'dramatiq')}))"
    answer = subprocess.run([peers_python(), "-c", script], check=True, capture_output=True, text=True).stdout
    versions: dict[str, str] = json.loads(answer)
    return versions


def python_of(side: str) -> str:
    """The interpreter of a side: ours is the one that runs this."""
    return sys.executable if side == "umbel" else str(peers_python())


def environ(**more: str) -> dict[str, str]:
    """The environment for a process of either side."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("UMBEL_", "PYTHON"))}
    return {**env, "PYTHONPATH": os.pathsep.join((str(HERE), str(SOURCE))), "PYTHONHASHSEED": "0", **more}


if __name__ == "__main__":
    print(peers_python(), peers_versions())
