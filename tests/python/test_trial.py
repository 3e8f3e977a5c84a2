"""The trial of exercises: what it tries of a fault, and what it says of status and `make up`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from faults.exercises import trial
from faults.exercises.catalogue import read_fault
from faults.exercises.trial import UP, Trial
from lab.topology import ROOT, load

FLAT = load(ROOT / "topology" / "flat.tsv")
FAULT = read_fault("mtu-of-port")
FOREIGN = "foreign  rule X; it is not the lab's, remove it: sudo iptables -D FORWARD -j DROP"
Commands = list[tuple[str, ...]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], Commands]:
    """Return a function that sets what status says, and returns the list of the commands that follow."""
    monkeypatch.setattr(trial, "RED_SECONDS", 0.0)

    def answer(status: int, output: str) -> Commands:
        seen: Commands = []

        def output_of(*command: str) -> tuple[int, str]:
            if command[-1] == "status":
                return status, output
            if "DRY_RUN=1" in command[-1]:
                return 1, output
            seen.append(tuple(word.removeprefix(f"{ROOT}/") for word in command))
            return 0, ""

        monkeypatch.setattr(trial, "_output", output_of)
        return seen

    return answer


def make(**fields: object) -> Trial:
    return Trial.of(replace(FAULT, **fields), 1, FLAT, Path())  # type: ignore[arg-type] # fields by name


PARTS = [(f"{script}", "up") for script in ("security/policy.sh", "scripts/network.sh", "scripts/nat.sh")]


def test_up_alone_is_tried_where_the_fault_claims_that_it_heals(
    commands: Callable[[int, str], Commands],
) -> None:
    seen = commands(1, FOREIGN)
    assert make(up_heals=True).repair_by_up() == ""
    assert seen == [*PARTS, ("scripts/services.sh", "up")]


def test_else_the_commands_that_status_names_come_before_up(commands: Callable[[int, str], Commands]) -> None:
    seen = commands(1, FOREIGN)
    assert make(up_heals=False).repair_by_up() == ""
    assert seen[0] == ("bash", "-c", "iptables -D FORWARD -j DROP")
    assert seen[1:4] == PARTS


def test_where_status_names_no_command_the_break_is_undone(
    commands: Callable[[int, str], Commands], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, undone = commands(1, "not-ready  nginx-lb"), list[str]()

    def run(_: Trial, function: str) -> str:
        undone.append(function)
        return ""

    monkeypatch.setattr(Trial, "run", run)
    assert make(up_heals=False).repair_by_up() == ""
    assert (seen, undone) == ([], [FAULT.repairs[0]])


@pytest.mark.parametrize(
    ("status", "output", "is_named"),
    [
        (1, "missing  10.0.0.30 is up", True),
        (0, "missing  10.0.0.30 is up", False),  # status is content
        (1, "missing  10x0y0z30 is up", False),  # a value is no pattern
        (1, "surplus  10.0.0.30 is up", False),
    ],
)
def test_status_must_fail_and_say_what_the_fault_claims(
    commands: Callable[[int, str], Commands], status: int, output: str, is_named: bool
) -> None:
    commands(status, output)
    tried = make(status="^missing .*$WANTED is up")
    tried = replace(tried, environment={**tried.environment, "WANTED": "10.0.0.30"})
    assert bool(list(tried._status_says())) != is_named


def test_all_repairs_are_tried_and_of_a_sample_one_right_and_one_wrong() -> None:
    claimed, plain = make(status="x"), make(status="")
    assert claimed.all_repairs() == [*FAULT.repairs, UP, *FAULT.wrong_repairs]
    assert plain.all_repairs() == [*FAULT.repairs, *FAULT.wrong_repairs]
    for seed in range(1, 7):
        right, wrong = claimed.some_repairs(seed)
        assert right in {*FAULT.repairs, UP}
        assert wrong in FAULT.wrong_repairs
    assert {claimed.some_repairs(seed)[0] for seed in range(3)} == {*FAULT.repairs, UP}


def test_an_exercise_that_does_not_exist_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert trial.main(["nowhere"]) == 2
    assert (
        capsys.readouterr().err
        == "exercise-test: there is no exercise nowhere; `make exercises` lists them\n"
    )
