"""The causes that diagnose names for differences of the network from the flat table, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import pytest

from lab.network import facts as kinds
from lab.network.facts import Fact, wanted_facts
from lab.network.live import Live
from lab.network.plan import Difference, difference
from lab.network.reading import State
from lab.topology import ROOT, Topology, load
from security.diagnose.finding import Finding, Kind
from security.diagnose.network import check_network
from security.diagnose.observed import Observed

Edit = Callable[[list[Fact]], list[Fact]]


class Seen(Observed):
    """A lab whose facts are the table's, edited."""

    def __init__(self, topology: Topology, edit: Edit) -> None:
        super().__init__(topology)
        self._edit = edit

    @cached_property
    def network(self) -> Difference:
        """Compare the edited facts with the table."""
        wanted = wanted_facts(self.topology, is_filtered=True)
        return difference(wanted, self._edit(wanted))

    @cached_property
    def live(self) -> Live:
        """Return a host without links."""
        return Live(State("", [], [], [], [], []), [], [], [])

    def run(self, *_command: str, **_options: object) -> str:
        """Run nothing."""
        return ""


def findings(edit: Edit) -> list[Finding]:
    """Return what the network check finds in the edited lab."""
    return list(check_network(Seen(load(ROOT / "topology" / "flat.tsv"), edit)))


def causes(edit: Edit) -> list[tuple[Kind, str, str]]:
    """Return the kind, object and place of each finding."""
    return [(finding.kind, finding.object, finding.place) for finding in findings(edit)]


def without(*of: tuple[kinds.Kind, str]) -> Edit:
    """Return the edit that removes the facts of a kind about a namespace or link."""
    return lambda facts: [
        fact for fact in facts if (fact.kind, fact.place) not in of and (fact.kind, fact.link) not in of
    ]


def with_fact(fact: Fact, edit: Edit = lambda facts: facts) -> Edit:
    """Return the edit that also adds a fact."""
    return lambda facts: [*edit(facts), fact]


def test_the_table_itself_has_no_finding() -> None:
    assert causes(lambda facts: facts) == []


def test_a_link_that_is_down_explains_the_missing_default_route() -> None:
    edit = without((kinds.UP_INSIDE, "veth-redis"), (kinds.ROUTE, "redis-cache"))
    assert causes(edit) == [(Kind.LINK_DOWN, "veth-redis", "redis-cache")]
    assert findings(edit)[0].repair == (
        "sudo ip -n redis-cache link set dev veth-redis up",
        "sudo ip -n redis-cache route add default via 10.0.0.1",
    )


def test_lo_that_is_down_does_not_explain_the_default_route() -> None:
    edit = without((kinds.ROUTE, "redis-cache"))

    def lo_down(facts: list[Fact]) -> list[Fact]:
        return [fact for fact in edit(facts) if fact != Fact(kinds.UP_INSIDE, "redis-cache", "lo")]

    assert (Kind.LINK_DOWN, "lo", "redis-cache") in causes(lo_down)
    assert len(causes(lo_down)) == 2


def test_a_port_of_another_bridge_explains_its_lost_settings() -> None:
    edit = without(
        *((kind, "veth-redis-br") for kind in (kinds.PORT, kinds.NO_LEARNING, kinds.FORWARD)),
    )
    moved = with_fact(Fact(kinds.PORT, link="veth-redis-br", bridge="br-x"), edit)
    assert causes(edit) == causes(moved) == [(Kind.WRONG_BRIDGE, "veth-redis-br", "host")]
    assert "is a port of no bridge, not of bridge br-app" in findings(edit)[0].cause
    assert "is a port of bridge br-x, not of bridge br-app" in findings(moved)[0].cause


def test_the_mtu_of_a_port_explains_that_of_its_bridge() -> None:
    edit = with_fact(
        Fact(kinds.MTU, link="br-app", value="1300"),
        with_fact(Fact(kinds.MTU, link="veth-pg-br", value="1300")),
    )
    assert causes(edit) == [(Kind.MTU, "veth-pg-br", "host")]
    assert causes(with_fact(Fact(kinds.MTU, link="br-app", value="1300"))) == [(Kind.MTU, "br-app", "host")]


def test_isolated_ports_are_one_finding_in_the_order_of_the_table() -> None:
    later_first = with_fact(
        Fact(kinds.ISOLATED, link="veth-api-br"), with_fact(Fact(kinds.ISOLATED, link="veth-pg-br"))
    )
    (found,) = findings(later_first)
    assert found.object == "veth-api-br"
    assert found.cause.startswith("veth-api-br and veth-pg-br are isolated")


def test_the_mac_of_another_node_is_named_as_its() -> None:
    live = Fact(kinds.VETH, "redis-cache", "veth-redis", peer="veth-redis-br", value="02:42:0a:00:00:1e")
    edit = with_fact(live, without((kinds.VETH, "redis-cache")))
    assert causes(edit) == [(Kind.WRONG_MAC, "veth-redis", "redis-cache")]
    assert findings(edit)[0].cause.endswith("and 02:42:0a:00:00:1e is the MAC of product-1")
    assert findings(edit)[0].repair == (
        "sudo ip -n redis-cache link set dev veth-redis address 02:42:0a:00:00:32",
    )


def test_an_interface_in_another_namespace_explains_what_its_own_lost() -> None:
    live = Fact(kinds.VETH, "product2", "veth-redis", peer="veth-redis-br", value="02:42:0a:00:00:32")

    def edit(facts: list[Fact]) -> list[Fact]:
        own = without((kinds.ROUTE, "redis-cache"))(facts)
        left = [fact for fact in own if (fact.place, fact.link) != ("redis-cache", "veth-redis")]
        return [*left, live, Fact(kinds.UP_INSIDE, "product2", "veth-redis")]

    assert causes(edit) == [(Kind.LINK_MISSING, "veth-redis", "redis-cache")]
    assert "its end is veth-redis in namespace product2" in findings(edit)[0].cause


def test_a_namespace_that_is_missing_explains_all_that_was_in_it() -> None:
    def edit(facts: list[Fact]) -> list[Fact]:
        return [fact for fact in facts if fact.place != "redis-cache" and fact.link != "veth-redis-br"]

    assert causes(edit) == [(Kind.NAMESPACE_MISSING, "redis-cache", "host")]


@pytest.mark.parametrize(
    ("cidr", "words"),
    [
        ("10.0.0.50/30", "has 10.0.0.50/30: the prefix length is 30, not 16"),
        ("10.0.0.99/16", "has 10.0.0.99/16 in place of 10.0.0.50/16"),
    ],
)
def test_an_address_in_place_of_the_wanted_one_is_one_finding(cidr: str, words: str) -> None:
    live = Fact(kinds.ADDRESS, "redis-cache", "veth-redis", value=cidr)
    edit = with_fact(live, without((kinds.ADDRESS, "redis-cache"), (kinds.ROUTE, "redis-cache")))
    assert causes(edit) == [(Kind.ADDRESS_MISSING, "10.0.0.50/16", "redis-cache")]
    assert words in findings(edit)[0].cause
    assert f"sudo ip -n redis-cache addr del {cidr} dev veth-redis" in findings(edit)[0].repair


def test_an_address_of_another_node_is_a_duplicate_whatever_its_prefix() -> None:
    fact = Fact(kinds.ADDRESS, "product2", "lo", value="10.0.0.50/32")
    assert causes(with_fact(fact)) == [(Kind.ADDRESS_DUPLICATE, "10.0.0.50", "product2")]
    of_gateway = Fact(kinds.ADDRESS, "product2", "veth-prod2", value="10.0.0.1/16")
    assert causes(with_fact(of_gateway)) == [(Kind.ADDRESS_DUPLICATE, "10.0.0.1", "product2")]
    on_bridge = Fact(kinds.BRIDGE_ADDRESS, link="br-app", value="10.0.0.50/32")
    assert causes(with_fact(on_bridge)) == [(Kind.ADDRESS_DUPLICATE, "10.0.0.50", "host")]
    of_nobody = Fact(kinds.ADDRESS, "product2", "veth-prod2", value="10.0.0.99/16")
    assert causes(with_fact(of_nobody)) == [(Kind.ADDRESS_SURPLUS, "10.0.0.99/16", "product2")]


def test_a_permanent_entry_is_compared_with_the_mac_of_its_address() -> None:
    fact = Fact(kinds.NEIGHBOUR, "api-gateway", "veth-api", value="10.0.0.30", peer="02:42:0a:00:00:99")
    assert causes(with_fact(fact)) == [(Kind.NEIGHBOUR, "10.0.0.30", "api-gateway")]
    assert "product-1 has 02:42:0a:00:00:1e" in findings(with_fact(fact))[0].cause


def test_entries_of_an_interface_without_arp_are_the_kernels() -> None:
    entry = Fact(kinds.NEIGHBOUR, "api-gateway", "veth-api", value="10.0.0.30", peer="02:42:0a:00:00:14")
    edit = with_fact(entry, with_fact(Fact(kinds.NO_ARP, "api-gateway", "veth-api")))
    assert causes(edit) == [(Kind.ARP_OFF, "veth-api", "api-gateway")]


@pytest.mark.parametrize(
    ("fact", "kind"),
    [
        (Fact(kinds.QDISC, link="veth-pg-br", value="tbf", peer="root", detail="root"), Kind.RATE_LIMIT),
        (Fact(kinds.NO_ARP, link="veth-pg-br"), Kind.ARP_OFF),
    ],
)
def test_a_setting_by_hand_is_a_cause_of_its_own(fact: Fact, kind: Kind) -> None:
    assert causes(with_fact(fact)) == [(kind, "veth-pg-br", "host")]


def test_a_difference_that_no_check_explains_is_told_as_it_is() -> None:
    fact = Fact(kinds.Kind("{link} is of a kind that no check knows"), link="br-app")
    assert causes(with_fact(fact)) == [(Kind.UNKNOWN_DIFFERENCE, "br-app", "host")]
