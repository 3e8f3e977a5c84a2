"""The mutation test: which mutants there are, and which of them a part of it tries."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from lab.ruleset.iptables import parse
from lab.table import TableError
from lab.topology import load as load_topology
from security.proof.mutants import Mutant, rule_mutants
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


CLAIM = "-A CNET-ORIGIN-ND -s fd00::1/128 -p ipv6-icmp -m icmp6 --icmpv6-type 136"
SAVED = f"""*raw
:CNET-ORIGIN-NODES - [0:0]
[0:0] -A CNET-ORIGIN-NODES -m ipv6header --header hop-by-hop --soft -j CNET-DROP-ipv6-header
[0:0] {CLAIM} -m hl --hl-eq 255 -m u32 --u32 0x2=0x3 -j ACCEPT
[0:0] -A CNET-ORIGIN-ND -s fd00::2/128 -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j RETURN
[0:0] -A CNET-ORIGIN-ND -j CNET-DROP-spoofed-neighbour
COMMIT
"""


def of_ip6tables(saved: str) -> list[Mutant]:
    rules = [replace(rule, table=f"ip6tables {rule.table}") for rule in parse(saved).rules]
    return list(rule_mutants(rules, load_topology("flat")))


def loaded(mutant: Mutant) -> tuple[str, str]:
    """Return the command that makes a mutant, and its first rule."""
    assert isinstance(mutant.change, partial)
    return mutant.change.args[0], mutant.change.keywords["text"].splitlines()[2]


def test_each_match_of_a_rule_for_ipv6_is_removed_with_what_needs_it() -> None:
    mutants = {mutant.what.partition(": ip6tables")[0]: mutant for mutant in of_ip6tables(SAVED)[:8]}
    assert {mutant.tool for mutant in mutants.values()} == {"ip6tables"}
    assert loaded(mutants["without --header hop-by-hop"]) == (
        "ip6tables-restore",
        "-A CNET-ORIGIN-NODES -j CNET-DROP-ipv6-header",
    )
    kept = {what: loaded(mutant)[1] for what, mutant in mutants.items() if what.startswith("without -")}
    assert kept["without --u32 0x2=0x3"] == f"{CLAIM} -m hl --hl-eq 255 -j ACCEPT"
    assert kept["without --hl-eq 255"] == f"{CLAIM} -m u32 --u32 0x2=0x3 -j ACCEPT"
    assert "icmp6" not in kept["without --icmpv6-type 136"]
    assert "icmp6" not in kept["without -p ipv6-icmp"]
    assert "fd00::1" not in kept["without -s fd00::1/128"]


def test_a_match_of_ebtables_that_needs_another_is_removed_with_it() -> None:
    report = "-A CNET-W -p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type 143/0:255 -j CNET-DROP-mld"
    saved = f"*nat\n[0:0] {report}\nCOMMIT\n"
    rules = [replace(rule, table=f"ebtables {rule.table}") for rule in parse(saved).rules]
    kept = {m.what.partition(": ")[0]: loaded(m)[1] for m in rule_mutants(rules, load_topology("flat"))}
    assert kept["without --ip6-proto ipv6-icmp"] == "-A CNET-W -p IPv6 -j CNET-DROP-mld"
    assert kept["without -p IPv6"] == "-A CNET-W -j CNET-DROP-mld"
    assert (
        kept["without --ip6-icmp-type 143/0:255"]
        == "-A CNET-W -p IPv6 --ip6-proto ipv6-icmp -j CNET-DROP-mld"
    )


def test_rules_for_different_ipv6_addresses_may_be_exchanged_and_others_may_not() -> None:
    moved = [mutant.what for mutant in of_ip6tables(SAVED) if mutant.what.startswith("moved up")]
    assert len(moved) == 1
    assert "-j CNET-DROP-spoofed-neighbour" in moved[0]
