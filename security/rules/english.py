"""Describe a rule in plain English, with the topology's names for addresses.

TCP packets to nginx-lb (...) with destination port 80, going out on bridge br-app: are accepted.
Matches and options that are not known here are shown as iptables writes them, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from lab.ruleset.iptables import Rule, options_of
from lab.topology import Topology
from security.rules.matches import HARMLESS_MATCHES

Names = Mapping[str, str]  # result of names_of(); empty without a topology

_MAC = re.compile("[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}", re.IGNORECASE)
_POLICY_CHAINS = ("CNET-FROM-", "CNET-TO-")  # in these chains RETURN allows the packet
_FILTER_TABLES = ("filter", "security")  # ACCEPT in other tables only skips their other rules
_STATES = {
    "NEW": "new",
    "ESTABLISHED": "established",
    "RELATED": "related to another",
    "INVALID": "invalid",
    "UNTRACKED": "not tracked",
    "DNAT": "translated to another destination",
    "SNAT": "translated to another source",
}
_ADDRESS_TYPES = {
    "LOCAL": "the host itself",
    "BROADCAST": "a broadcast address",
    "MULTICAST": "a multicast group",
    "UNICAST": "a single machine",
}
_PROTOCOLS = {"icmp6": "ICMPv6", "ipv6-icmp": "ICMPv6"}
_ICMP_TYPES = {"8": "echo request (ping)", "0": "echo reply", "3": "destination unreachable"}
_ICMP6_TYPES = {  # RFC 4443, RFC 4861
    "1": "destination unreachable",
    "2": "packet too big",
    "3": "time exceeded",
    "4": "parameter problem",
    "128": "echo request (ping)",
    "129": "echo reply",
    "133": "router solicitation",
    "134": "router advertisement",
    "135": "neighbour solicitation",
    "136": "neighbour advertisement",
    "137": "redirect",
}
_ACTIONS = {
    "": "are counted",
    "ACCEPT": "are accepted",
    "DROP": "are dropped without a reply",
    "CONTINUE": "continue with the next rule",
    "RETURN": "return to the calling chain",
    "MASQUERADE": "get the host's own address as their source",
}


def meaning(rule: Rule, names: Names) -> str:
    """Return one sentence: the matched packets, and the action."""
    return f"{_packets(rule.matches, names)}: {_action(rule, names)}."


def _packets(matches: Sequence[str], names: Names) -> str:
    phrases = _phrases(names)
    known, unknown = [], []
    for option in options_of(matches):
        if option.flag in phrases and len(option.values) == 1:
            known.append(option)
        elif option.flag in ("--connlimit-saddr", "--soft"):
            continue  # in the phrases of --connlimit-above ("whose source") and --header ("with")
        elif option.flag != "-m" or " ".join(option.values) not in HARMLESS_MATCHES:
            unknown.append(option.verbatim)
    known.sort(key=lambda option: list(phrases).index(option.flag))
    subject, text = "Packets", ""
    for option in known:
        pattern, format_value = phrases[option.flag]
        value = format_value(option.values[0])
        if option.flag == "-p":
            subject = f"Packets of any protocol except {value}" if option.negated else f"{value} packets"
        text += pattern.format(value, no="not " if option.negated else "")
    text += f", matching `{' '.join(unknown)}`" if unknown else ""
    if subject == "Packets":
        text = text.removeprefix(",")
    return subject + text if subject + text != "Packets" else "All packets"


def _one_of(items: Iterable[str]) -> str:
    *others, last = items
    return f"{', '.join(others)} or {last}" if others else last


def _port(text: str) -> str:
    first, colon, last = text.partition(":")
    return f"ports {first} to {last}" if colon else f"port {text}"


def _ports(text: str) -> str:
    return "port " + _one_of(_range(item) for item in text.split(","))


def _range(text: str) -> str:
    return text.replace(":", " to ")


def _address_type(text: str) -> str:
    return _one_of(_ADDRESS_TYPES.get(kind, f"an address of type {kind}") for kind in text.split(","))


def _states(text: str) -> str:
    order = list(_STATES)
    states = sorted(text.split(","), key=lambda state: order.index(state) if state in order else len(order))
    return _one_of(_STATES.get(state, state) for state in states)


def _network_bits(text: str) -> str:
    return "" if text in ("32", "128") else f", counted by the first {text} bits of the source"


def names_of(topology: Topology) -> dict[str, str]:
    """Return the names of the lab's networks, addresses and interfaces of the host."""
    names: dict[str, str] = {}
    for node in topology.nodes:
        names |= {str(address.ip): node.name for address in node.addresses}
        names.setdefault(node.bridge_interface, f"{node.bridge_interface} (veth of {node.name})")
    for bridge in topology.bridges:
        names[bridge.name] = f"bridge {bridge.name}"
        for address in bridge.addresses:
            names[str(address.network)] = f"the network of {bridge.name}"
            names[str(address.ip)] = f"bridge {bridge.name}"
    return names


def _address(text: str, names: Names) -> str:
    """Name an address or a network: `nginx-lb (ADDRESS)`, with `port N` after it; a MAC address as `MAC ADDRESS`."""
    if _MAC.fullmatch(text):
        return f"MAC {text}"
    if is_ipv6 := text.count(":") > 1:
        host, _, port = text.removeprefix("[").partition("]:")  # [ADDRESS]:PORT
    else:
        host, _, port = text.partition(":")
    host = host.removesuffix("/128" if is_ipv6 else "/32")
    name = "localhost" if host.startswith("127.") or host == "::1" else names.get(host)
    return (f"{name} ({host})" if name else host) + (f" port {port}" if port else "")


def _phrases(names: Names) -> dict[str, tuple[str, Callable[[str], str]]]:
    """Return the phrase for each match, in this order; {no} is "not " if the match is negated."""
    address, interface = partial(_address, names=names), lambda name: names.get(name, name)
    return {
        "-p": ("", lambda text: _PROTOCOLS.get(text, text.upper())),
        "-s": (" {no}from {}", address),
        "--src-type": (" {no}from {}", _address_type),
        "--sport": (" {no}with source {}", _port),
        "-d": (" {no}to {}", address),
        "--dst-type": (" {no}to {}", _address_type),
        "--dport": (" {no}with destination {}", _port),
        "--ip-src": (" {no}from {}", address),
        "--ip6-src": (" {no}from {}", address),
        "--arp-ip-src": (" {no}that claim {}", address),
        "--arp-mac-src": (" {no}with MAC {}", str),
        "--dports": (" {no}with destination {}", _ports),
        "--icmp-type": (" {no}of type {}", lambda text: _ICMP_TYPES.get(text, text)),
        "--icmpv6-type": (" {no}of type {}", lambda text: _ICMP6_TYPES.get(text, text)),
        "--hl-eq": (" {no}with hop limit {}", str),
        "--header": (" {no}with extension header {}", lambda text: _one_of(text.split(","))),
        "--length": (" {no}of {} bytes", _range),
        "--hashlimit-upto": (", {no}up to {} new ones from one source", str),
        "--hashlimit-burst": (" {no}and {} at once", str),
        "--hashlimit-mode": ("", str),
        "--hashlimit-name": ("", str),
        "--connlimit-above": (", {no}whose source has more than {} connections at once", str),
        "--connlimit-mask": ("{}", _network_bits),
        "--limit": (", {no}at most {}", str),
        "--limit-burst": (" {no}and {} at once", str),
        "-i": (", {no}coming in on {}", interface),
        "-o": (", {no}going out on {}", interface),
        "--ctstate": (", whose connection is {no}{}", _states),
    }


def _action(rule: Rule, names: Names) -> str:
    options = {option.flag: option for option in options_of(rule.target_options)}

    def take(flag: str) -> str:
        return " ".join(options.pop(flag).values) if flag in options else ""

    def prefix(flag: str) -> str:
        text = take(flag).strip()
        return f' as "{text}"' if text else ""

    match rule.target:
        case "ACCEPT" if rule.table.removeprefix("ip6tables ") not in _FILTER_TABLES:
            text = f"skip the other rules of table {rule.table} here"
        case "RETURN" if rule.chain.startswith(_POLICY_CHAINS):
            text = "are allowed by this chain"
        case "DNAT":
            to = take("--to-destination")
            text = f"are forwarded to {_address(to, names) if to else 'another destination'}"
        case "REJECT":
            reply = take("--reject-with")
            text = "are rejected with a reply to the sender" + (f" ({reply})" if reply else "")
        case "LOG":
            text = f"are written to the kernel's log{prefix('--log-prefix')}, and continue"
        case "NFLOG":
            group = take("--nflog-group") or "0"
            text = f"are copied to NFLOG group {group}{prefix('--nflog-prefix')}, and continue"
        case target if target in _ACTIONS:
            text = _ACTIONS[target]
        case target:
            text = f"continue in {target} and do not return" if rule.goto else f"go to {target}"
    rest = " ".join(option.verbatim for option in options.values())
    return text + (f", with `{rest}`" if rest else "")
