"""Compare bridges with the topology: each MAC at its own port, and no address learned from frames."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.topology import LINK_GROUP, Topology
from security.policy.compiler import mac_of, wires

_OF_BRIDGE = {"no_linklocal_learn": 1, "mcast_snooping": 0}
_OF_PORT = {"learning": 0, "flood": 0}
# The host accepts no packet from a port: only link-local frames arrive there, and bridge rules do not match them.
PORT_SYSCTLS = {
    "/proc/sys/net/ipv4/conf/{}/arp_ignore": "8",
    "/proc/sys/net/ipv4/conf/{}/drop_unicast_in_l2_multicast": "1",
    "/proc/sys/net/ipv6/conf/{}/disable_ipv6": "1",
}


def find_bridge_differences(topology: Topology) -> Iterator[tuple[str, str]]:
    """Return each difference: the bridge or port, and what is wrong."""
    links = {
        link["ifname"]: link for link in _json("ip", "-j", "-d", "link", "show", "group", str(LINK_GROUP))
    }
    for bridge in topology.bridges:
        yield from _compare_settings(bridge.name, links, "info_data", _OF_BRIDGE)
    for port in wires(topology):
        yield from _compare_settings(port, links, "info_slave_data", _OF_PORT)
        for path, value in PORT_SYSCTLS.items():
            setting = Path(path.format(port))
            if setting.exists() and setting.read_text().strip() != value:
                yield port, f"{setting} must be {value}; it is {setting.read_text().strip()}"
    yield from _compare_entries(
        topology, [entry for entry in _json("bridge", "-j", "fdb", "show") if "master" in entry]
    )


def _compare_settings(
    name: str, links: dict[str, Any], data: str, wanted: dict[str, int]
) -> Iterator[tuple[str, str]]:
    settings = links.get(name, {}).get("linkinfo", {}).get(data, {})
    for key, value in wanted.items():
        if settings.get(key) != value:
            yield name, f"{key} must be {value:d}; it is {settings.get(key)}"


def _compare_entries(topology: Topology, entries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Compare the forwarding tables: one entry for each wire, and no others but the kernel's own."""
    bridges = {bridge.name for bridge in topology.bridges}
    wanted = {(nodes[0].bridge, mac_of(nodes[0]), port) for port, nodes in wires(topology).items()}
    present = {
        (entry["master"], entry["mac"], entry["ifname"]): entry
        for entry in entries
        if entry["master"] in bridges and entry.get("state") != "permanent"
    }
    for bridge, mac, port in sorted(wanted - present.keys()):
        yield bridge, f"frames for {mac} must go to {port}; this entry is missing"
    for bridge, mac, port in sorted(present.keys() - wanted):
        yield bridge, f"frames for {mac} go to {port}, against the topology"
    for bridge, mac, port in sorted(wanted & present.keys()):
        entry = present[bridge, mac, port]
        if entry.get("state") != "static" or "sticky" not in entry["flags"]:
            why = "must be static and sticky, so that no other port can take it over"
            yield bridge, f"the entry of {mac} at {port} {why}"


def _json(*command: str) -> list[dict[str, Any]]:
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    entries: list[dict[str, Any]] = json.loads(output or "[]")
    return [entry for entry in entries if entry]
