"""Says in plain English what a rule does, with addresses named by the topology.

TCP packets to nginx-lb (...) with destination port 80, going out by bridge br-app: are let through.
What is not known here is shown as iptables writes it, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network

from lab.ruleset.iptables import Rule, options_of
from lab.topology import Topology

Words = Callable[[str], str]

_KNOWN_MODULES = (
    "tcp",
    "udp",
    "icmp",
    "conntrack",
    "addrtype",
    "multiport",
    "length",
    "limit",
    "hashlimit",
    "connlimit",
)
_MAC = re.compile("[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}", re.IGNORECASE)
_DECIDING = ("CNET-FROM-", "CNET-TO-")  # chains of the policy, in which to return is to be allowed
_JUDGING = ("filter", "security")  # tables in which to accept is to let through
_STATES = {
    "NEW": "new",
    "ESTABLISHED": "established",
    "RELATED": "related to another",
    "INVALID": "known to nobody",
    "UNTRACKED": "not tracked",
    "DNAT": "translated to another destination",
    "SNAT": "translated to another source",
}
_KINDS = {
    "LOCAL": "the host itself",
    "BROADCAST": "a broadcast",
    "MULTICAST": "a multicast group",
    "UNICAST": "a single machine",
}


def meaning(rule: Rule, topology: Topology | None = None) -> str:
    """One sentence: which packets, and what happens to them."""
    return f"{_packets(rule.matches, topology)}: {_action(rule, topology)}."


def _packets(matches: Sequence[str], topology: Topology | None) -> str:
    phrases = _phrases(topology)
    known, unknown = [], []
    for option in options_of(matches):
        if option.flag in phrases and len(option.values) == 1:
            known.append(option)
        elif option.flag == "--connlimit-saddr":
            continue  # of one source is how --connlimit-above counts
        elif option.flag != "-m" or " ".join(option.values) not in _KNOWN_MODULES:
            unknown.append(option.verbatim)
    known.sort(key=lambda option: list(phrases).index(option.flag))
    said = "".join(phrases[option.flag](option.negated, option.values[0]) for option in known)
    said += f", matching `{' '.join(unknown)}`" if unknown else ""
    if any(option.flag == "-p" for option in known):
        return said
    return f"Packets{said.removeprefix(',')}" if said else "All packets"


def _phrases(topology: Topology | None) -> dict[str, Callable[[bool, str], str]]:
    """Give what to say for each match, in the order to say it."""

    def place(text: str) -> str:
        return address(text, topology)

    def link(text: str) -> str:
        return interface(text, topology)

    return {
        "-p": _protocol,
        "-s": _phrase(" {}from {}", place),
        "--src-type": _phrase(" {}from {}", _kind),
        "--sport": _phrase(" {}with source {}", _port),
        "-d": _phrase(" {}to {}", place),
        "--dst-type": _phrase(" {}to {}", _kind),
        "--dport": _phrase(" {}with destination {}", _port),
        "--ip-src": _phrase(" {}from {}", place),
        "--arp-ip-src": _phrase(" {}that speak for {}", place),
        "--arp-mac-src": _phrase(" {}and for MAC {}", str),
        "--dports": _phrase(" {}with destination {}", _ports),
        "--icmp-type": _phrase(" {}of type {}", _icmp_type),
        "--length": _phrase(" {}of {} bytes", lambda text: text.replace(":", " to ")),
        "--hashlimit-upto": _phrase(", {}up to {} new ones from one source", str),
        "--hashlimit-burst": _phrase(" {}and {} at once", str),
        "--hashlimit-mode": lambda *_: "",
        "--hashlimit-name": lambda *_: "",
        "--connlimit-above": _phrase(", {}whose source has more than {} connections at once", str),
        "--connlimit-mask": lambda _, bits: (
            "" if bits == "32" else f", sources alike in {bits} bits being one"
        ),
        "--limit": _phrase(", {}at most {}", str),
        "--limit-burst": _phrase(" {}and {} at once", str),
        "-i": _phrase(", {}coming in by {}", link),
        "-o": _phrase(", {}going out by {}", link),
        "--ctstate": _connection,
    }


def _phrase(pattern: str, say: Words) -> Callable[[bool, str], str]:
    return lambda negated, value: pattern.format("not " if negated else "", say(value))


def _protocol(negated: bool, value: str) -> str:
    return f"Packets of any protocol but {value.upper()}" if negated else f"{value.upper()} packets"


def _port(value: str) -> str:
    first, colon, last = value.partition(":")
    return f"ports {first} to {last}" if colon else f"port {value}"


def _ports(value: str) -> str:
    return "port " + _one_of(item.replace(":", " to ") for item in value.split(","))


def _icmp_type(value: str) -> str:
    named = {"8": "echo request (ping)", "0": "echo reply", "3": "destination unreachable"}
    return named.get(value, value)


def _kind(value: str) -> str:
    return _one_of(_KINDS.get(kind, f"an address of type {kind}") for kind in value.split(","))


def _connection(negated: bool, value: str) -> str:
    order = {state: at for at, state in enumerate(_STATES)}
    states = sorted(value.split(","), key=lambda state: order.get(state, len(order)))
    said = _one_of(_STATES.get(state, state) for state in states)
    return f", whose connection is {'not ' if negated else ''}{said}"


def _one_of(items: Iterable[str]) -> str:
    *others, last = items
    return f"{', '.join(others)} or {last}" if others else last


def address(text: str, topology: Topology | None) -> str:
    """Name an address or a network: `nginx-lb (ADDRESS)`; a port stays behind it. A MAC address is called one."""
    if _MAC.fullmatch(text):
        return f"MAC {text}"
    host, colon, port = text.partition(":")
    host = host.removesuffix("/32")
    name = _name_of(host, topology)
    return (f"{name} ({host})" if name else host) + (f" port {port}" if colon else "")


def _name_of(host: str, topology: Topology | None) -> str:
    try:
        network = IPv4Network(host, strict=False)
    except ValueError:
        return ""
    if network.is_loopback:
        return "localhost"
    for bridge in topology.bridges if topology else ():
        if network == bridge.address.network:
            return f"the network of {bridge.name}"
        if network == IPv4Network(bridge.address.ip):
            return f"bridge {bridge.name}"
    node = topology.node_at(host) if topology else None
    return node.name if node else ""


def interface(name: str, topology: Topology | None) -> str:
    """Name an interface of the host: `bridge br-app`, or whose cable it is."""
    if topology and topology.bridge(name):
        return f"bridge {name}"
    nodes = topology.nodes if topology else ()
    return next(
        (f"{name} (the cable of {node.name})" for node in nodes if node.bridge_interface == name), name
    )


def _action(rule: Rule, topology: Topology | None) -> str:
    options = {option.flag: option for option in options_of(rule.target_options)}

    def take(flag: str) -> str:
        return " ".join(options.pop(flag).values) if flag in options else ""

    if rule.target == "ACCEPT" and rule.table not in _JUDGING:
        said = f"meet no other rule of table {rule.table} here"
    elif rule.target == "RETURN" and rule.chain.startswith(_DECIDING):
        said = "are allowed by this chain"
    elif rule.target in _ACTIONS:
        said = _ACTIONS[rule.target](take, topology)
    elif rule.goto:
        said = f"go on in {rule.target} and do not come back"
    else:
        said = f"go to {rule.target}"
    rest = " ".join(option.verbatim for option in options.values())
    return said + (f", with `{rest}`" if rest else "")


def _dnat(take: Words, topology: Topology | None) -> str:
    to = take("--to-destination")
    return f"are sent on to {address(to, topology)}" if to else "are sent on to another destination"


def _masquerade(take: Words, _: Topology | None) -> str:
    return "take the host's own address as their source"


def _reject(take: Words, _: Topology | None) -> str:
    told = take("--reject-with")
    return "are refused, and the sender is told" + (f" ({told})" if told else "")


def _log(take: Words, _: Topology | None) -> str:
    prefix = take("--log-prefix").strip()
    return f"are written to the kernel's log{_marked(prefix)}, and go on"


def _nflog(take: Words, _: Topology | None) -> str:
    group, prefix = take("--nflog-group") or "0", take("--nflog-prefix").strip()
    return f"are copied to whoever listens on NFLOG group {group}{_marked(prefix)}, and go on"


def _marked(prefix: str) -> str:
    return f' as "{prefix}"' if prefix else ""


_ACTIONS: dict[str, Callable[[Words, Topology | None], str]] = {
    "": lambda *_: "are counted and go on",
    "ACCEPT": lambda *_: "are let through",
    "DROP": lambda *_: "are dropped, and nobody is told",
    "CONTINUE": lambda *_: "go on",
    "RETURN": lambda *_: "go back to where this chain was called",
    "REJECT": _reject,
    "DNAT": _dnat,
    "MASQUERADE": _masquerade,
    "LOG": _log,
    "NFLOG": _nflog,
}
