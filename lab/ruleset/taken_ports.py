"""Find foreign rules, of any tool, that already forward a port of the host.

    python3 -m lab.ruleset.taken_ports PORT/PROTOCOL...

Print the first port that a rule forwards as PORT/PROTOCOL, RULE and the COMMAND that removes the rule, separated by
tabs; print nothing when all ports are free.

Follow a packet to each of the host's addresses through the chains. An unknown condition may match or not:
assume that it matches if the rule forwards, and that it does not if the rule ends the walk.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import product

from lab.escape import on_one_line
from lab.ruleset import from_iptables, from_nft
from lab.ruleset.host import iptables_backends, outputs_of
from lab.ruleset.iptables import parse
from lab.ruleset.model import Action, Chains, Condition, Field, Step

_HOOKS = ("PREROUTING", "OUTPUT")
_FAMILIES = ("ip", "inet")
_ENDS = (Action.ACCEPT, Action.BLOCK)
Known = bool | None  # None: may match or not


@dataclass(frozen=True, kw_only=True)
class Packet:
    """The first packet of a connection to an address of the host."""

    protocol: str
    address: IPv4Address
    port: int


def first_forwarding_step(chains: Chains, packet: Packet) -> Step | None:
    """Return the first step that may forward the packet."""
    for base in chains.bases:
        if base.hook in _HOOKS and base.family in _FAMILIES:
            found = _walk(chains.steps, base.name, packet, ())
            if found and found.action == Action.REDIRECT:
                return found
    return None


def _walk(
    chains: Mapping[str, Sequence[Step]], name: str, packet: Packet, above: Sequence[str]
) -> Step | None:
    """Return the step that redirects or ends the packet; None if the walk returns to the calling chain."""
    for step in chains.get(name, ()):
        matches = _matches(step, packet)
        if matches is False or step.own_chain or step.action in (Action.NONE, Action.CHANGE):
            continue
        if step.action == Action.REDIRECT or (step.action in _ENDS and matches):
            return step
        if step.action == Action.CALL and step.chain not in (*above, name):
            found = _walk(chains, step.chain, packet, (*above, name))
            if found and (found.action == Action.REDIRECT or matches):
                return found
        if matches and (step.action == Action.RETURN or step.goto):
            return None
    return None


def _matches(step: Step, packet: Packet) -> Known:
    found = [_holds(condition, packet) for condition in step.conditions]
    return False if False in found else None if None in found else True


def _holds(condition: Condition, packet: Packet) -> Known:
    if condition.protocol not in ("", packet.protocol):
        return False
    found: Known = None
    match condition.field:
        case Field.PROTOCOL:
            found = packet.protocol in condition.values
        case Field.FAMILY:
            found = "ip" in condition.values
        case Field.DESTINATION_TYPE:
            found = "LOCAL" in condition.values
        case Field.DESTINATION:
            found = _any(lambda text: _has_address(text, packet.address), condition.values)
        case Field.PORT:
            found = _any(lambda text: _has_port(text, packet.port), condition.values)
        case Field.EITHER_PORT:  # the source port is not known
            found = _any(lambda text: _has_port(text, packet.port), condition.values) or None
    return None if found is None else found != condition.negated


def _any(holds: Callable[[str], bool], values: Sequence[str]) -> Known:
    try:
        return any(map(holds, values))
    except ValueError:
        return None


def _has_address(text: str, address: IPv4Address) -> bool:
    first, _, last = text.partition("-")
    if last:
        return IPv4Address(first) <= address <= IPv4Address(last)
    return address in IPv4Network(text, strict=False)


def _has_port(text: str, port: int) -> bool:
    first, _, last = text.partition("-")
    return int(first) <= port <= int(last or first)


def main(ports: Sequence[str]) -> int:
    """Print the first port that is taken."""
    backends = iptables_backends()
    links, nft, *saved = outputs_of(
        ("ip", "-j", "-4", "addr"),
        ("nft", "-j", "list", "ruleset"),
        *((f"{backend}-save", "-c") for backend in backends),
    )
    found = [
        from_iptables.chains_of(parse(text), backend) for backend, text in zip(backends, saved, strict=True)
    ]
    found.append(from_nft.chains_of(json.loads(nft)["nftables"] if nft else ()))
    own = [IPv4Address(one["local"]) for link in json.loads(links) for one in link.get("addr_info", ())]
    for port, address, chains in product(ports, own, found):
        number, protocol = port.split("/")
        step = first_forwarding_step(chains, Packet(protocol=protocol, address=address, port=int(number)))
        if step:
            print("\t".join(map(on_one_line, (port, step.rule.text, step.rule.removal))))
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
