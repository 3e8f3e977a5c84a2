"""Walk the lab's packets through chains, and collect the rules of others that drop or rewrite them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lab.ruleset import OWN_PREFIX
from lab.ruleset.model import Action, BaseChain, Chains, HostRule, Step
from lab.topology import Topology
from security.diagnose.conditions import all_hold, name_something, names_lab
from security.diagnose.crossings import Crossing

_HARMS = (Action.BLOCK, Action.REDIRECT, Action.CHANGE)
_DEPTH = 20  # chains that call each other


@dataclass
class Met:
    """A rule of others, or a policy of a chain that drops (then `rule` is None), and the packets that meet it."""

    base: BaseChain
    rule: HostRule | None
    action: Action
    packets: list[Crossing] = field(default_factory=list)
    is_certain: bool = False  # it matches some packet for sure
    is_named: bool = False  # it, or a rule that calls its chain, names an address, interface or port


class Walk:
    """A walk through the chains of one tool in one namespace."""

    def __init__(self, chains: Chains, topology: Topology, host: set[str]) -> None:
        self._chains, self._topology, self._host = chains, topology, host
        self._met: dict[int, Met] = {}
        self._base = BaseChain(name="", hook="")

    def rules_met(self, bases: Iterable[BaseChain], packets: Sequence[Crossing]) -> list[Met]:
        """Return the rules and policies of these base chains that the packets meet and that matter to the lab."""
        for base in bases:
            if self._may_harm(base.name) or base.policy == "drop":
                self._base = base
                for packet in filter(_passes(base), packets):
                    self._walk_base(packet)
        return [met for met in self._met.values() if self._matters(met)]

    def _may_harm(self, chain: str, depth: int = 0) -> bool:
        """Decide whether a chain, or one that it calls, has a rule of others that drops or rewrites."""
        return depth < _DEPTH and any(
            step.action in _HARMS or (step.action == Action.CALL and self._may_harm(step.chain, depth + 1))
            for step in self._chains.steps.get(chain, ())
            if not step.own_chain and not _is_own(chain)
        )

    def _matters(self, met: Met) -> bool:
        if met.action == Action.CHANGE and not met.is_named:
            return False
        if met.is_named or met.is_certain or met.rule is None:
            return True
        return names_lab(met.rule.text, self._topology)

    def _walk_base(self, packet: Crossing) -> None:
        self._is_sure = True  # no rule before may have accepted the packet
        is_decided = self._walk(self._base.name, packet, is_certain=True, is_named=False)
        if not is_decided and self._is_sure and self._base.policy == "drop" and not _is_own(self._base.name):
            met = self._met.setdefault(id(self._base), Met(self._base, None, Action.BLOCK))
            met.packets.append(packet)
            met.is_certain = True

    def _walk(
        self, chain: str, packet: Crossing, *, is_certain: bool, is_named: bool, depth: int = 0
    ) -> bool:
        """Walk one chain; return whether the packet's fate in this base chain is decided for sure."""
        for step in self._chains.steps.get(chain, ()) if depth < _DEPTH else ():
            matched = all_hold(step.conditions, packet, self._host)
            if matched is False:
                continue
            sure = is_certain and matched is True
            named = is_named or name_something(step.conditions)
            if step.action in _HARMS:
                self._note(step, packet, chain, is_certain=sure, is_named=named)
            if step.action == Action.CALL:
                is_decided = self._walk(step.chain, packet, is_certain=sure, is_named=named, depth=depth + 1)
                if sure and (is_decided or step.goto):
                    return is_decided
            elif step.action == Action.RETURN and matched:
                return False
            elif self._ends(step, packet) and matched:
                return True
            elif step.action == Action.ACCEPT:
                self._is_sure = False
        return False

    def _ends(self, step: Step, packet: Crossing) -> bool:
        is_nat = self._base.name.startswith("nat ")
        return step.action in (Action.ACCEPT, Action.BLOCK, Action.REDIRECT) or (
            step.action == Action.CHANGE and is_nat
        )

    def _note(self, step: Step, packet: Crossing, chain: str, *, is_certain: bool, is_named: bool) -> None:
        if _is_own(chain):
            return
        met = self._met.setdefault(id(step.rule), Met(self._base, step.rule, step.action))
        met.packets.append(packet)
        met.is_certain |= is_certain and self._is_sure
        met.is_named |= is_named


def _is_own(chain: str) -> bool:
    return chain.rpartition(" ")[2].startswith(OWN_PREFIX)


def _passes(base: BaseChain) -> Callable[[Crossing], bool]:
    """Return a predicate: whether a packet passes a base chain. A table nat sees only first packets."""

    def passes(packet: Crossing) -> bool:
        if packet.hook != base.hook or packet.translated not in (None, base.is_translated):
            return False
        if packet.answer and base.name.startswith("nat "):
            return False
        names = packet.into if packet.hook == "INGRESS" else packet.out
        return not base.devices or bool(set(base.devices) & set(names))

    return passes
