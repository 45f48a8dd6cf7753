"""Tables and numbers for a terminal."""

from __future__ import annotations

import pytest

from umbel.cli.table import ago, number, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = table(["NAME", "N"], [["a", "1"], ["longer", "1,000"]], right=(1,))
    assert list(text.splitlines())[1:] == ["a           1", "longer  1,000"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.0123, "12 ms"), (59, "59 s"), (150, "2 min 30 s"), (7300, "2 h 1 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_told_in_words(seconds: float | None, words: str) -> None:
    assert ago(seconds) == words


def test_an_unknown_count_is_a_question_mark() -> None:
    assert (number(None), number(1234)) == ("?", "1,234")
