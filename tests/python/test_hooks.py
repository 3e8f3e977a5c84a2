"""The picture of the hooks: each built-in chain with a rule of the lab, and the three ways to the published port."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.ruleset.iptables import Rule
from monitoring.hook_drawing import hooks_source
from monitoring.hook_ways import Ways
from security.rules.hooks import ALL_HOOKS, live_hooks

ROOT = Path(__file__).parents[2]
WAYS = Ways(*("from outside", "from a namespace", "from the host", "the target"), "is on")


def rule(place: str, target: str, packets: int = 0, matches: tuple[str, ...] = ()) -> Rule:
    table, _, chain = place.rpartition(" ")
    return Rule(table, chain, 1, matches, target, (), "", packets, 0, f"-A {chain} -j {target}")


RULES = (
    rule("nat PREROUTING", "CNET-PUBLISH", packets=1234),
    rule("nat PREROUTING", "DOCKER", packets=99),
    rule("nat CNET-PUBLISH", "DNAT"),
    rule("nat CNET-PUBLISH", "CNET-MORE"),
    rule("nat CNET-MORE", "CNET-PUBLISH"),  # a circle, which the kernel refuses, must not hang the picture
    rule("ebtables nat PREROUTING", "CNET-FRAMES", packets=7),
    rule("ebtables nat CNET-FRAMES", "RETURN"),
    rule("filter CNET-PUBLISH", "ACCEPT"),  # a chain of that name in another table is another chain
)


def test_a_hook_counts_the_labs_rules_with_those_of_the_chains_that_it_calls() -> None:
    hook = live_hooks(RULES)["nat PREROUTING"]
    assert (hook.calls, hook.rules, hook.matches, hook.translates) == (("CNET-PUBLISH",), 4, 1234, True)
    frames = live_hooks(RULES)["ebtables nat PREROUTING"]
    assert (frames.calls, frames.rules, frames.matches, frames.translates) == (("CNET-FRAMES",), 2, 7, False)
    assert not live_hooks(RULES)["raw PREROUTING"].rules


def test_the_picture_has_every_hook_once_in_the_kernels_order() -> None:
    source = hooks_source(live_hooks(RULES), WAYS)
    named = re.findall(r">((?:ebtables )?\w+ [A-Z]+)</(?:B|FONT)>", source)
    assert set(named) == set(ALL_HOOKS)
    assert {name for name in named if named.count(name) > 1} == {
        "ebtables nat POSTROUTING"
    }  # bridged, and routed
    trunk = [name for name in named if "PREROUTING" in name or "FORWARD" in name]
    assert trunk == [
        *("ebtables nat PREROUTING", "raw PREROUTING", "mangle PREROUTING", "nat PREROUTING"),
        *("ebtables filter FORWARD", "mangle FORWARD", "filter FORWARD", "security FORWARD"),
    ]


def test_only_hooks_with_rules_of_the_lab_are_bold_and_have_counts() -> None:
    source = hooks_source(live_hooks(RULES), WAYS)
    assert re.findall(r"<B>([\w ]+)</B>", source) == ["ebtables nat PREROUTING", "nat PREROUTING"]
    assert "4 rules, 1,234 matches" in source
    assert "DOCKER" not in source


def test_without_a_published_port_there_are_no_ways() -> None:
    assert "\u2460" not in hooks_source(live_hooks(RULES), Ways(netfilter="is on"))
    assert "\u2460" in hooks_source(live_hooks(RULES), WAYS)


@pytest.mark.parametrize("table", ["flat", "tiers"])
def test_every_base_chain_with_a_live_rule_of_the_lab_is_named(tmp_path: Path, table: str) -> None:
    svg = tmp_path / "hooks.svg"
    script = (
        f"export TOPOLOGY={table}; for script in security/policy.sh scripts/network.sh scripts/nat.sh; do "
        f"$script up >/dev/null; done; {sys.executable} -m monitoring.diagram --hooks {svg} >/dev/null; "
        "iptables-save; ebtables-save | sed 's/^[*]/*ebtables /'"
    )
    done = subprocess.run(
        ["scripts/sandbox.sh", "run", "bash", "-ec", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted, place = set(), ""
    for line in done.stdout.splitlines():
        if line.startswith("*"):
            place = line[1:]
        elif found := re.match(r"-A ([A-Z]+) .*-[jg] CNET-", line):
            wanted.add(f"{place} {found[1]}")
    assert len(wanted) > 10
    drawn = html.unescape(svg.read_text()).replace("\u00a0", " ")
    bold = set(re.findall(r'font-weight="bold"[^>]*>([^<]+)</text>', drawn))
    assert wanted == bold
    assert "br_netfilter is on" in drawn
