"""The hooks of iptables and ebtables: the rules of the lab at each, and how often they matched. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.ruleset.iptables import Rule
from security.rules.described import is_ours
from security.rules.walk import HOOKS

# ebtables' own hooks, as TABLE CHAIN. HOOKS has those of iptables.
FRAME_HOOKS = (
    *("broute BROUTING", "nat PREROUTING", "filter INPUT", "filter FORWARD"),
    *("nat OUTPUT", "filter OUTPUT", "nat POSTROUTING"),
)
ALL_HOOKS = (
    *(f"ebtables {name}" for name in FRAME_HOOKS),
    *(f"{table} {chain}" for chain, tables in HOOKS.items() for table in tables),
)
_TRANSLATIONS = ("DNAT", "REDIRECT", "SNAT", "MASQUERADE")


@dataclass(frozen=True)
class Hook:
    """A built-in chain and what the lab has in it."""

    name: str  # TABLE CHAIN, as in ALL_HOOKS
    calls: tuple[str, ...] = ()  # the lab's chains that it calls directly
    rules: int = 0  # the lab's rules in it, and in all chains that a packet may reach from it
    matches: int = 0  # how often a rule of the lab in the built-in chain itself matched
    translates: bool = False  # one of the rules translates an address


def live_hooks(rules: Iterable[Rule]) -> dict[str, Hook]:
    """Return all hooks by name, also those without a rule of the lab."""
    by_chain: dict[str, list[Rule]] = {}
    for rule in rules:
        if is_ours(rule):
            by_chain.setdefault(f"{rule.table} {rule.chain}", []).append(rule)
    found = {name: _hook(name, by_chain) for name in ALL_HOOKS}
    return found | {name: _hook(name, by_chain) for name in by_chain if "CNET-" not in name}


def _hook(name: str, by_chain: dict[str, list[Rule]]) -> Hook:
    own = by_chain.get(name, [])
    met = [rule for chain in _reachable(name, by_chain) for rule in by_chain.get(chain, [])]
    calls = dict.fromkeys(rule.target for rule in own if rule.target.startswith("CNET-"))
    translates = any(rule.target in _TRANSLATIONS for rule in met)
    return Hook(name, tuple(calls), len(met), sum(rule.packets for rule in own), translates)


def _reachable(name: str, by_chain: dict[str, list[Rule]]) -> Sequence[str]:
    """Return a chain and all that a packet may reach from it, each once."""
    table = name.rpartition(" ")[0]
    found, waiting = [], [name]
    while waiting:
        chain = waiting.pop(0)
        if chain not in found:
            found.append(chain)
            waiting += [f"{table} {rule.target}" for rule in by_chain.get(chain, [])]
    return found
