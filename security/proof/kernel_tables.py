"""Tables of the kernel that forged messages change: forwarding entries of bridges, and neighbours of namespaces."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from lab.family import IPV6
from lab.network import facts as kinds
from lab.network.facts import mac_of, wanted_facts
from lab.network.live import read_host_facts
from lab.network.plan import difference
from lab.topology import Topology
from security.proof.probe import Difference

_SETTINGS = (kinds.NO_LINKLOCAL_LEARNING, kinds.CLOSED_PORT, kinds.NO_LEARNING)
_THREADS = 4


def find_bridge_differences(topology: Topology) -> Iterator[Difference]:
    """Compare the bridges' settings and forwarding entries with the topology. Raises ReadError."""
    found = difference(wanted_facts(topology, is_filtered=True), read_host_facts(topology))
    for facts, why in ((found.missing, "missing"), (found.surplus, "not in the topology")):
        for fact in facts:
            if fact.kind in _SETTINGS:  # the report groups settings: one often differs at all ports
                yield Difference(str(fact), why)
            elif fact.kind is kinds.FORWARD:
                yield Difference(f"bridge {fact.bridge}", f"{fact}: {why}")


def find_neighbour_differences(topology: Topology) -> Iterator[Difference]:
    """Compare each IPv6 neighbour of the host and of each namespace with the MAC that the topology gives it."""
    macs = {
        str(address.ip): mac_of(topology.node_of_wire(node).address.ip)
        for node, address in IPV6.addresses(topology.nodes)
    }
    bridges = IPV6.addresses(topology.bridges)
    macs |= {str(address.ip): mac_of(bridge.address.ip) for bridge, address in bridges}
    namespaces = dict.fromkeys(node.namespace for node in topology.nodes)
    with ThreadPoolExecutor(_THREADS) as pool:
        tables = zip(namespaces, pool.map(_neighbours, namespaces), strict=True)
        for namespace, neighbours in (*tables, ("the host", _neighbours(""))):
            for address, mac in neighbours:
                if mac != macs.get(address, mac):
                    yield Difference(
                        f"neighbours of {namespace}", f"{address} is at {mac}, not {macs[address]}"
                    )


def flush_neighbours(places: Iterable[tuple[str, str]]) -> None:
    """Delete the neighbours of both families; a place is a namespace, empty for the host, and an interface."""
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(_flush, set(places)))


def _flush(place: tuple[str, str]) -> None:
    namespace, interface = place
    command = ["ip", *(["-n", namespace] if namespace else []), "neigh", "flush", "dev", interface]
    subprocess.run(command, check=False, capture_output=True)


def _neighbours(namespace: str) -> list[tuple[str, str]]:
    """Return address and MAC of the IPv6 neighbours in a namespace, or of the host."""
    command = ["ip", *(["-n", namespace] if namespace else []), "-6", "-j", "neigh"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [(entry["dst"], entry["lladdr"]) for entry in json.loads(printed or "[]") if "lladdr" in entry]
