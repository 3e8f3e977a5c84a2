"""Exercises without a lab: the catalogue, the variables of a seed, grades, scores, the file of attempts, the report."""

from __future__ import annotations

import re
import shutil
from argparse import Namespace
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from faults.exercises import catalogue, texts
from faults.exercises.behaviour import Behaviour
from faults.exercises.catalogue import CatalogueError, Fault, fill_in, find_fault, load_catalogue, read_fault
from faults.exercises.check import Grade, both, grades
from faults.exercises.listing import as_json
from faults.exercises.progress import (
    Attempt,
    Outcome,
    hint_cost,
    points_of,
    progress_of,
)
from faults.exercises.report import as_page, write_report
from faults.exercises.rows import rows_of
from faults.exercises.session import choose
from faults.exercises.targets import variables
from lab.topology import ROOT, load

EXAMPLE = "mtu-of-port"
ATTEMPT = Attempt(
    exercise="large-answers-never-arrive",
    seed=7,
    topology="flat",
    here=False,
    began="2026-11-28T10:00:00+00:00",
    seconds=250,
    outcome=Outcome.SOLVED,
    score=45,
    points=60,
    hints=1,
    checks=3,
    resets=0,
)


@pytest.fixture
def own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "faults/catalogue" / EXAMPLE, tmp_path / EXAMPLE)
    monkeypatch.setattr(catalogue, "CATALOGUE", tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- the catalogue --------------------------------------------------------------------------------------


def test_every_text_of_every_fault_can_be_filled_in_on_each_of_its_topologies() -> None:
    assert load_catalogue()
    for fault in load_catalogue():
        for name in fault.topologies:
            chosen = variables(fault, 1, load(name))
            for text in (fault.symptom, *fault.hints, *vars(fault.cause).values()):
                assert fill_in(text, chosen), fault.name


def test_no_title_or_symptom_names_the_cause() -> None:
    for fault in load_catalogue():
        assert fault.name not in (fault.slug, fault.title.lower().replace(" ", "-"))
        assert len(fault.title) <= 50, fault.name


def test_a_fault_that_changes_more_of_the_host_than_the_lab_needs_a_sandbox() -> None:
    marked = {fault.name for fault in load_catalogue() if fault.beyond_the_lab}
    for fault in load_catalogue():
        commands = (fault.folder / "break.sh").read_text()
        beyond = re.search(
            r"dd if=|\.\$UPLINK\.|net\.netfilter|^sysctl .* net\.ipv4\.(?!conf\.)|hard_code|conntrack -R"
            r'|-I (PREROUTING|OUTPUT) 1 -p tcp --dport "\$PUBLISHED"',  # to that port of any machine
            commands,
            re.M,
        )
        assert bool(beyond) == (fault.name in marked), fault.name
    here = Namespace(name="disk-full", level=None, here=True)
    with pytest.raises(CatalogueError, match="leave out HERE=1"):
        choose(here, [], "flat")
    assert choose(Namespace(name="disk-full", level=None, here=False), [], "flat").name == "disk-full"
    solved = [replace(ATTEMPT, exercise=fault.slug) for fault in load_catalogue() if not fault.beyond_the_lab]
    assert not choose(Namespace(name=None, level=None, here=True), solved, "flat").beyond_the_lab


def test_an_exercise_is_found_by_its_name_its_title_and_its_folder() -> None:
    fault = find_fault(EXAMPLE)
    assert find_fault(fault.slug) == fault
    assert find_fault(fault.title) == fault
    with pytest.raises(CatalogueError, match="there is no exercise nothing; `make exercises` lists them"):
        find_fault("nothing")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("level = 3", "level = 9", "level: 9 is not 1 to 5"),
        ('area = "link"', 'area = "cable"', "area: cable is none of link, address"),
        ('lesson = "network"', 'lesson = "nowhere"', "lesson: docs/lessons has no nowhere.md"),
        ("level = 3", "level = 3\nlevels = 3", "levels"),
        ("level = 3", "", "level"),
        ('kind = "mtu"', "", "kind"),
        ("[cause]", "[reason]", "cause"),
        ("level = 3", "level = three", "at line 2"),
    ],
)
def test_an_invalid_fault_names_its_file_and_the_reason(
    own_catalogue: Path, old: str, new: str, reason: str
) -> None:
    path = own_catalogue / EXAMPLE / "fault.toml"
    change(path, old, new)
    with pytest.raises(CatalogueError) as error:
        read_fault(EXAMPLE)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)


@pytest.mark.parametrize("file", ["break.sh", "repairs.sh", "explanation.md"])
def test_a_fault_without_one_of_its_files_is_invalid(own_catalogue: Path, file: str) -> None:
    (own_catalogue / EXAMPLE / file).unlink()
    with pytest.raises(CatalogueError, match=f"fault.toml: there is no {file} beside it"):
        read_fault(EXAMPLE)


def test_a_fault_needs_two_right_and_two_wrong_repairs(own_catalogue: Path) -> None:
    change(own_catalogue / EXAMPLE / "repairs.sh", "wrong_flush_the_policy", "flush_the_policy")
    with pytest.raises(CatalogueError, match=r"at least 2 functions right_\.\.\. and 2 wrong_"):
        read_fault(EXAMPLE)


def test_two_faults_have_not_the_same_title(own_catalogue: Path) -> None:
    shutil.copytree(own_catalogue / EXAMPLE, own_catalogue / "another")
    with pytest.raises(CatalogueError, match=r"title: \S+ has the same"):
        load_catalogue()


# --- the seed -------------------------------------------------------------------------------------------


def test_the_same_seed_chooses_the_same_and_seeds_differ() -> None:
    fault, topology = find_fault(EXAMPLE), load("flat")
    chosen = [variables(fault, seed, topology) for seed in range(1, 9)]
    assert chosen == [variables(fault, seed, topology) for seed in range(1, 9)]
    assert len({values["NODE"] for values in chosen}) > 1
    assert len({values["FREE_ADDRESS"] for values in chosen}) > 1


@pytest.mark.parametrize("table", ["flat", "tiers"])
def test_the_chosen_nodes_run_what_the_fault_wants_and_are_apart(table: str) -> None:
    fault, topology = find_fault(EXAMPLE), load(table)
    for seed in range(20):
        chosen = variables(fault, seed, topology)
        assert chosen["PROGRAM"] in fault.node
        assert len({chosen[f"{prefix}NAMESPACE"] for prefix in ("", "PEER_", "OTHER_")}) == 3
        assert chosen["FREE_ADDRESS"] not in {str(node.address.ip) for node in topology.nodes}


def test_a_fault_for_a_program_that_no_node_runs_says_so() -> None:
    fault = replace(find_fault(EXAMPLE), node=["mail"])
    with pytest.raises(CatalogueError, match="has no node that runs mail"):
        variables(fault, 1, load("flat"))


# --- grades and scores ----------------------------------------------------------------------------------


def test_each_behaviour_is_graded_by_what_it_was_after_the_break() -> None:
    after_break = [Behaviour("a", True), Behaviour("b", False), Behaviour("c", False), Behaviour("d", True)]
    now = [Behaviour("a", True), Behaviour("b", True), Behaviour("c", False), Behaviour("d", False)]
    seen = [*now, Behaviour("too late then", False), Behaviour("too late then, too", True)]
    assert [grade for grade, _ in grades(seen, after_break)] == [
        Grade.WORKS,
        Grade.REPAIRED,
        Grade.BROKEN,
        Grade.BROKEN_BY_YOU,
        Grade.BROKEN,
        Grade.WORKS,
    ]


def test_what_failed_in_one_of_two_looks_counts_as_broken_by_the_fault() -> None:
    first = [Behaviour("a", True), Behaviour("b", False, "lost"), Behaviour("c", True)]
    second = [Behaviour("a", True), Behaviour("c", False), Behaviour("group", False)]
    found = {one.name: one.works for one in both(first, second)}
    assert found == {"a": True, "b": False, "c": False, "group": False}


def test_a_hint_costs_a_quarter_and_all_three_leave_a_quarter() -> None:
    for fault in load_catalogue():
        assert points_of(fault) == 20 * fault.level
        assert points_of(fault) - 3 * hint_cost(fault) == points_of(fault) // 4


def test_the_best_score_counts_and_of_equal_ones_the_fastest() -> None:
    attempts = [
        replace(ATTEMPT, outcome=Outcome.LEFT, score=0, seconds=5),
        ATTEMPT,
        replace(ATTEMPT, seconds=200, began="2026-11-29T10:00:00+00:00"),
        replace(ATTEMPT, score=30, seconds=10),
        replace(ATTEMPT, exercise="another", score=60),
    ]
    progress = progress_of(ATTEMPT.exercise, attempts)
    assert (progress.attempts, progress.solved, progress.best_score, progress.best_seconds) == (
        4,
        True,
        45,
        200,
    )
    assert progress.last == "2026-11-29T10:00:00+00:00"
    assert not progress_of(ATTEMPT.exercise, attempts[:1]).solved


# --- what is printed ------------------------------------------------------------------------------------


def secrets_of(fault: Fault) -> list[str]:
    return [fault.name, fault.mechanism, fault.cause.kind + '"', *fault.hints]


def test_the_list_and_the_report_do_not_tell_the_cause(tmp_path: Path) -> None:
    rows = rows_of(load_catalogue(), [ATTEMPT])
    page, table = write_report(rows, "learner", tmp_path)
    for text in (as_json(rows, "learner"), unescape(page.read_text()), table.read_text()):
        for fault in load_catalogue():
            assert fault.title in text
            assert [secret for secret in secrets_of(fault) if secret in text] == []


def test_the_page_escapes_a_name_and_the_csv_has_no_formula(tmp_path: Path) -> None:
    rows = rows_of(load_catalogue(), [])
    assert "<b>x" not in as_page(rows, "<b>x", "now")
    _, table = write_report(rows, "=x()", tmp_path)
    assert "\n'=x()," in table.read_text()


def test_a_repair_is_printed_with_its_commands_and_the_names_of_this_seed() -> None:
    fault = find_fault(EXAMPLE)

    class Place:
        pass

    place = Place()
    place.fault, place.variables = fault, variables(fault, 1, load("flat"))  # type: ignore[attr-defined]
    found = dict(texts.repairs(place))  # type: ignore[arg-type]
    port = place.variables["PORT"]  # type: ignore[attr-defined]
    assert found["set the mtu of the port"] == f'ip link set "{port}" mtu 1500'
    assert found["compare with the table"] == "scripts/network.sh up"


def test_every_right_repair_of_the_catalogue_has_commands_to_print() -> None:
    for fault in load_catalogue():

        class Place:
            pass

        place = Place()
        place.fault, place.variables = fault, {}  # type: ignore[attr-defined]
        assert len(dict(texts.repairs(place))) == len(fault.repairs), fault.name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (250, "4 min 10 s"), (3900, "1 h 5 min")]
)
def test_a_duration_is_in_two_units(seconds: int, words: str) -> None:
    assert texts.duration(seconds) == words
