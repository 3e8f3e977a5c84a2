"""Read the facts inside a namespace, and manual changes to links of the lab."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network

from lab.network import facts as kinds
from lab.network.facts import Fact
from lab.network.reading import Object, State

# A new namespace has a loopback, and a tunnel's end of each kind that the host has loaded.
_TUNNELS = {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
_LOOPBACK = ("127.0.0.1/8", "::1/128")
_METRIC6 = 1024  # of an IPv6 route that was added without one: IP6_RT_PRIO_USER
_KERNEL_RULES = {0: "local", 32766: "main", 32767: "default"}


def facts_inside(state: State, held: list[Object], is_marked: bool) -> Iterator[Fact]:
    """Yield the facts of a namespace of the lab; `held` are its ends of the lab's veth pairs."""
    name = state.name
    links = [link for link in state.links if link["link_type"] == "loopback"] + held
    yield Fact(kinds.NAMESPACE, name)
    if is_marked:
        yield Fact(kinds.MARK, name)
    for link in links:
        if "UP" in link["flags"]:
            yield Fact(kinds.UP_INSIDE, name, link["ifname"])
    for link in links:
        for cidr in cidrs(link):
            if cidr not in _LOOPBACK:
                yield Fact(kinds.ADDRESS, name, link["ifname"], value=cidr)
    yield from _routing(state)
    for chain in state.chains:
        is_legacy = chain.startswith("legacy ")
        kind = kinds.LEGACY_TABLE if is_legacy else kinds.CHAIN
        yield Fact(kind, name, value=chain.removeprefix("legacy "))
    yield from facts_on_links(state, held)


def is_new(state: State) -> bool:
    """Decide whether a namespace is unchanged since `ip netns add`: the kernel's links, all down, and nothing else."""
    return not (
        any("UP" in link["flags"] or link["addr_info"] or "ifalias" in link for link in state.links)
        or {link["ifname"] for link in state.links} - _TUNNELS - {"lo"}
        or any(_routing(state))
        or state.chains
        or state.qdiscs
        or state.neighbours
    )


def facts_on_links(state: State, links: list[Object]) -> Iterator[Fact]:
    """Yield manual changes to some links of a namespace or the host."""
    for link in links:
        place, name = state.name, link["ifname"]
        if link["mtu"] != kinds.KERNEL_MTU:
            yield Fact(kinds.MTU, place, name, value=str(link["mtu"]))
        if "NOARP" in link["flags"]:
            yield Fact(kinds.NO_ARP, place, name)
        for index, kind, parent in state.qdiscs:
            if index == link["ifindex"]:
                word = "clsact" if kind == "clsact" else parent
                yield Fact(kinds.QDISC, place, name, peer=parent, value=kind, detail=word)
        for cidr in _unconnected(state, link):
            yield Fact(kinds.UNCONNECTED, place, name, value=cidr)
    names = {link["ifname"] for link in links}
    for entry in state.neighbours:
        if entry["dev"] in names and not _is_multicast(entry["dst"]):
            mac = entry.get("lladdr", "-")
            yield Fact(kinds.NEIGHBOUR, state.name, entry["dev"], value=entry["dst"], peer=mac)


def _unconnected(state: State, link: Object) -> Iterator[str]:
    """Yield addresses whose routes, made by the kernel, were deleted; the link is up."""
    own = [route for route in state.routes if route.get("dev") == link["ifname"]]
    for address in addresses_of(link) if "UP" in link["flags"] else ():
        local, cidr = address["local"], cidr_of(address)
        is_local = any(route.get("type") == "local" and route["dst"] == local for route in own)
        network = ip_network(cidr, strict=False)
        is_direct = any(
            route.get("type", "unicast") == "unicast"
            and (route.get("prefsrc") == local or (network.version == 6 and route["dst"] == str(network)))  # noqa: PLR2004
            for route in own
        )
        is_alone = network.prefixlen == network.max_prefixlen
        if not is_local or not (is_direct or is_alone or address.get("secondary")):
            yield cidr


def _routing(state: State) -> Iterator[Fact]:
    """Yield routes and routing rules other than the kernel's own."""
    for route in state.routes:
        if route.get("protocol") == "kernel":
            continue
        if _is_default(route):
            hop = f"via {route['gateway']}" if "gateway" in route else f"dev {route['dev']}"
            yield Fact(kinds.ROUTE, state.name, value=hop)
        else:
            yield Fact(kinds.OWN_ROUTE, state.name, route.get("dev", ""), value=route_words(route))
    missing = dict(_KERNEL_RULES)
    for rule in state.rules:
        if is_kernel_rule(rule):
            missing.pop(rule["priority"], None)
        else:
            yield Fact(kinds.OWN_RULE, state.name, value=rule_words(rule))
    for priority, table in missing.items():
        yield Fact(kinds.NO_RULE, state.name, value=str(priority), peer=table)


def is_kernel_rule(rule: Object) -> bool:
    """Decide whether a routing rule is one of those that each new namespace has."""
    plain = {key: value for key, value in rule.items() if key != "protocol"}
    return plain == {"priority": rule["priority"], "src": "all", "table": _KERNEL_RULES.get(rule["priority"])}


def _is_default(route: Object) -> bool:
    """Decide whether a route is the lab's default route."""
    plain = route.get("type", "unicast") == "unicast" and route.get("table", "main") == "main"
    metric = _METRIC6 if ":" in route.get("gateway", "") else None
    return route["dst"] == "default" and plain and "dev" in route and route.get("metric") == metric


def _is_multicast(address: str) -> bool:
    return address.startswith("ff") or ("." in address and IPv4Address(address).is_multicast)


def route_words(route: Object) -> str:
    """Format a route as `ip route del` takes it."""
    words = [route["type"]] if route.get("type", "unicast") != "unicast" else []
    words += [_destination(route), *_hop_words(route)]
    for hop in route.get("nexthops", ()):
        words += ["nexthop", *_hop_words(hop)]
    words += ["table", route["table"]] if route.get("table", "main") != "main" else []
    return " ".join(words + (["metric", str(route["metric"])] if "metric" in route else []))


def _destination(route: Object) -> str:
    """Return the destination; `default` alone would be IPv4's. Only routes of IPv6 have a preference."""
    is_unclear = route["dst"] == "default" and "pref" in route and "gateway" not in route
    return "::/0" if is_unclear else str(route["dst"])


def _hop_words(hop: Object) -> list[str]:
    words = ["via", hop["gateway"]] if "gateway" in hop else []
    words += ["via", hop["via"]["family"], hop["via"]["host"]] if "via" in hop else []
    return words + (["dev", hop["dev"]] if "dev" in hop else [])


def rule_words(rule: Object) -> str:
    """Format a routing rule as `ip rule del` takes it."""
    words = ["priority", rule["priority"], *(["not"] if "not" in rule else [])]
    words += ["from", masked(rule, "src", "srclen")]
    words += ["to", masked(rule, "dst", "dstlen")] if "dst" in rule else []
    words += ["fwmark", masked(rule, "fwmark", "fwmask")] if "fwmark" in rule else []
    for key in ("tos", "iif", "oif", "ipproto", "sport", "dport"):
        words += [key, rule[key]] if key in rule else []
    words += [rule["action"]] if "action" in rule else []
    words += ["table", rule["table"]] if "table" in rule else []
    words += ["suppress_prefixlength", rule["suppress_prefixlen"]] if "suppress_prefixlen" in rule else []
    return " ".join(map(str, words))


def masked(rule: Object, key: str, mask: str) -> str:
    """Format a value with its mask, where it has one."""
    return f"{rule[key]}/{rule[mask]}" if mask in rule else str(rule[key])


def addresses_of(link: Object) -> list[Object]:
    """Return a link's addresses; of IPv6 where it is used: then an interface of the lab makes none by itself."""
    families = ("inet", "inet6") if kinds.HAS_IPV6 else ("inet",)
    return [address for address in link["addr_info"] if "local" in address and address["family"] in families]


def cidr_of(address: Object) -> str:
    """Format an address as ADDRESS/LENGTH."""
    return f"{address['local']}/{address['prefixlen']}"


def cidrs(link: Object) -> list[str]:
    """Return a link's addresses as ADDRESS/LENGTH."""
    return [cidr_of(address) for address in addresses_of(link)]
