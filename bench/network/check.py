"""Check that a benchmarked network is whole, by reading each namespace: no contender may leave a part out.

python3 -m bench.network.check NODES GATEWAY/LENGTH, for the namespaces in /run/netns.
"""

import ctypes
import ipaddress
import os
import subprocess
import sys
from pathlib import Path

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class IncompleteError(Exception):
    """A part of the network is missing."""


def enter(namespace: Path) -> None:
    """Move this thread into a network namespace."""
    with namespace.open() as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise IncompleteError(f"{namespace}: {os.strerror(ctypes.get_errno())}")


def own_address(network: ipaddress.IPv4Network) -> str:
    """Return the namespace's address in that network: a `/32 host LOCAL` in its routing trie."""
    address = ""
    for line in Path("/proc/thread-self/net/fib_trie").read_text().splitlines():
        words = line.split()
        if words[0] == "|--":
            address = words[1]
        elif words[0] == "/32" and words[-1] == "LOCAL" and ipaddress.ip_address(address) in network:
            return address
    raise IncompleteError(f"no address in {network}")


def has_default_route(gateway: ipaddress.IPv4Address) -> bool:
    """Tell whether there is a default route via the gateway (the kernel prints it as little-endian hex)."""
    wanted = gateway.packed[::-1].hex().upper()
    lines = Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    return any(line.split()[1:3] == ["00000000", wanted] for line in lines)


def ping(namespace: Path, address: str) -> None:
    """Ping once from a namespace. Raises IncompleteError without an answer."""
    command = ["nsenter", f"--net={namespace}", "ping", "-c", "1", "-W", "2", address]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise IncompleteError(f"{namespace} gets no answer from {address}")


def check(namespaces: list[Path], nodes: int, bridge_address: str) -> None:
    """Check that each node has its own address and the default route, and that pings are answered."""
    gateway = ipaddress.IPv4Interface(bridge_address)
    addresses = []
    with Path("/proc/self/ns/net").open() as way_back:
        for namespace in namespaces:
            enter(namespace)
            addresses.append(own_address(gateway.network))
            if not has_default_route(gateway.ip):
                raise IncompleteError(f"{namespace} has no default route via {gateway.ip}")
        if LIBC.setns(way_back.fileno(), CLONE_NEWNET) != 0:
            raise IncompleteError("cannot return to the host's namespace")
    if len(set(addresses)) != nodes:
        raise IncompleteError(f"{len(set(addresses))} addresses for {nodes} nodes")
    ping(namespaces[0], addresses[-1])
    ping(namespaces[-1], str(gateway.ip))


if __name__ == "__main__":
    try:
        named = [path for path in Path("/run/netns").iterdir() if path.name != "world"]
        check(sorted(named), int(sys.argv[1]), sys.argv[2])
    except IncompleteError as error:
        sys.exit(f"network_check.py: {error}")
