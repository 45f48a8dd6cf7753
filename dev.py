#!/usr/bin/env python3
"""Every chore of the project with nothing but Python: `python3 dev.py` lists them.

It keeps one virtual environment in `.venv` (elsewhere if UMBEL_VENV says so). It holds what the core needs and, once a
chore asks for more, what developing needs; it is brought up to date when the files that list it change. Up to the
version check below this file is written for old Pythons, so that they say what is wrong instead of failing to read it.
"""

import difflib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent


def too_old() -> str:
    """What to tell somebody whose Python cannot run Umbel."""
    names = ["python3.%d" % minor for minor in range(OLDEST[1] + 4, OLDEST[1] - 1, -1)]  # noqa: UP031 - old Pythons
    newer = [name for name in names if shutil.which(name)]
    have = "%d.%d" % sys.version_info[:2]  # noqa: UP031 - see above
    if newer:
        advice = f"This machine has a newer one: {newer[0]} {' '.join(sys.argv)}"
    else:
        advice = "Install a newer one, for example with: apt-get install python3 python3-venv"
    return f"dev.py: Umbel needs Python {OLDEST[0]}.{OLDEST[1]} or later, and this is {have}.\n{advice}"


if sys.version_info < OLDEST:
    sys.exit(too_old())

VENV = Path(os.environ.get("UMBEL_VENV") or ROOT / ".venv").absolute()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "umbel-setup"
LEVELS = ("run", "dev")
"""What the environment can hold; the second includes the first."""
WHOLE_RUN = 15 * 60
"""Seconds that the whole of the tests may take."""


def say(text: str) -> None:
    """Tell what is being done, apart from the output of the chore."""
    print(text, file=sys.stderr, flush=True)


def run(*command: object, cwd: Path = ROOT) -> None:
    """Run a command in view; the chore ends with it if it fails."""
    words = [str(word) for word in command]
    say("$ " + " ".join(os.path.relpath(word, ROOT) if word.startswith(str(ROOT) + os.sep) else word for word in words))
    status = subprocess.run(words, cwd=cwd, check=False).returncode
    if status:
        sys.exit(status if status > 0 else 128 - status)


# --- the environment -------------------------------------------------------------------------------------------------


def members() -> "list[Path]":
    """The folders of the distributions that this workspace holds, the core first."""
    found = [ROOT / "core", *sorted((ROOT / "plugins").glob("*")), ROOT / "conformance"]
    return [folder for folder in found if (folder / "pyproject.toml").exists()]


def fingerprint(level: str) -> str:
    """Changes when what the environment must hold changes."""
    files = [ROOT / "core" / "pyproject.toml", ROOT / "constraints.txt"]
    if level != "run":
        files += [ROOT / "pyproject.toml", *(folder / "pyproject.toml" for folder in members()[1:])]
    digest = hashlib.sha256(f"{level} {ROOT}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return f"{level} {digest.hexdigest()}"


def is_ready(level: str) -> bool:
    """Whether the environment holds all that the level asks for."""
    try:
        stamp = STAMP.read_text()
    except OSError:
        return False
    present = stamp.split(" ")[0]
    if present not in LEVELS or LEVELS.index(present) < LEVELS.index(level):
        return False
    return PYTHON.exists() and same_python() and stamp == fingerprint(present)


def same_python() -> bool:
    """Whether the environment was made for the Python version that runs this."""
    try:
        lines = (VENV / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return False
    pairs = dict(line.replace(" ", "").split("=", 1) for line in lines if "=" in line)
    version = pairs.get("version", pairs.get("version_info", ""))
    return version.split(".")[:2] == [str(number) for number in sys.version_info[:2]]


def ensure(level: str) -> None:
    """Make the environment hold what the level needs; at once if it does."""
    if is_ready(level):
        return
    with Turn():
        if is_ready(level):
            return
        usable = PYTHON.exists() and same_python() and (shutil.which("uv") or has_pip())
        if not usable:
            create()
        STAMP.unlink(missing_ok=True)
        install(level)
        STAMP.write_text(fingerprint(level))


class Turn:
    """Only one dev.py at a time changes the environment; the others wait."""

    def __enter__(self) -> None:
        VENV.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(f"{VENV}.lock", "w")
        try:
            import fcntl  # noqa: PLC0415 - does not exist on Windows
        except ImportError:
            return
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        self.file.close()


def has_pip() -> bool:
    """Whether the environment's Python has pip."""
    return subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def create() -> None:
    """A new virtual environment, by whatever on this machine can make one."""
    say(f"Making a virtual environment in {VENV}")
    shutil.rmtree(VENV, ignore_errors=True)
    ways = []
    if shutil.which("uv"):
        ways.append(["uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(VENV)])
    try:
        from ensurepip import bootstrap  # noqa: F401, PLC0415 - Debian ships Python without it
    except ImportError:
        pass
    else:
        ways.append([sys.executable, "-m", "venv", str(VENV)])
    if shutil.which("virtualenv"):
        ways.append(["virtualenv", "--quiet", "--python", sys.executable, str(VENV)])
    for way in ways:
        if subprocess.run(way, check=False).returncode == 0:
            return
        say(f"'{' '.join(way)}' failed")
        shutil.rmtree(VENV, ignore_errors=True)
    sys.exit(NO_ENVIRONMENT if not ways else "dev.py: no virtual environment could be made; the reason is above.")


NO_ENVIRONMENT = f"""\
dev.py: this Python ({sys.executable}) comes without `ensurepip`, which makes virtual environments.
On Debian and Ubuntu it is a package of its own:
    apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv
`uv` or `virtualenv` on the PATH will do as well."""


def install(level: str) -> None:
    """Install what the level names, by uv where there is one and it works, else by pip."""
    what = [f"--editable={folder}" for folder in (members() if level != "run" else members()[:1])]
    if level != "run":
        import tomllib  # noqa: PLC0415 - does not exist before Python 3.11, and is needed only here

        what += tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    say(f"Installing {'the core' if level == 'run' else 'what the chore needs'} (first use, or the list has changed)")
    wanted = ["--quiet", f"--constraint={ROOT / 'constraints.txt'}", *what]
    if shutil.which("uv"):
        if subprocess.run(["uv", "pip", "install", "--python", str(PYTHON), *wanted], check=False).returncode == 0:
            return
        say("uv could not; trying pip")
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install"]
    if subprocess.run([*pip, *wanted], check=False).returncode:
        sys.exit("dev.py: the installation failed; the reason is above. It needs a package index that pip can reach.")


# --- the chores ------------------------------------------------------------------------------------------------------


def setup(arguments: "list[str]") -> None:
    """make .venv hold everything that the tests and the linters need"""
    ensure("dev")
    say(f"Ready: {BIN}")


def demo(arguments: "list[str]") -> None:
    """count the standard library's source with a real worker [--kill, --json, --limit N, --help]"""
    ensure("run")
    os.execv(PYTHON, [str(PYTHON), str(ROOT / "examples" / "codebase"), *arguments])


def test(arguments: "list[str]") -> None:
    """run the tests, the fast ones first [--fast: no others; --servers=none|NAMES; paths; -k EXPR; all of pytest's]"""
    ensure("dev")
    options = [f"--session-timeout={WHOLE_RUN}"]
    if "--fast" in arguments:
        options += ["-m", "not slow"]
    options += [word for word in arguments if word != "--fast"]
    run(PYTHON, "-m", "pytest", *options)


def lint(arguments: "list[str]") -> None:
    """ruff's rules, its format, and mypy --strict"""
    ensure("dev")
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    types(arguments)


def types(arguments: "list[str]") -> None:
    """mypy --strict [paths]"""
    ensure("dev")
    run(PYTHON, "-m", "mypy", *arguments)


def format(arguments: "list[str]") -> None:
    """mend what ruff can mend, and format [paths]"""
    ensure("dev")
    paths = arguments or ["."]
    run(PYTHON, "-m", "ruff", "check", "--fix-only", *paths)
    run(PYTHON, "-m", "ruff", "format", *paths)


def check(arguments: "list[str]") -> None:
    """all that continuous integration does: lint, then test"""
    lint([])
    test(arguments)


def build(arguments: "list[str]") -> None:
    """the wheels of all distributions, in dist/"""
    ensure("dev")
    for folder in members():
        run(PYTHON, "-m", "hatchling", "build", "--target", "wheel", "--directory", ROOT / "dist", cwd=folder)


def bench(arguments: "list[str]") -> None:
    """run one of benchmarks/ beside its peers [NAME and its options; without a name: which there are]"""
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.name.startswith("_"))
    if not arguments or arguments[0] not in names:
        sys.exit("dev.py bench NAME, where NAME is one of: " + (", ".join(names) or "(none yet)"))
    ensure("dev")
    run(PYTHON, ROOT / "benchmarks" / f"{arguments[0]}.py", *arguments[1:])


def clean(arguments: "list[str]") -> None:
    """delete what can be made again [--all: .venv as well]"""
    litter = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".umbel", "dist", "build")
    for folder, names, _files in os.walk(ROOT):
        for name in [name for name in names if name in litter or name.endswith(".egg-info")]:
            shutil.rmtree(Path(folder, name))
        names[:] = [name for name in names if name not in (*litter, ".venv", ".git")]
    if "--all" in arguments:
        shutil.rmtree(VENV, ignore_errors=True)
        Path(f"{VENV}.lock").unlink(missing_ok=True)


CHORES = (demo, test, lint, format, types, build, bench, check, setup, clean)


def main(words: "list[str]") -> None:
    """Do the chore that the first word names, with the other words as its arguments."""
    chores = {chore.__name__: chore for chore in CHORES}
    if not words or words[0] in ("-h", "--help", "help"):
        print("usage: python3 dev.py CHORE [arguments]\n")
        for name, chore in chores.items():
            print(f"  {name:8}{chore.__doc__}")
        return
    name, *arguments = words
    if name not in chores:
        near = difflib.get_close_matches(name, chores, 1)
        meant = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(chores)}."
        sys.exit(f"dev.py: no chore is called {name!r}; {meant}")
    chores[name](arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
