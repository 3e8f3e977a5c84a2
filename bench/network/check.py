"""Check that a benchmarked network is complete, by reading each namespace: no contender may omit a part.

python3 -m bench.network.check NODES GATEWAY/LENGTH..., for the namespaces in /run/netns and each family's gateway.
"""

import json
import subprocess
import sys
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from pathlib import Path


class IncompleteError(Exception):
    """A part of the network is missing."""


def check_namespace(namespace: Path, bridge: IPv4Interface | IPv6Interface) -> str:
    """Return the namespace's address in the bridge's network. Raises IncompleteError if a part is missing."""
    family = f"-{bridge.version}"
    command = ["nsenter", f"--net={namespace}", "ip", "-json", family, "route", "show", "table", "all"]
    routes = json.loads(subprocess.run(command, capture_output=True, check=True).stdout or "[]")
    if not any(route["dst"] == "default" and route.get("gateway") == str(bridge.ip) for route in routes):
        raise IncompleteError(f"{namespace} has no default route via {bridge.ip}")
    for route in routes:
        if route.get("type") == "local" and ip_address(route["dst"]) in bridge.network:
            return str(route["dst"])
    raise IncompleteError(f"{namespace} has no address in {bridge.network}")


def ping(namespace: Path, address: str) -> None:
    """Ping once from a namespace. Raises IncompleteError without an answer."""
    command = ["nsenter", f"--net={namespace}", "ping", "-c", "1", "-W", "2", address]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        raise IncompleteError(f"{namespace} gets no answer from {address}")


def check(namespaces: list[Path], nodes: int, bridge_address: str) -> None:
    """Check that each node has its own address and the default route, and that pings are answered."""
    bridge = ip_interface(bridge_address)
    addresses = [check_namespace(namespace, bridge) for namespace in namespaces]
    if len(set(addresses)) != nodes:
        raise IncompleteError(f"{len(set(addresses))} addresses for {nodes} nodes")
    ping(namespaces[0], addresses[-1])
    ping(namespaces[-1], str(bridge.ip))


if __name__ == "__main__":
    try:
        named = [path for path in Path("/run/netns").iterdir() if path.name != "world"]
        for gateway in sys.argv[2:]:
            check(sorted(named), int(sys.argv[1]), gateway)
    except IncompleteError as error:
        sys.exit(f"check.py: {error}")
