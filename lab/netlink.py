"""Read links, addresses, qdiscs and firewall chains by netlink.

The numbers are from the kernel's headers linux/rtnetlink.h and linux/netfilter/nf_tables.h.

Import only modules that load quickly: each run of lab/network needs this one.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NETFILTER, _NFT = 12, 10 << 8  # NETLINK_NETFILTER; NFNL_SUBSYS_NFTABLES
_ERROR, _DONE, _ATTRIBUTE = 2, 3, 0x3FFF
_GET_LINK, _GET_ADDRESS, _GET_QDISC, _GET_CHAIN, _GET_RULE = 18, 22, 38, _NFT | 4, _NFT | 7
_ALIAS, _LINK_INFO, _GROUP = 20, 18, 27  # IFLA_...
_ADDRESS, _LOCAL_ADDRESS = 1, 2  # IFA_...: of IPv6, IFA_ADDRESS is the interface's own address
_ATTACHED = {0xFFFFFFFF: "root", 0xFFFFFFF1: "ingress"}
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_TRACE_TABLE = "cnet-trace"  # security/explain/kernel_trace.py creates this table to trace a packet

Attributes = dict[int, bytes]
Qdisc = tuple[int, str, str]  # interface, kind, "root" or "ingress"


def dump(protocol: int, message: int, header: bytes) -> Iterator[tuple[bytes, Attributes]]:
    """Yield (fixed header, attributes) of each object; none if the kernel does not have the subsystem."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as connection:
        connection.send(struct.pack("=IHHII", 16 + len(header), message, _REQUEST_DUMP, 1, 0) + header)
        while True:
            for kind, body in messages(connection.recv(1 << 17)):
                if kind in (_DONE, _ERROR):
                    return
                yield body[: len(header)], attributes(body[len(header) :])


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each message."""
    while len(data) >= 16:  # noqa: PLR2004 - the header of a message
        length, kind = struct.unpack_from("=IH", data)
        yield kind, data[16:length]
        data = data[(length + 3) & ~3 :]


def attributes(data: bytes) -> Attributes:
    """Read attributes: type -> value."""
    found = {}
    while len(data) >= 4:  # noqa: PLR2004 - the header of an attribute
        length, kind = struct.unpack_from("=HH", data)
        found[kind & _ATTRIBUTE] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def text(value: bytes) -> str:
    """Read a string that ends with a zero byte."""
    return value.rstrip(b"\0").decode("utf-8", "replace")


def bridge_aliases(group: int) -> list[str]:
    """List the aliases of the bridges in a group of links."""
    found = []
    for _, about in dump(socket.NETLINK_ROUTE, _GET_LINK, bytes(16)):
        kind = attributes(about.get(_LINK_INFO, b"")).get(1, b"")
        if text(kind) == "bridge" and about.get(_GROUP) == struct.pack("=I", group):
            found.append(text(about.get(_ALIAS, b"")))
    return found


def addresses(*, ipv6: bool = False) -> list[tuple[str, int, str]]:
    """List the addresses of a family, each with its prefix length and interface."""
    family, kind = (socket.AF_INET6, _ADDRESS) if ipv6 else (socket.AF_INET, _LOCAL_ADDRESS)
    found = []
    for header, about in dump(socket.NETLINK_ROUTE, _GET_ADDRESS, struct.pack("=B7x", family)):
        of, length, index = struct.unpack("=BB2xI", header)
        if of == family and kind in about:
            with suppress(OSError):  # the interface was removed meanwhile
                found.append((socket.inet_ntop(family, about[kind]), length, socket.if_indextoname(index)))
    return found


def qdiscs() -> list[Qdisc]:
    """List the qdiscs of interfaces, except "noqueue", the kernel's default for virtual ones."""
    found = []
    for header, about in dump(socket.NETLINK_ROUTE, _GET_QDISC, bytes(20)):
        _, index, _, parent = struct.unpack_from("=4siII", header)
        kind = text(about[1])
        if kind != "noqueue" and parent in _ATTACHED:
            found.append((index, kind, _ATTACHED[parent]))
    return found


def chains() -> list[str]:
    """List the chains that hold a rule or drop by their policy, as FAMILY TABLE CHAIN."""
    found = {}
    for header, about in dump(_NETFILTER, _GET_CHAIN, bytes(4)):
        if about.get(5) == bytes(4):  # the chain's policy is NF_DROP
            found[header[0], text(about[1]), text(about[3])] = True
    for header, about in dump(_NETFILTER, _GET_RULE, bytes(4)):
        found[header[0], text(about[1]), text(about[2])] = True
    return [
        f"{_FAMILIES.get(family, family)} {table} {chain}"
        for family, table, chain in found
        if table != _TRACE_TABLE
    ]


def has_chain(name: str) -> bool:
    """Decide whether a firewall table has a chain of this name."""
    return any(text(about[3]) == name for _, about in dump(_NETFILTER, _GET_CHAIN, bytes(4)))
