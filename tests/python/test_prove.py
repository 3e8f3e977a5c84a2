"""What the proof prints: a few differences one by one, many by kind, and lines where a matrix has no room."""

from __future__ import annotations

import io

from lab.terminal import Console
from security.policy.table import load
from security.proof.probe import ProbeResult
from security.proof.proof import Difference, Proof
from security.proof.report import group_differences, print_proof

ARRIVED = "the rule that should drop it is missing, or packets do not reach it"


def printed(proof: Proof, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_proof(proof, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def proof_of(results: tuple[ProbeResult, ...] = (), differences: tuple[Difference, ...] = ()) -> Proof:
    return Proof(load(), results, (), differences, 1.0)


def test_a_few_differences_are_said_one_by_one() -> None:
    few = [Difference(f"flow {number}", "must be dropped by default; it was lost") for number in range(10)]
    assert list(group_differences(few)) == [f"{each.flow}: {each.why}" for each in few]


def test_many_differences_are_said_by_kind_with_the_first_and_the_count() -> None:
    many = [
        Difference(f"flow {n}", f"must be dropped by default; it arrived: {ARRIVED}") for n in range(1100)
    ]
    many.insert(7, Difference("a burst", "gateway allows at most 20; 60 passed"))
    assert list(group_differences(many)) == [
        f"flow 0: must be dropped by default; it arrived: {ARRIVED} (1099 more like it)",
        "a burst: gateway allows at most 20; 60 passed",
    ]
    lines = printed(proof_of(differences=tuple(many)), 200)
    assert "  they may have one cause: sudo make status lists the differences from the tables" in lines


def test_where_the_matrix_has_no_room_there_are_lines_and_no_word_is_broken() -> None:
    wide, narrow = printed(proof_of(), 200), printed(proof_of(), 80)
    assert "service-registry   host   world" in wide[2]
    assert narrow[2].split() == ["from", "to", "ports"]
    assert max(map(len, narrow[:-1])) <= 80
    assert any(line.startswith(" service-registry   none") for line in narrow)
