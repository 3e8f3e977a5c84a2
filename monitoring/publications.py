"""Ports of the host that are forwarded into the lab by any rule: read from iptables-save -c and nft -j list ruleset.

A rule that forwards one port to one port of one address is a publication. Any other rule that forwards, or may forward,
to an address of the lab (a range of ports or addresses, a map, a rule that cannot be read) is kept as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from lab.ruleset.iptables import Rule, Saved, options_of

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Range = tuple[Address, Address]  # from, to
_TRANSLATIONS = {"DNAT": "--to-destination", "NETMAP": "--to"}
_NAMES = {"6": "tcp", "17": "udp", "132": "sctp", "33": "dccp"}


@dataclass(frozen=True)
class Publication:
    """A port of the host that is forwarded to a node."""

    host_port: int
    protocol: str
    address: str
    port: int


@dataclass(frozen=True)
class Publications:
    """Publications into the lab, and the text of other rules that forward, or may forward, into it."""

    ports: tuple[Publication, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """A rule's new destinations; `addresses` is empty when they cannot be read from the rule."""

    ports: Sequence[Publication]
    addresses: Sequence[Range]
    text: str


def publications(
    saved: Saved, ruleset: Sequence[Mapping[str, Any]], networks: Sequence[Network]
) -> Publications:
    """Return what forwards into `networks`, the lab's; `ruleset` is the list that `nft -j list ruleset` prints."""
    ports: list[Publication] = []
    others = [
        f"table {table} holds rules of nft, so iptables-save does not print it; see nft list table ip {table}"
        for table in sorted(saved.incompatible)
    ]
    others += [f"{line.text or 'iptables-save'} (not read: {line.reason})" for line in saved.unread]
    for found in (*_of_iptables(saved.rules), *_of_nft(ruleset)):
        if not found.addresses or any(
            _overlaps(network, pair) for network in networks for pair in found.addresses
        ):
            ports += found.ports
            others += [] if found.ports else [found.text]
    return Publications(tuple(ports), tuple(others))


def _overlaps(network: Network, pair: Range) -> bool:
    first, last = (int(address) for address in pair)
    return (
        pair[0].version == network.version
        and first <= int(network.broadcast_address)
        and last >= int(network.network_address)
    )


# --- iptables ------------------------------------------------------------------------------------


def _of_iptables(rules: Iterable[Rule]) -> Iterator[_Found]:
    for rule in rules:
        if flag := _TRANSLATIONS.get(rule.target):
            given = [
                option.values[0]
                for option in options_of(rule.target_options)
                if option.flag == flag and option.values
            ]
            targets = [target for target in given if not target.startswith(":")]  # ":PORT" keeps the address
            if targets or not given:
                yield _Found(_ports_of(rule, targets), _ranges_of(targets), rule.text)


def _ports_of(rule: Rule, targets: Sequence[str]) -> list[Publication]:
    """Return what a rule publishes; nothing unless it forwards single ports to one address."""
    options = {option.flag: option for option in options_of(rule.matches)}
    protocol, asked = options.get("-p"), options.get("--dport") or options.get("--dports")
    if not (protocol and asked and protocol.values and asked.values) or protocol.negated or asked.negated:
        return []
    address, _, port = targets[0].partition(":") if len(targets) == 1 else ("", "", "")
    asked_ports = asked.values[0].split(",")
    if not all(each.isdigit() for each in (*asked_ports, port or "0")) or _address(address) is None:
        return []
    name = _NAMES.get(protocol.values[0], protocol.values[0])
    return [Publication(int(each), name, address, int(port or each)) for each in asked_ports]


def _ranges_of(targets: Sequence[str]) -> list[Range]:
    """Return the first and last address of each target; an empty list when one of them cannot be read."""
    found = []
    for target in targets:
        text = target[1:].partition("]")[0] if target.startswith("[") else target.partition(":")[0]
        pair = _range(text)
        if pair is None:
            return []
        found.append(pair)
    return found


def _range(text: str) -> Range | None:
    """Read ADDRESS, ADDRESS-ADDRESS or ADDRESS/MASK; None for anything else."""
    if "/" in text:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            return None
        return network.network_address, network.broadcast_address
    first, _, last = text.partition("-")
    pair = _address(first), _address(last or first)
    return (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


# --- nft -----------------------------------------------------------------------------------------


def _of_nft(ruleset: Iterable[Mapping[str, Any]]) -> Iterator[_Found]:
    """Read nft's own rules; rules of iptables appear as `xt` there, and are read above."""
    for rule in (each["rule"] for each in ruleset if "rule" in each):
        expressions = [each for each in rule.get("expr", ()) if isinstance(each, dict)]
        for given in (each["dnat"] for each in expressions if isinstance(each.get("dnat"), dict)):
            if "addr" not in given:
                continue  # a port alone keeps the address
            place = f"{rule['family']} {rule['table']} {rule['chain']}"
            text = f"nft rule {place} handle {rule['handle']}; see nft -a list chain {place}"
            yield _Found(_nft_ports(expressions, given), list(_nft_ranges(given["addr"])), text)


def _nft_ports(expressions: Iterable[Mapping[str, Any]], given: Mapping[str, Any]) -> list[Publication]:
    address, port = given.get("addr"), given.get("port")
    if not isinstance(address, str) or _address(address) is None or not isinstance(port, int | None):
        return []
    for match in (each["match"] for each in expressions if "match" in each):
        left = match["left"].get("payload", {}) if isinstance(match["left"], dict) else {}
        if left.get("field") == "dport" and match["op"] == "==":
            asked = (
                match["right"]["set"]
                if isinstance(match["right"], dict) and "set" in match["right"]
                else [match["right"]]
            )
            if all(isinstance(each, int) for each in asked):
                return [Publication(each, left["protocol"], address, port or each) for each in asked]
    return []


def _nft_ranges(value: Any) -> Iterator[Range]:
    """Yield the ranges in an expression for an address: an address, a range, a prefix, or a map of them."""
    if isinstance(value, dict) and "range" in value:
        yield from filter(None, [_range("-".join(map(str, value["range"])))])
    elif isinstance(value, dict) and "prefix" in value:
        yield from filter(None, [_range(f"{value['prefix']['addr']}/{value['prefix']['len']}")])
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _nft_ranges(each)
    elif isinstance(value, str):
        yield from filter(None, [_range(value)])
