"""The causes that diagnose names in routes, bridges and settings of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from test_diagnose_network import causes, findings, with_fact, without

from lab.network import facts as kinds
from lab.network.facts import Fact
from lab.network.live import Live
from lab.network.reading import State
from lab.topology import LINK_GROUP, ROOT, load
from security.diagnose import host
from security.diagnose.finding import Finding, Kind
from security.diagnose.host_routes import check_host_routes
from security.diagnose.observed import Observed

Routes = list[dict[str, Any]]
DIRECT = {"dst": "10.0.0.0/16", "dev": "br-app", "protocol": "kernel", "prefsrc": "10.0.0.1"}
LINKS = [{"ifname": "br-app", "group": str(LINK_GROUP)}, {"ifname": "eth0", "group": "default"}]
RULES = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 32766, "src": "all", "table": "main"},
    {"priority": 32767, "src": "all", "table": "default"},
]


# --- routes in namespaces -------------------------------------------------------------------------


def test_another_default_route_explains_the_missing_one() -> None:
    missing = without((kinds.ROUTE, "product2"))
    assert causes(missing) == [(Kind.ROUTE_MISSING, "default", "product2")]
    other = with_fact(Fact(kinds.ROUTE, "product2", value="via 10.0.0.99"), missing)
    assert causes(other) == [(Kind.ROUTE_MISSING, "default", "product2")]
    assert "is via 10.0.0.99, not via 10.0.0.1" in findings(other)[0].cause
    assert findings(other)[0].repair[0] == "sudo ip -n product2 route del default via 10.0.0.99"


@pytest.mark.parametrize(
    ("value", "destination", "words"),
    [
        ("blackhole 10.0.0.60", "10.0.0.60", "silently"),
        ("10.0.0.60 via 10.0.0.99 dev veth-prod2", "10.0.0.60", "to 10.0.0.99, which no node has"),
        ("10.0.0.60 via 10.0.0.50 dev veth-prod2", "10.0.0.60", "redis-cache, which does not forward"),
        ("10.9.0.0/16 dev veth-prod2", "10.9.0.0/16", "by ARP on the link"),
    ],
)
def test_a_route_says_what_it_does_with_packets(value: str, destination: str, words: str) -> None:
    edit = with_fact(Fact(kinds.OWN_ROUTE, "product2", "veth-prod2", value=value))
    assert causes(edit) == [(Kind.ROUTE_SURPLUS, destination, "product2")]
    assert words in findings(edit)[0].cause


def test_a_routing_rule_explains_the_routes_of_its_table() -> None:
    route = Fact(kinds.OWN_ROUTE, "product2", value="unreachable default table 100")
    rule = Fact(kinds.OWN_RULE, "product2", value="priority 7 from all to 10.0.0.60 table 100")
    edit = with_fact(rule, with_fact(route))
    assert causes(edit) == [(Kind.ROUTING_RULE, "7", "product2")]
    assert findings(edit)[0].cause.endswith("table 100 has: unreachable default")
    assert len(findings(edit)[0].repair) == 2


def test_a_missing_rule_of_the_kernel_is_named_by_its_priority() -> None:
    edit = with_fact(Fact(kinds.NO_RULE, "product2", value="32766", peer="main"))
    assert causes(edit) == [(Kind.ROUTING_RULE, "32766", "product2")]
    assert findings(edit)[0].repair == ("sudo ip -n product2 rule add priority 32766 table main",)


# --- bridges --------------------------------------------------------------------------------------


def test_a_missing_bridge_explains_all_that_was_on_it() -> None:
    def edit(facts: list[Fact]) -> list[Fact]:
        return [fact for fact in facts if "br-app" not in (fact.link, fact.bridge)]

    assert causes(edit) == [(Kind.LINK_MISSING, "br-app", "host")]


def test_an_address_with_another_prefix_length_is_that_of_the_bridge() -> None:
    live = Fact(kinds.BRIDGE_ADDRESS, link="br-app", value="10.0.0.1/24")
    edit = with_fact(live, without((kinds.BRIDGE_ADDRESS, "br-app")))
    assert causes(edit) == [(Kind.ADDRESS_MISSING, "10.0.0.1/16", "host")]
    assert "but 10.0.0.1/24" in findings(edit)[0].cause


def test_an_entry_at_another_port_explains_the_missing_one() -> None:
    missing = without((kinds.FORWARD, "veth-prod2-br"))
    moved = Fact(kinds.FORWARD, link="veth-pg-br", bridge="br-app", value="02:42:0a:00:00:1f")
    assert causes(missing) == causes(with_fact(moved, missing))
    assert causes(missing) == [(Kind.FORWARDING_ENTRY, "veth-prod2-br", "host")]
    assert "to veth-pg-br; that MAC is behind veth-prod2-br" in findings(with_fact(moved, missing))[0].cause


def test_isolated_ports_of_a_bridge_are_one_finding() -> None:
    one = with_fact(Fact(kinds.ISOLATED, link="veth-prod2-br"))
    both = with_fact(Fact(kinds.ISOLATED, link="veth-pg-br"), one)
    assert causes(one) == causes(both) == [(Kind.PORT_SETTING, "veth-prod2-br", "host")]
    assert findings(both)[0].breaks.startswith("traffic between product-2 and postgres-db")
    assert len(findings(both)[0].repair) == 2


@pytest.mark.parametrize(
    "fact",
    [
        Fact(kinds.NOT_FORWARDING, link="veth-pg-br", value="disabled"),
        Fact(kinds.NO_BROADCAST, link="veth-pg-br"),
        Fact(kinds.HAIRPIN, link="veth-pg-br"),
    ],
)
def test_a_setting_of_a_port_is_named_by_its_port(fact: Fact) -> None:
    assert causes(with_fact(fact)) == [(Kind.PORT_SETTING, "veth-pg-br", "host")]


@pytest.mark.parametrize("kind", [kinds.FILTERED, kinds.NO_LINKLOCAL_LEARNING])
def test_a_setting_of_a_bridge_is_named_by_its_bridge(kind: kinds.Kind) -> None:
    assert causes(without((kind, "br-app"))) == [(Kind.BRIDGE_SETTING, "br-app", "host")]


# --- the host -------------------------------------------------------------------------------------


class Host(Observed):
    """A host with these routes and rules, whose kernel looks up routes as `answer` says."""

    def __init__(self, routes: Routes, rules: Routes, answer: str = "br-app") -> None:
        super().__init__(load(ROOT / "topology" / "flat.tsv"))
        self._state, self._answer = State("", LINKS, routes, rules, [], []), answer

    @cached_property
    def live(self) -> Live:
        """Return the host, without a fact of the lab."""
        return Live(self._state, [], [], [])

    @cached_property
    def nat_is_wanted(self) -> bool:
        """Return true: the host forwards for the lab."""
        return True

    def run(self, *command: str, **_options: object) -> str:
        """Look up a route."""
        return f'[{{"dev":"{self._answer}"}}]' if "get" in command else ""


def of_host(seen: Observed) -> list[tuple[Kind, str]]:
    """Return kind and object of what the check of the host's routes finds."""
    return [(finding.kind, finding.object) for finding in check_host_routes(seen)]


@pytest.mark.parametrize(
    ("route", "is_found"),
    [
        ({"dst": "10.0.0.30", "dev": "eth0", "gateway": "192.0.2.1"}, True),
        ({"dst": "10.0.0.0/17", "dev": "eth0"}, True),
        ({"type": "blackhole", "dst": "10.0.0.60"}, True),
        ({"dst": "10.0.0.0/8", "dev": "eth0"}, False),  # the bridge's is longer
        ({"dst": "10.0.5.0/24", "dev": "tun0"}, False),  # no node is there
        ({"dst": "default", "dev": "eth0"}, False),
        ({"dst": "10.0.0.30", "dev": "eth0", "table": "52"}, False),  # no rule leads there
    ],
)
def test_a_route_of_the_host_is_found_if_it_is_preferred_to_the_bridges(
    route: dict[str, Any], is_found: bool
) -> None:
    expected = [(Kind.ROUTE_SURPLUS, route["dst"])] if is_found else []
    assert of_host(Host([DIRECT, route], RULES)) == expected


def test_a_rule_of_the_host_is_found_if_the_kernel_does_not_take_the_bridge() -> None:
    to_lab = {"priority": 5200, "src": "all", "dst": "10.0.0.0", "dstlen": 8, "table": "52"}
    assert of_host(Host([DIRECT], [*RULES, to_lab], "eth0")) == [(Kind.ROUTING_RULE, "5200")]
    assert of_host(Host([DIRECT], [*RULES, to_lab])) == []
    marked = {"priority": 5210, "src": "all", "fwmark": "0x80000", "table": "52"}
    assert of_host(Host([DIRECT], [*RULES, marked], "eth0")) == []
    from_lab = {"priority": 9, "src": "10.0.0.0", "srclen": 16, "table": "52"}
    assert of_host(Host([DIRECT], [*RULES, from_lab])) == [(Kind.ROUTING_RULE, "9")]


def test_a_rule_of_the_kernel_that_the_host_does_not_have_is_found() -> None:
    assert of_host(Host([DIRECT], RULES[:1] + RULES[2:])) == [(Kind.ROUTING_RULE, "32766")]


@pytest.fixture
def set_sysctls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """Return a function that checks a host with these sysctls."""

    def check(**values: str) -> list[Finding]:
        for key, value in values.items():
            path = tmp_path / key.replace("__", "/").replace("br_app", "br-app")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        monkeypatch.setattr(host, "_SYS", tmp_path)
        monkeypatch.setattr(host, "inside", no_namespace)
        return list(host.check_host(Host([DIRECT, {"dst": "default", "dev": "eth0"}], RULES)))

    return check


def no_namespace(_name: str) -> Any:
    """Behave as for a namespace that does not exist."""
    raise OSError


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [
        ("net__ipv4__conf__br_app__forwarding", "0", "1"),
        ("net__ipv4__conf__eth0__forwarding", "0", "1"),
        ("net__ipv4__conf__br_app__arp_ignore", "8", "1"),
        ("net__ipv4__ip_default_ttl", "1", "128"),
        ("net__ipv4__ip_local_port_range", "50000\t50003", "32768\t60999"),
        ("net__netfilter__nf_conntrack_udp_timeout", "0", "30"),
        ("net__ipv4__icmp_echo_ignore_all", "1", "0"),
    ],
)
def test_a_sysctl_is_found_only_with_a_value_that_breaks_something(
    set_sysctls: Callable[..., list[Finding]], key: str, wrong: str, right: str
) -> None:
    assert set_sysctls(**{key: right}) == []
    found = set_sysctls(**{key: wrong})
    name = key.replace("__", ".").replace("br_app", "br-app")
    assert [(one.kind, one.object, one.place) for one in found] == [(Kind.SYSCTL, name, "host")]


def test_conntrack_may_forget_ended_connections_at_once(set_sysctls: Callable[..., list[Finding]]) -> None:
    name = "net__netfilter__nf_conntrack_tcp_timeout_"
    assert set_sysctls(**{f"{name}close": "1", f"{name}time_wait": "1"}) == []
    assert len(set_sysctls(**{f"{name}established": "1"})) == 1


def test_route_localnet_may_be_on_for_all_interfaces(set_sysctls: Callable[..., list[Finding]]) -> None:
    key = "net__ipv4__conf__br_app__route_localnet"
    assert len(set_sysctls(**{key: "0", "net__ipv4__conf__all__route_localnet": "0"})) == 1
    assert set_sysctls(**{key: "0", "net__ipv4__conf__all__route_localnet": "1"}) == []


def test_a_connection_table_that_is_nearly_full_is_found(set_sysctls: Callable[..., list[Finding]]) -> None:
    keys = ("net__netfilter__nf_conntrack_count", "net__netfilter__nf_conntrack_max")
    assert set_sysctls(**dict(zip(keys, ("100", "262144"), strict=True))) == []
    found = set_sysctls(**dict(zip(keys, ("262100", "262144"), strict=True)))
    assert [(one.kind, one.object) for one in found] == [(Kind.CONNTRACK_FULL, "nf_conntrack")]
