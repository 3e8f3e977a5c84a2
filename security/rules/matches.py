"""Decide whether the matches of iptables and ebtables hold for a packet: yes, no, or None if unknown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.ruleset.iptables import Option, Rule, options_of

Known = bool | None
EPHEMERAL = (20000, 60999)  # source ports of probes and of the kernel
# Modules that match by their options alone; any other one may match by more (`-m socket`).
HARMLESS_MATCHES = (
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "hl",
    "ipv6header",
    "conntrack",
    "state",
    "addrtype",
    "multiport",
    "length",
    "hashlimit",
    "connlimit",
    "comment",
    "limit",
)
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
_LARGEST = 65535
_ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, or its answer: the fields that rules can match.

    `port` is the listening port, for an answer too; the other port is any free one.
    """

    protocol: str
    source: str
    destination: str
    port: int = 0
    into: str = ""
    out: str = ""
    translated: bool = False
    size: int = 60
    mac: str = ""
    answer: bool = False


def value_of(rule: Rule, flag: str) -> str:
    """Return the first value of one of a rule's options; empty if the rule does not have it."""
    return next((option.values[0] for option in options_of(rule.matches) if option.flag == flag), "")


def counts_by_source(rule: Rule) -> bool:
    """Decide whether a connlimit counts the connections of one source, as those of a policy do."""
    if not value_of(rule, "--connlimit-above") or value_of(rule, "--connlimit-mask") != "32":
        return False
    return any(option.flag == "--connlimit-saddr" for option in options_of(rule.matches))


def _in_network(option: Option, address: str) -> bool:
    """Compare under the mask bit by bit: a mask need not be a prefix (/255.0.0.255)."""
    network, _, mask = option.values[0].partition("/")
    bits = int(IPv4Address(mask)) if "." in mask else _ALL_BITS << (32 - int(mask or 32)) & _ALL_BITS
    return not (int(IPv4Address(network)) ^ int(IPv4Address(address))) & bits


def _is_interface(option: Option, name: str) -> bool:
    wanted = option.values[0]
    return name.startswith(wanted[:-1]) if wanted.endswith("+") else name == wanted


def _is_protocol(option: Option, packet: Packet) -> bool:
    wanted = option.values[0]
    return wanted in ("all", packet.protocol, str(_PROTOCOLS.get(packet.protocol, "")))


def _bounds(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    return int(first or 0), int(last or (_LARGEST if colon else first))


def in_range(text: str, number: int) -> bool:
    """Decide whether a number is in FIRST:LAST, FIRST: or :LAST."""
    first, last = _bounds(text)
    return first <= number <= last


def _has_listening_port(option: Option, packet: Packet) -> Known:
    return any(in_range(item, packet.port) for item in option.values[0].split(","))


def _has_ephemeral_port(option: Option, _: Packet) -> Known:
    ranges = [_bounds(item) for item in option.values[0].split(",")]
    if any(first <= EPHEMERAL[0] and last >= EPHEMERAL[1] for first, last in ranges):
        return True
    return None if any(last >= EPHEMERAL[0] for _, last in ranges) else False


def _to_port(option: Option, packet: Packet) -> Known:
    return (_has_ephemeral_port if packet.answer else _has_listening_port)(option, packet)


def _from_port(option: Option, packet: Packet) -> Known:
    return (_has_listening_port if packet.answer else _has_ephemeral_port)(option, packet)


def _has_state(option: Option, packet: Packet) -> bool:
    states = {"ESTABLISHED" if packet.answer else "NEW"} | ({"DNAT"} if packet.translated else set())
    return bool(states & set(option.values[0].split(",")))


def _has_flags(option: Option, packet: Packet) -> Known:
    """Compare the flags of a SYN or, for an answer, of a SYN with ACK."""
    mask, wanted = (set(value.split(",")) for value in option.values)
    flags = {"SYN", "ACK"} if packet.answer else {"SYN"}
    return None if mask & {"ALL"} else flags & mask == wanted - {"NONE"}


def _is_ping(option: Option, packet: Packet) -> bool:
    kinds = ("0", "any", "echo-reply") if packet.answer else ("8", "any", "echo-request")
    return packet.protocol == "icmp" and option.values[0] in kinds


MATCHES: Mapping[str, Callable[[Option, Packet], Known]] = {
    "-s": lambda option, packet: _in_network(option, packet.source),
    "-d": lambda option, packet: _in_network(option, packet.destination),
    "-i": lambda option, packet: _is_interface(option, packet.into),
    "-o": lambda option, packet: _is_interface(option, packet.out),
    "-p": _is_protocol,
    "--dport": _to_port,
    "--dports": _to_port,
    "--sport": _from_port,
    "--sports": _from_port,
    "--ctstate": _has_state,
    "--state": _has_state,
    "--tcp-flags": _has_flags,
    "--icmp-type": _is_ping,
    "--length": lambda option, packet: in_range(option.values[0], packet.size),
    "--comment": lambda *_: True,
}


FRAME_MATCHES: Mapping[str, Callable[[Option, Packet], Known]] = {
    "-i": lambda option, packet: _is_interface(option, packet.into),
    "-o": lambda option, packet: _is_interface(option, packet.out),
    "-s": lambda option, packet: option.values[0] == packet.mac,
    "-p": lambda option, _: option.values[0] == "IPv4",
    "--ip-src": lambda option, packet: _in_network(option, packet.source),
    "--ip-dst": lambda option, packet: _in_network(option, packet.destination),
    "--arp-ip-src": lambda *_: False,
    "--arp-mac-src": lambda *_: False,
}
