"""Decide whether a rule's conditions hold for a packet of the lab: yes, no, or None if unknown. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from lab.network.facts import mac_of
from lab.ruleset.model import Condition, Field
from lab.topology import Topology
from security.diagnose.crossings import Crossing
from security.rules.reach import is_like, networks_of

Known = bool | None
_EPHEMERAL = (32768, 60999)  # ports of clients: net.ipv4.ip_local_port_range
_STATES = {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "DNAT", "SNAT"}
_WORD = re.compile(r"[\w.:-]+(?:/\d+)?")
_NAMING = (
    Field.SOURCE,
    Field.DESTINATION,
    Field.IN_INTERFACE,
    Field.OUT_INTERFACE,
    Field.PORT,
    Field.SOURCE_PORT,
    Field.EITHER_PORT,
)
_EVERYTHING = ("0.0.0.0/0", "::/0", "+", "*")


def all_hold(conditions: Sequence[Condition], packet: Crossing, host: set[str]) -> Known:
    """Decide whether all conditions hold; `host` are the addresses of the host. One that fails is enough for no."""
    found = [holds(condition, packet, host) for condition in conditions]
    return False if False in found else None if None in found else True


def name_something(conditions: Sequence[Condition]) -> bool:
    """Decide whether the conditions name an address, an interface or a port, and not simply all."""
    return any(
        condition.field in _NAMING and not condition.negated and not set(condition.values) & set(_EVERYTHING)
        for condition in conditions
    )


def names_lab(text: str, topology: Topology) -> bool:
    """Decide whether a rule's text names an address, a MAC or an interface of the lab."""
    words = set(_WORD.findall(text.lower()))
    names = {bridge.name for bridge in topology.bridges}
    names |= {name for node in topology.nodes for name in (node.interface, node.bridge_interface)}
    names |= {mac_of(topology.node_of_wire(node).address.ip) for node in topology.nodes}
    if words & {name.lower() for name in names}:
        return True
    networks = [address.network for bridge in topology.bridges for address in bridge.addresses]
    of_text = [network for word in words for network in networks_of(word) if network.prefixlen]
    return any(network.overlaps(ours) for network in of_text for ours in networks)


def holds(condition: Condition, packet: Crossing, host: set[str]) -> Known:
    """Decide whether one condition holds."""
    if condition.protocol and condition.protocol != packet.protocol:
        return False
    values, found = condition.values, None
    match condition.field:
        case Field.SOURCE | Field.DESTINATION:
            is_source = condition.field == Field.SOURCE
            found = _has_address(values, packet.source if is_source else packet.destination)
        case Field.IN_INTERFACE | Field.OUT_INTERFACE:
            is_in = condition.field == Field.IN_INTERFACE
            found = _has_interface(values, packet.into if is_in else packet.out)
        case Field.PORT | Field.SOURCE_PORT:
            is_listener = packet.answer == (condition.field == Field.SOURCE_PORT)
            found = _has_port(values, packet.port) if is_listener else _has_client_port(values)
        case Field.EITHER_PORT:
            found = _has_port(values, packet.port) or _has_client_port(values)
        case Field.SOURCE_TYPE | Field.DESTINATION_TYPE:
            is_source = condition.field == Field.SOURCE_TYPE
            found = _is_of_type(values, packet.source if is_source else packet.destination, host)
        case Field.STATE:
            found = _has_state(values, packet)
        case Field.PROTOCOL:
            found = packet.protocol in values
        case Field.FAMILY:
            found = "ip" in values
    return None if found is None else found != condition.negated


def _has_address(values: Sequence[str], address: str) -> Known:
    """Decide whether an address is one of the values; any outside address is only in a network of all addresses."""
    networks = [network for text in values for network in networks_of(text)]
    if len(networks) < len(values):
        return None  # a name of a set, or a MAC
    if not address:
        return any(not network.prefixlen for network in networks)
    return any(ip_address(address) in network for network in networks)


def _has_interface(values: Sequence[str], names: Sequence[str]) -> bool:
    return any(is_like(name, text) for name in names for text in values)


def _in_ranges(values: Sequence[str], holds_for: Callable[[int, int], Known]) -> Known:
    ranges = [text.partition("-") for text in values]
    if not all(first.isdecimal() and (last or first).isdecimal() for first, _, last in ranges):
        return None
    found = [holds_for(int(first), int(last or first)) for first, _, last in ranges]
    return True if True in found else None if None in found else False


def _has_port(values: Sequence[str], port: int) -> Known:
    return _in_ranges(values, lambda first, last: first <= port <= last)


def _has_client_port(values: Sequence[str]) -> Known:
    def contains(first: int, last: int) -> Known:
        if first <= _EPHEMERAL[0] and last >= _EPHEMERAL[1]:
            return True
        return None if first <= _EPHEMERAL[1] and last >= _EPHEMERAL[0] else False

    return _in_ranges(values, contains)


def _is_of_type(values: Sequence[str], address: str, host: set[str]) -> Known:
    is_local = address in host or address.startswith("127.")
    if "LOCAL" in values:
        return is_local
    return not is_local if "UNICAST" in values else False


def _has_state(values: Sequence[str], packet: Crossing) -> Known:
    wanted = {value.upper() for value in values}
    return bool(wanted & packet.states) if wanted <= _STATES else None
