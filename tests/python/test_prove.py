"""What the proof prints: a few differences one by one, many by kind, and lines where a matrix has no room."""

from __future__ import annotations

import io

from lab.terminal import Console
from security.policy.table import load
from security.proof.__main__ import grouped, show
from security.proof.outcome import Outcome
from security.proof.report import Difference, Proof

ARRIVED = "the rule that should drop it is missing, or is not asked"


def printed(proof: Proof, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    show(proof, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def proof_of(outcomes: tuple[Outcome, ...] = (), differences: tuple[Difference, ...] = ()) -> Proof:
    return Proof(load(), outcomes, (), differences, 1.0)


def test_a_few_differences_are_said_one_by_one() -> None:
    few = [Difference(f"flow {number}", "must be dropped by default; it was lost") for number in range(10)]
    assert list(grouped(few)) == [f"{each.flow}: {each.why}" for each in few]


def test_many_differences_are_said_by_kind_with_the_first_and_the_count() -> None:
    many = [
        Difference(f"flow {n}", f"must be dropped by default; it arrived: {ARRIVED}") for n in range(1100)
    ]
    many.insert(7, Difference("a burst", "at most 20 may pass, gateway says; 60 did"))
    assert list(grouped(many)) == [
        f"flow 0: must be dropped by default; it arrived: {ARRIVED} (1099 more like it)",
        "a burst: at most 20 may pass, gateway says; 60 did",
    ]
    lines = printed(proof_of(differences=tuple(many)), 200)
    assert "  one cause may be behind them: sudo make status names what drifted" in lines


def test_where_the_matrix_has_no_room_there_are_lines_and_no_word_is_broken() -> None:
    wide, narrow = printed(proof_of(), 200), printed(proof_of(), 80)
    assert "service-registry   host   world" in wide[2]
    assert narrow[2].split() == ["from", "to", "ports"]
    assert max(map(len, narrow[:-1])) <= 80
    assert any(line.startswith(" service-registry   nobody") for line in narrow)
