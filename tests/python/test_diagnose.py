"""`make diagnose`: the rank of its findings, what it prints, its JSON and exit status, the line that names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab.messages import DIAGNOSE
from lab.topology import ROOT
from monitoring.dashboard import page
from security.diagnose import __main__ as program
from security.diagnose.finding import CONSEQUENCES, Evidence, Finding, Kind, ranked
from security.diagnose.observed import Observed

REFERENCE = ROOT / "docs" / "reference" / "diagnose.md"


def finding(kind: Kind, of: str = "veth-a", **fields: Any) -> Finding:
    return Finding(
        **{
            "kind": kind,
            "object": of,
            "place": "host",
            "cause": f"{of} has a {kind}",
            "breaks": "all traffic of a",
            "repair": ("sudo ip link set veth-a up",),
            "evidence": (Evidence(command="ip link show veth-a", line="veth-a: state DOWN"),),
            **fields,
        }
    )


def test_causes_come_before_their_consequences_and_each_finding_once() -> None:
    found = [finding(Kind.NOT_READY), finding(Kind.UNREACHABLE), finding(Kind.MTU), finding(Kind.MTU)]
    assert [item.kind for item in ranked(found)] == [Kind.MTU, Kind.NOT_READY, Kind.UNREACHABLE]
    assert list(Kind)[-len(CONSEQUENCES) :] == list(CONSEQUENCES)


def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: list[Finding], *words: str
) -> tuple[int, str]:
    def check(_: Observed) -> Iterator[Finding]:
        yield from found

    monkeypatch.setattr(program, "CHECKS", (check,))
    return program.main(words), capsys.readouterr().out


def test_no_finding_is_exit_status_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = run_main(monkeypatch, capsys, [])
    assert (status, printed.split(" (")[0]) == (0, "no findings")


def test_a_finding_is_printed_with_its_evidence_its_effect_and_its_repair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = run_main(monkeypatch, capsys, [finding(Kind.LINK_DOWN)])
    assert status == 1
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[:4] == [
        "1. veth-a has a link-down",
        "seen veth-a: state DOWN",
        "ip link show veth-a",
        "breaks all traffic of a",
    ]
    assert lines[4] == "repair sudo ip link set veth-a up"
    assert lines[5].startswith("1 finding (")


def test_json_has_each_field_of_each_finding_and_the_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = run_main(monkeypatch, capsys, [finding(Kind.MTU), finding(Kind.NOT_READY)], "--json")
    document = json.loads(printed)
    assert (status, set(document)) == (1, {"findings", "seconds"})
    assert [item["kind"] for item in document["findings"]] == ["mtu", "not-ready"]
    assert all(
        set(item) == {"kind", "object", "place", "cause", "breaks", "repair", "evidence"}
        for item in document["findings"]
    )
    assert document["findings"][0]["evidence"] == [
        {"command": "ip link show veth-a", "line": "veth-a: state DOWN"}
    ]


def test_a_lab_that_cannot_be_read_is_exit_status_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(_: Observed) -> Iterator[Finding]:
        raise OSError("no such namespace")

    monkeypatch.setattr(program, "CHECKS", (check,))
    assert program.main([]) == 3
    assert capsys.readouterr().err == "diagnose: no such namespace\n"


def test_bash_and_python_lead_to_it_with_the_same_words() -> None:
    common = (ROOT / "scripts" / "lib" / "common.sh").read_text()
    assert re.findall(r"^export DIAGNOSE='(.*)'$", common, re.MULTILINE) == [DIAGNOSE]


def test_the_reference_lists_every_kind_in_the_order_of_the_rank() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", REFERENCE.read_text(), re.MULTILINE)
    assert listed == [kind.value for kind in Kind]


def shown(component: Any) -> str:
    """Return the text of a component of Dash."""
    if isinstance(component, str):
        return component
    children = component if isinstance(component, (list, tuple)) else getattr(component, "children", None)
    return " ".join(map(shown, children)) if isinstance(children, (list, tuple)) else shown(children or "")


def test_the_dashboard_shows_cause_evidence_effect_and_repair_and_why_there_is_no_answer() -> None:
    found = {"findings": [finding(Kind.MTU).as_dict()], "seconds": 0.8}
    for words in (
        "veth-a has a mtu",
        "Breaks: all traffic of a",
        "ip link show veth-a",
        "veth-a: state DOWN",
        "sudo ip",
    ):
        assert words in shown(page.diagnosis(found))
    assert "No findings (0.8 s)" in shown(page.diagnosis({"findings": [], "seconds": 0.8}))
    assert (
        shown(page.diagnosis({"error": "the lab is not up: sudo make up"}))
        == "the lab is not up: sudo make up"
    )
