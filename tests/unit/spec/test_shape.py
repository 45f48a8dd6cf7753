"""The contract stays what its reader was promised: short, alone, and light."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from umbel import spec
from umbel.spec import hooks

FOLDER = Path(inspect.getfile(spec)).parent
MUST = {"Broker": 3, "Consumer": 3, "Subscription": 2, "Settler": 1, "ResultBackend": 4, "Watcher": 4}
"""Methods that a plugin has to write; six for a transport and four for a store."""


@pytest.mark.parametrize("name", MUST)
def test_no_interface_asks_for_more_than_it_should(name: str) -> None:
    assert len(getattr(spec, name).__abstractmethods__) == MUST[name]


def test_the_contract_is_read_in_one_sitting() -> None:
    assert sum(len(file.read_text().splitlines()) for file in FOLDER.glob("*.py")) < 600


def test_the_contract_needs_nothing_of_umbel_but_itself_and_no_pluggy() -> None:
    program = "import sys, umbel.spec; print([n for n in sys.modules if n.startswith(('umbel.', 'pluggy'))])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = answer.stdout
    assert "pluggy" not in loaded
    assert "umbel.app" not in loaded
    assert "umbel.exceptions" not in loaded


def test_all_four_hooks_are_factories_of_the_project() -> None:
    marked = {name for name, thing in vars(hooks).items() if hasattr(thing, f"{hooks.PROJECT}_spec")}
    assert marked == {"umbel_broker", "umbel_result_backend", "umbel_serializers", "umbel_router"}


def test_every_name_of_the_contract_is_there() -> None:
    assert sorted(set(spec.__all__)) == sorted(spec.__all__)
    assert all(hasattr(spec, name) for name in spec.__all__)
    assert spec.VERSION == 1
