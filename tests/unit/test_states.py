"""The states and their order."""

from __future__ import annotations

import pytest

from umbel import states
from umbel.states import state


def test_states_compare_by_what_matters_more() -> None:
    assert state(states.PENDING) < state(states.SUCCESS)
    assert state(states.FAILURE) > state(states.REVOKED)
    assert state(states.STARTED) >= state(states.STARTED)
    assert state(states.RETRY) <= state(states.RECEIVED)
    assert state("PENDING") == "PENDING"


def test_a_state_that_a_user_made_up_lies_between_failure_and_revoked() -> None:
    assert state(states.FAILURE) > state("PROGRESS") > state(states.REVOKED)


@pytest.mark.parametrize("name", sorted(states.ALL_STATES))
def test_every_state_is_either_ready_or_not(name: str) -> None:
    assert (name in states.READY_STATES) != (name in states.UNREADY_STATES)
    assert states.precedence(name) == states.PRECEDENCE.index(name)


def test_states_that_raise_are_exceptional_and_final() -> None:
    assert states.PROPAGATE_STATES == states.EXCEPTION_STATES & states.READY_STATES
