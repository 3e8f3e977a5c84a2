"""The mutation test: which mutants a part of it tries."""

from __future__ import annotations

import pytest

from lab.table import TableError
from security.proof.mutants import Mutant
from security.proof.mutation import _part

MUTANTS = [Mutant(str(number), lambda: None, lambda: None) for number in range(7)]


def tried(part: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("PART", part)
    return [mutant.what for mutant in _part(MUTANTS)]


def test_the_parts_together_are_all_mutants_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [tried(f"{number}/3", monkeypatch) for number in (1, 2, 3)]
    assert parts[1] == ["1", "4"]
    assert tried("", monkeypatch) == [mutant.what for mutant in MUTANTS]
    assert sorted(what for part in parts for what in part) == tried("", monkeypatch)


@pytest.mark.parametrize("part", ["0/3", "4/3", "2", "2/0", "a/b", "-1/3", "1/3/5"])
def test_a_part_that_is_none_is_refused(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match=f"PART={part}: must be a part of a whole, such as 2/3"):
        tried(part, monkeypatch)
