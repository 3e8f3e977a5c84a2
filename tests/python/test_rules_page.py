"""The page of the lab's rules: read, explained, and written in every form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pages import page_faults

from lab.document import as_markdown
from lab.document_files import write_pdf
from lab.ruleset.iptables import Saved, parse
from lab.terminal import Console
from lab.topology import Topology, load
from security.rules import __main__ as command
from security.rules import described
from security.rules.english import meaning, names_of

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "iptables-save"
SANDBOX = [str(ROOT / "scripts" / "sandbox.sh"), "run"]
PAGE = [sys.executable, "-m", "security.rules"]
GARBLED = '[0:0] -A CNET-REST -m comment --comment "cnet: P0: unended -j ACCEPT'


@pytest.fixture(scope="module")
def flat() -> Topology:
    return load("flat")


@pytest.fixture(scope="module")
def saved() -> Saved:
    return parse((FIXTURES / "lab.txt").read_text())


@pytest.fixture(scope="module")
def page(saved: Saved, flat: Topology) -> described.Page:
    return described.page_of(saved, flat)


def said(rule: str, topology: Topology | None = None, chain: str = "CNET-X") -> str:
    (only,) = parse(f"*filter\n[0:0] -A {chain} {rule}\nCOMMIT\n").rules
    return meaning(only, names_of(topology) if topology else {})


# --- reading


def test_a_recorded_lab_becomes_the_page_that_was_checked_by_eye(page: described.Page) -> None:
    shown = {name: value for name, value in asdict(page).items() if name not in ("generated", "command")}
    assert json.loads(json.dumps(shown)) == json.loads((FIXTURES / "lab.json").read_text())


def test_a_foreign_rule_is_left_out_but_keeps_its_place_in_the_chain(saved: Saved, flat: Topology) -> None:
    foreign = "[0:0] -A FORWARD -i docker0 -j ACCEPT"
    text = f"*filter\n{foreign}\n[0:0] -A FORWARD -j CNET-FORWARD\nCOMMIT\n"
    assert [(row.chain, row.position) for row in described.page_of(parse(text), flat).rows] == [
        ("FORWARD", 2)
    ]
    assert "not of the lab" in [rule.comment for rule in saved.rules]


def test_a_garbled_line_is_reported_and_the_next_rule_keeps_its_position(page: described.Page) -> None:
    (unread,) = page.unread
    assert unread.text == GARBLED
    assert unread.reason.startswith("cannot be split into words")
    assert [row.position for row in page.rows if row.chain == "CNET-REST"] == [2]
    for text in (described.as_json(page), as_markdown(described.as_document(page))):
        assert "unended" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*nat\n-A CNET-X -j DROP\nCOMMIT\n", "not [packets:bytes] -A CHAIN ..."),
        ("[0:0] -A CNET-X -j DROP\n", "a rule outside any table"),
        ("*nat\n[0:0] -A CNET-X -j\nCOMMIT\n", "-j without a target"),
        ("*nat\n[0:0] -A CNET-X -m comment --comment\nCOMMIT\n", "--comment without its match or its text"),
        ("*nat\n:CNET-X - [0:0]\n", "the text ends before the COMMIT of table nat"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_reason(text: str, reason: str) -> None:
    assert [unread.reason for unread in parse(text).unread] == [reason]
    assert parse(text).rules == []


def test_quotes_and_backslashes_are_read_as_iptables_writes_them() -> None:
    (rule,) = parse(
        '*filter\n[3:9] -A X -m comment --comment "say \\"-j\\" \\\\ it\\\'s" -j DROP\nCOMMIT\n'
    ).rules
    assert (rule.comment, rule.target, rule.packets, rule.bytes) == ('say "-j" \\ it\'s', "DROP", 3, 9)


# --- English


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("-j DROP", "All packets: are dropped without a reply."),
        ("! -p icmp -j RETURN", "Packets of any protocol except ICMP: return to the calling chain."),
        (
            "! -s 02:42:0a:00:00:1e -g X",
            "Packets not from MAC 02:42:0a:00:00:1e: continue in X and do not return.",
        ),
        ("! -i a -j ACCEPT", "Packets not coming in on a: are accepted."),
        ("-p udp -m udp ! --sport 1:9 -j X", "UDP packets not with source ports 1 to 9: go to X."),
        (
            "-m conntrack ! --ctstate RELATED,NEW -j DROP",
            "Packets whose connection is not new or related to another: are dropped without a reply.",
        ),
        (
            "-m addrtype ! --dst-type LOCAL -g X",
            "Packets not to the host itself: continue in X and do not return.",
        ),
        (
            "-m mark --mark 0x1 -j DROP",
            "Packets matching `-m mark --mark 0x1`: are dropped without a reply.",
        ),
        (
            "-j MASQUERADE --random-fully",
            "All packets: get the host's own address as their source, with `--random-fully`.",
        ),
        ("-j MARK --set-xmark 0x1/0x1", "All packets: go to MARK, with `--set-xmark 0x1/0x1`."),
    ],
)
def test_a_rule_in_plain_english(rule: str, sentence: str) -> None:
    assert said(rule) == sentence


@pytest.mark.parametrize("chain", ["CNET-FROM-NODES", "CNET-TO-HOST"])
def test_who_returns_from_a_chain_of_the_policy_is_allowed(chain: str) -> None:
    rule = "-p tcp -m tcp --dport 80 -j RETURN"
    assert said(rule, chain=chain) == "TCP packets with destination port 80: are allowed by this chain."


def test_addresses_are_named_by_the_topology(flat: Topology) -> None:
    bridge, node = flat.bridges[0], flat.nodes[0]
    network, address = bridge.address.network, node.address.ip
    assert said(f"-s {network} -d {address}/32 -j DROP", flat).startswith(
        f"Packets from the network of {bridge.name} ({network}) to {node.name} ({address}):"
    )
    assert f"forwarded to {node.name} ({address}) port 80" in said(
        f"-j DNAT --to-destination {address}:80", flat
    )
    assert f"from {address}:" in said(f"-s {address}/32 -j DROP")


# --- the page


def test_a_node_that_goes_out_meets_no_chain_of_published_ports(page: described.Page) -> None:
    into, out, *_, local = page.journeys.values()
    assert into[0] == "nat PREROUTING: CNET-PUBLISH"
    assert not any("CNET-PUBLISH" in station for station in out)
    assert local[1] == "nat OUTPUT: CNET-PUBLISH"
    assert all(journey[-1] == "nat POSTROUTING: CNET-POSTROUTING" for journey in (into, out, local))


def test_on_a_terminal_there_are_tables_and_no_colour_under_no_color(
    page: described.Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" in on_a_terminal(page)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = on_a_terminal(page)
    assert "nginx-lb: forward port" in plain
    assert not any(f"\x1b[3{colour}m" in plain for colour in range(8))


def on_a_terminal(page: described.Page) -> str:
    console = Console(force_terminal=True, color_system="standard", width=200)
    with console.capture() as captured:
        command.print_page(page, console)
    return captured.get()


def test_a_pdf_says_what_could_not_be_read(page: described.Page, tmp_path: Path) -> None:
    write_pdf(described.as_document(page), tmp_path / "rules.pdf")
    assert "unended" in text_of(tmp_path / "rules.pdf")


def text_of(pdf: Path) -> str:
    done = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True)
    return done.stdout


# --- a lab in a sandbox


class Written(NamedTuple):
    """What one run wrote."""

    json: dict[str, Any]
    lines: str
    markdown: str
    pdf: Path


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("rules") / "made when missing"
    pdf, markdown, lines = folder / "rules.pdf", folder / "rules.md", folder.parent / "lines"
    script = (
        "{ scripts/network.sh up; scripts/nat.sh up; } >/dev/null 2>&1"
        ' && "$1" -m security.rules --json --pdf "$2" --markdown "$3"'
        ' && "$1" -m security.rules >"$4"'
    )
    command = [*SANDBOX, "bash", "-c", script, "-", sys.executable, *map(str, (pdf, markdown, lines))]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return Written(json.loads(done.stdout), lines.read_text(), markdown.read_text(), pdf)


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "TOPOLOGY": "flat", **changes}


def test_each_rule_of_a_live_lab_has_a_meaning_and_a_why(live: Written) -> None:
    assert len(live.json["rows"]) >= 13
    for row in live.json["rows"]:
        assert row["why"], row
        assert not row["why"].startswith("no reason"), row
        assert row["meaning"].endswith("."), row
        assert "`" not in row["meaning"], row
    assert live.json["unread"] == []


def test_piped_it_is_a_line_a_rule_and_plain(live: Written) -> None:
    lines = [line for line in live.lines.splitlines() if not line.startswith("#")]
    assert lines[0].split("\t") == list(described.COLUMNS)
    assert len(lines) == len(live.json["rows"]) + 1
    assert "\x1b" not in live.lines


def test_pdf_and_markdown_hold_every_chain_and_how_they_were_made(live: Written) -> None:
    assert live.pdf.read_bytes().startswith(b"%PDF")
    for text in (text_of(live.pdf), live.markdown):
        for row in live.json["rows"]:
            assert f"{row['table']} {row['chain']}\n" in text
        assert "python -m security.rules --json --pdf" in text
        assert all(journey in text for journey in live.json["journeys"])
    assert "page 1" in text_of(live.pdf)
    assert page_faults(live.pdf) == []


# --- nothing to show


def test_without_a_lab_it_says_so_in_one_line() -> None:
    assert refusal([*SANDBOX, *PAGE]) == "rules: no rule of the lab is live: sudo make up\n"


def test_without_iptables_save_it_says_so_in_one_line() -> None:
    command = [*SANDBOX, "env", "PATH=/nowhere", *PAGE]
    assert refusal(command) == "rules: iptables-save is not installed; run scripts/install.sh up\n"


def test_without_root_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command.main([]) == 1
    assert capsys.readouterr() == ("", "rules: reading the live rules needs root; try sudo\n")


def refusal(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr
