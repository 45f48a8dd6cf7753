"""A result that is there already."""

import asyncio
import pickle
from typing import Any

import pytest

from umbel.results.eager import EagerResult
from umbel.results.group import ResultSet
from umbel.states import FAILURE, REVOKED, SUCCESS


def test_a_value() -> None:
    result = EagerResult("a", 1, SUCCESS, name="add")
    assert (result.get(), result.wait(), result.result, result.state, result.ready()) == (1, 1, 1, SUCCESS, True)
    assert (result.successful(), result.failed(), result.name, result.children) == (True, False, "add", [])
    assert repr(result) == "<EagerResult: a>"
    got: list[Any] = []
    result.then(got.append)
    assert got == [result]
    result.forget()
    result.revoke()
    assert result.status == REVOKED


def test_an_error() -> None:
    result = EagerResult("a", ValueError("no"), FAILURE, traceback="Traceback")
    with pytest.raises(ValueError, match="no"):
        result.get()
    assert isinstance(result.get(propagate=False), ValueError)
    assert (result.failed(), result.traceback) == (True, "Traceback")


def test_it_can_be_awaited_joined_and_pickled() -> None:
    result = EagerResult("a", 1, SUCCESS)

    async def main() -> int:
        return await result

    assert asyncio.run(main()) == 1
    assert ResultSet([result, EagerResult("b", 2, SUCCESS)]).get() == [1, 2]
    assert pickle.loads(pickle.dumps(result)).get() == 1
