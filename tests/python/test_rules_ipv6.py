"""The page of the lab's rules with those of ip6tables."""

from __future__ import annotations

import pytest

from lab.ruleset import iptables
from lab.ruleset.iptables import parse
from lab.topology import load
from security.rules import described

SIX = """\
*nat
[0:0] -A PREROUTING -m comment --comment "cnet: in" -m addrtype --dst-type LOCAL -j CNET-PUBLISH
[1:80] -A CNET-PUBLISH -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00:cafe::10]:80
COMMIT
*filter
[0:0] -A FORWARD -m comment --comment "cnet: forwarded packets" -j CNET-FORWARD
[0:0] -A CNET-FORWARD -s ::1/128 -d fd00:cafe::10/128 -o br-app -p tcp -m tcp --dport 80 -j ACCEPT
[0:0] -A CNET-FORWARD -s fd00:cafe::/64 -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
[0:0] -A CNET-FORWARD -d 2001:db8::/32 -m ipv6header --header frag,ipv6-route --soft -j DROP
broken
COMMIT
"""


def test_rules_of_ip6tables_are_described_like_those_of_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "_run", lambda *command: SIX if command[0] == "ip6tables-save" else "")
    saved = iptables.live_ruleset6()
    page = described.page_of(saved, load("dual"))
    assert [row.meaning for row in page.rows] == [
        "Packets to the host itself: go to CNET-PUBLISH.",
        "TCP packets with destination port 8080: are forwarded to nginx-lb (fd00:cafe::10) port 80.",
        "All packets: go to CNET-FORWARD.",
        "TCP packets from localhost (::1) to nginx-lb (fd00:cafe::10) with destination port 80, "
        "going out on bridge br-app: are accepted.",
        "ICMPv6 packets from the network of br-app (fd00:cafe::/64) of type neighbour solicitation "
        "with hop limit 255: are accepted.",
        "Packets to 2001:db8::/32 with extension header frag or ipv6-route: are dropped without a reply.",
    ]
    assert {row.table for row in page.rows} == {"ip6tables nat", "ip6tables filter"}
    assert page.journeys["node -> outside, IPv6"][-1] == "filter FORWARD: CNET-FORWARD"
    assert [(line.reason, line.text) for line in page.unread] == [
        ("ip6tables: not [packets:bytes] -A CHAIN ...", "broken")
    ]


def test_without_rules_of_ip6tables_no_path_of_ipv6_is_shown() -> None:
    saved = parse("*filter\n[0:0] -A FORWARD -j CNET-FORWARD\n[0:0] -A CNET-FORWARD -j ACCEPT\nCOMMIT\n")
    page = described.page_of(saved, load("flat"))
    assert "node -> outside" in page.journeys
    assert not [name for name in page.journeys if "IPv6" in name]
