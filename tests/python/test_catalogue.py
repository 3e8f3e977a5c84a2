"""The catalogue of faults: each folder is valid, its texts can be filled in for every seed, and name no cause."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from faults.chaos.promises import load_promises
from faults.exercises import catalogue, confusion, pairs
from faults.exercises.catalogue import CATALOGUE, Fault, fill_in, load_catalogue
from faults.exercises.confusion import Confusion
from faults.exercises.targets import variables
from faults.exercises.trial import Trial
from lab.topology import ROOT, load
from security.diagnose.finding import Kind

FAULTS = load_catalogue()
FAULTS_BY_NAME = {fault.name: fault for fault in FAULTS}
CHAOS = ROOT / "faults" / "chaos"
MAX_TITLE = 50
LABS = {name: load(str(ROOT / "topology" / f"{name}.tsv")) for name in ("flat", "tiers")}
each = pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])


@each
def test_a_fault_has_a_short_title_a_known_kind_and_texts_that_every_seed_can_fill_in(fault: Fault) -> None:
    assert len(fault.title) <= MAX_TITLE
    assert fault.cause.kind in set(Kind)
    explanation = (fault.folder / "explanation.md").read_text()
    for name in fault.topologies:
        for seed in range(1, 6):
            found = variables(fault, seed, LABS[name])
            for text in (fault.symptom, *fault.hints, *vars(fault.cause).values(), fault.status, explanation):
                fill_in(text, found)


@each
def test_its_commands_begin_with_the_line_for_shellcheck(fault: Fault) -> None:
    for name in ("break.sh", "repairs.sh"):
        first = (fault.folder / name).read_text().partition("\n")[0]
        assert first == "# shellcheck shell=bash disable=SC2154 # variables of targets.py"


@each
def test_title_and_symptom_do_not_name_the_fault(fault: Fault) -> None:
    for text in (fault.title, fault.symptom):
        assert fault.name not in text.lower()


def test_the_same_seed_chooses_the_same_nodes_and_a_given_node_is_kept() -> None:
    fault = FAULTS[0]
    assert variables(fault, 7, LABS["flat"]) == variables(fault, 7, LABS["flat"])
    for node in LABS["flat"].nodes:
        assert variables(fault, 7, LABS["flat"], node.name)["NODE"] == node.name


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("level = 3", "level = 6", "level: 6 is not 1 to 5"),
        ('area = "link"', 'area = "wire"', "area: wire is none of"),
        ('lesson = "network"', 'lesson = "nowhere"', "docs/lessons has no nowhere.md"),
        ("[cause]", 'status = "("\n[cause]', "status: "),
        ("[cause]", "[case]", "KeyError|cause"),
    ],
)
def test_a_field_that_is_not_valid_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, wrong: str, message: str
) -> None:
    shutil.copytree(CATALOGUE / "mtu-of-port", tmp_path / "copy")
    path = tmp_path / "copy" / "fault.toml"
    text = re.sub(r"^(status|up_heals) = .*\n", "", path.read_text(), flags=re.MULTILINE)
    path.write_text(text.replace(line, wrong, 1))
    monkeypatch.setattr(catalogue, "CATALOGUE", tmp_path)
    with pytest.raises(catalogue.CatalogueError, match=message):
        catalogue.read_fault("copy")


# --- chaos ----------------------------------------------------------------------------------------------


def test_each_fault_of_chaos_is_one_of_the_catalogue_or_has_its_own_begin_and_end() -> None:
    promises = load_promises()
    functions = re.findall(r"^(begin|end)_(\w+)\(\)", (CHAOS / "faults.sh").read_text(), re.MULTILINE)
    listed = (CHAOS / "catalogue.sh").read_text().partition("IN_CATALOGUE=(")[2].partition(")")[0]
    in_catalogue = dict(re.findall(r"\[(\w+)\]=([a-z-]+)", listed))
    for promise in promises:
        if promise.fault in in_catalogue:
            assert (CATALOGUE / in_catalogue[promise.fault] / "break.sh").is_file()
            continue
        assert ("begin", promise.fault) in functions
        assert ("end", promise.fault) in functions
    begun = {name for end, name in functions if end == "begin"}
    assert begun.isdisjoint(in_catalogue), "a fault is defined once"
    assert begun | set(in_catalogue) == {promise.fault for promise in promises}


# --- two at once ----------------------------------------------------------------------------------------


def test_faults_of_one_node_are_no_pair_and_those_of_two_are() -> None:
    one, *others = (
        Trial.of(FAULTS_BY_NAME[name], seed, LABS["flat"], Path())
        for name in ("mtu-of-port", "mtu-inside")
        for seed in range(1, 30)
    )
    inside = [trial for trial in others if trial.fault.name == "mtu-inside"]
    same = next(trial for trial in inside if trial.environment["NODE"] == one.environment["NODE"])
    other = next(trial for trial in inside if trial.environment["NODE"] != one.environment["NODE"])
    assert pairs.hides_each_other(pairs.Pair(one, same))
    assert not pairs.hides_each_other(pairs.Pair(one, other))
    other.cause["kind"] = Kind.DISK_FULL
    assert pairs.hides_each_other(pairs.Pair(one, other))


def test_each_seed_chooses_its_own_pair_of_two_areas() -> None:
    faults = [fault for fault in FAULTS if "flat" in fault.topologies]
    if len({fault.area for fault in faults}) == 1:
        pytest.skip("kernel: one area")
    chosen = [pairs.choose_pair(faults, seed, LABS["flat"], Path()) for seed in range(1, 21)]
    assert all(pair and pair.first.fault.area != pair.second.fault.area for pair in chosen)
    assert len(set(map(str, chosen))) > 1


# --- the confusion table --------------------------------------------------------------------------------


def test_the_confusion_table_has_a_row_for_each_cause_in_the_rank_and_a_column_for_each_named_kind(
    tmp_path: Path,
) -> None:
    table: Confusion = Counter({("arp-off", "arp-off"): 1, ("mtu", "mtu"): 2, ("mtu", "link-down"): 1})
    confusion.write(table, tmp_path / "confusion.csv")
    assert (tmp_path / "confusion.csv").read_text().splitlines() == [
        "cause,link-down,mtu,arp-off",
        "mtu,1,2,0",
        "arp-off,0,0,1",
    ]
