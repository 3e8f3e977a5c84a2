"""Check links and addresses of the lab against the topology table. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lab.topology import Node
from security.explain.advice import REPAIR
from security.explain.lab_state import Lab
from security.explain.result import Kind, Outcome, Problem
from security.explain.snapshot import Place


def missing_namespace(node: Node) -> Outcome:
    """Return the outcome where a node's namespace is missing."""
    fix = "create it and start its program with `sudo make up`"
    return Outcome(Kind.NO_NAMESPACE, f"there is no namespace {node.namespace}", fix)


def find_fault(lab: Lab, node: Node) -> Outcome | None:
    """Find the faults that prevent a node from sending and receiving frames, the first cause first."""
    return next(_faults_of(lab, node), None)


def _faults_of(lab: Lab, node: Node) -> Iterator[Outcome]:
    namespace, place = node.namespace, lab.place(node)
    where, command = f"namespace {namespace}", f"sudo ip -n {namespace}"
    if not place.exists:
        yield missing_namespace(node)
    for end in (*_ends_of_wire(lab, node), (lab.host, node.bridge, "on the host", "ip link")):
        yield from _link_faults(*end)
    master = lab.host.link(node.bridge_interface).get("master")
    if master != node.bridge:
        why = f"{node.bridge_interface} is a port of {master or 'no bridge'}, not of bridge {node.bridge}"
        fix = f"sudo ip link set {node.bridge_interface} master {node.bridge}"
        yield Outcome(Kind.NOT_A_PORT, why, fix)
    mac, wanted = place.link(node.interface).get("address"), lab.mac(node)
    if mac != wanted:
        why = f"{node.interface} in {where} has MAC {mac}, the table's is {wanted}, which the rules require"
        yield Outcome(Kind.WRONG_ADDRESS, why, f"{command} link set {node.interface} address {wanted}")
    if not place.has_address(str(node.address.ip)):
        fix = f"{command} addr add {node.address} dev {node.interface} (or sudo make up)"
        yield Outcome(Kind.WRONG_ADDRESS, f"{node.address.ip} is not an address of {where}", fix)


def _ends_of_wire(lab: Lab, node: Node) -> Iterator[tuple[Place, str, str, str]]:
    """Yield both ends of a veth pair: place, interface, where it is, command."""
    namespace = node.namespace
    yield lab.place(node), node.interface, f"in namespace {namespace}", f"ip -n {namespace} link"
    yield lab.host, node.bridge_interface, "on the host", "ip link"


def _link_faults(place: Place, name: str, where: str, command: str) -> Iterator[Outcome]:
    if not place.link(name):
        yield Outcome(Kind.LINK_DOWN, f"{name} {where} is missing", REPAIR)
    elif not place.is_up(name):
        yield Outcome(Kind.LINK_DOWN, f"{name} {where} is down", f"sudo {command} set {name} up")


def find_bridge_fault(lab: Lab, node: Node) -> Outcome | None:
    """Check that a node's bridge is up and has the address that is the node's gateway."""
    bridge = lab.topology.bridge_of(node)
    if down := next(_link_faults(lab.host, bridge.name, "on the host", "ip link"), None):
        return down
    if lab.host.has_address(str(bridge.address.ip)):
        return None
    why = f"bridge {bridge.name} has no address {bridge.address}, the gateway of its nodes"
    return Outcome(Kind.WRONG_ADDRESS, why, f"sudo ip addr add {bridge.address} dev {bridge.name}")


def find_shared_address(lab: Lab, node: Node) -> Outcome | None:
    """Check that the host does not have a node's address as well."""
    address = str(node.address.ip)
    if address not in lab.host.addresses:
        return None
    cidr, interface = lab.host.addresses[address]
    both = f"namespace {node.namespace} and of the host ({interface})"
    why = f"{address} is an address of {both}: the packet goes to the one that replies to ARP first"
    return Outcome(Kind.WRONG_ADDRESS, why, f"sudo ip addr del {cidr} dev {interface}")


def find_problems(lab: Lab, node: Node) -> Iterator[Problem]:
    """Yield the problems of a node that do not affect a small packet to another namespace."""
    place, namespace = lab.place(node), node.namespace
    if not place.exists:
        return
    if not place.is_up("lo"):
        what = f"lo is down in namespace {namespace}: its programs cannot reach each other"
        yield Problem(what, f"sudo ip -n {namespace} link set lo up")
    if shared := find_shared_address(lab, node):
        yield Problem(shared.why, shared.fix)
    address = str(node.address.ip)
    for other, where in lab.owners(address).items():
        if other != namespace:
            fix = f"sudo ip -n {other} addr del {where} (or sudo make up)"
            yield Problem(f"{address} is also an address of namespace {other}", fix)
    yield from _find_small_mtus(lab, node)
    for pid in place.stopped:
        what = f"process {pid} in namespace {namespace} is stopped (SIGSTOP): it does not read what the kernel accepts"
        yield Problem(what, f"sudo kill -CONT {pid}")


def _find_small_mtus(lab: Lab, node: Node) -> Iterator[Problem]:
    """Compare the MTU of both ends of a veth pair with the largest one on the bridge."""
    ports = [other.bridge_interface for other in lab.topology.nodes if other.bridge == node.bridge]
    links = [*map(lab.host.link, ports), lab.place(node).link(node.interface)]
    largest = max((link["mtu"] for link in links if link), default=0)
    for place, name, _, command in _ends_of_wire(lab, node):
        mtu = place.link(name).get("mtu", largest)
        if mtu < largest:
            what = f"packets over {mtu} bytes are lost at {name}: its MTU is {mtu}, the others' {largest}"
            yield Problem(what, f"sudo {command} set {name} mtu {largest}")
