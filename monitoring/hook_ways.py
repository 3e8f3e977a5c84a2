"""The three ways to a published port, as texts: from outside, from another namespace, from the host itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from monitoring.live import Link, lab_links
from monitoring.picture import Picture


@dataclass(frozen=True)
class Ways:
    """Where each way to the first published port starts, and its end; empty if no port is published."""

    outside: str = ""
    namespace: str = ""
    localhost: str = ""
    target: str = ""
    netfilter: str = ""  # whether the bridges pass their frames to iptables
    is_bridged: bool = True  # the way from a namespace stays on one bridge


def ways_of(picture: Picture, links: Iterable[Link]) -> Ways:
    """Return the ways of a live lab; `links` are those of the host."""
    netfilter = _netfilter(links)
    cards = {card.name: card for card in picture.cards}
    published = next((one for one in picture.lab.published if picture.name_at(one) in cards), None)
    if not published:
        return Ways(netfilter=netfilter)
    target = cards[picture.name_at(published)]
    bridge = next((bridge for bridge in picture.lab.bridges if bridge.name == target.bridge), None)
    uplinks = [word.rpartition(" ")[2].partition("/")[0] for word in picture.uplinks()]
    gateway = bridge.addresses[0].partition("/")[0] if bridge and bridge.addresses else "the host"
    return Ways(
        outside=f"\u2460 from outside to {uplinks[0] if uplinks else 'the host'}:{published.host_port}",
        namespace=f"\u2461 from a namespace to {gateway}:{published.host_port}",
        localhost=f"\u2462 from the host to localhost:{published.host_port}",
        target=f"{target.bridge} forwards the frame to port {target.port}, into namespace {target.namespace}: "
        f"{target.name}, port {published.port}",
        netfilter=netfilter,
        is_bridged=any(
            card.bridge == target.bridge for card in picture.cards if card.namespace != target.namespace
        ),
    )


def _netfilter(links: Iterable[Link]) -> str:
    """Say whether the lab's bridges pass the packets in their frames to iptables."""
    settings = {
        link["ifname"]: link["linkinfo"]["info_data"].get("nf_call_iptables")
        for link in lab_links(links)
        if link.get("linkinfo", {}).get("info_kind") == "bridge"
    }
    off = sorted(name for name, value in settings.items() if not value)
    if off:
        return f"is OFF on {', '.join(off)}: its frames skip all iptables hooks until they are routed"
    return "is on: the packet in the frame goes through iptables"
