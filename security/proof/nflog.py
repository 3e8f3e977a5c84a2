"""Read packets that the drop chains copy with target NFLOG, over netlink.

Messages and attributes: linux/netfilter/nfnetlink.h and nfnetlink_log.h. A group has one listener at a time.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lab.netlink import attributes, messages, text

NETLINK_NETFILTER = 12
_SUBSYSTEM_LOG = 4
_PACKET, _CONFIG = _SUBSYSTEM_LOG << 8, _SUBSYSTEM_LOG << 8 | 1
_ERROR = 2
_REQUEST, _ACKNOWLEDGE = 1, 4
_CFG_CMD, _CFG_MODE, _CFG_TIMEOUT, _CFG_QTHRESH = 1, 2, 4, 5
_BIND, _COPY_PACKET = 1, 2
_BUFFER_BYTES = 1 << 23
_SO_RCVBUFFORCE = 33
_HEADER, _PAYLOAD, _PREFIX = 1, 9, 10  # attributes NFULA_PACKET_HDR, NFULA_PAYLOAD, NFULA_PREFIX


def enlarge_buffer(opened: socket.socket) -> None:
    """Give a socket a large receive buffer; root of a user namespace gets at most net.core.rmem_max."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)


class GroupTakenError(OSError):
    """Another process listens to this group."""


@dataclass(frozen=True)
class LoggedPacket:
    """A packet that a rule logged: the rule's prefix, the EtherType, and the bytes from the network header on."""

    prefix: str
    ethertype: int
    payload: bytes


class DropLog:
    """A non-blocking listener on one group, in the network namespace where it is made."""

    def __init__(self, group: int) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        enlarge_buffer(self.socket)
        self.socket.bind((0, 0))
        self._group = group
        self._configure(_CFG_CMD, struct.pack("B", _BIND))
        self._configure(_CFG_MODE, struct.pack("!IBB", 0xFFFF, _COPY_PACKET, 0))
        self._configure(_CFG_QTHRESH, struct.pack("!I", 32))  # queue at most 32 packets
        self._configure(_CFG_TIMEOUT, struct.pack("!I", 1))  # the kernel delays messages by at most 0.01 s
        self.socket.setblocking(False)

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()

    def read(self) -> Iterator[LoggedPacket]:
        """Return the packets since the last call."""
        while True:
            try:
                data = self.socket.recv(1 << 17)
            except BlockingIOError:
                return
            for kind, body in messages(data):
                if kind == _PACKET:
                    yield _logged(body)

    def _configure(self, attribute: int, value: bytes) -> None:
        padded = value.ljust((len(value) + 3) // 4 * 4, b"\0")
        body = struct.pack("!BBH", socket.AF_UNSPEC, 0, self._group)
        body += struct.pack("=HH", 4 + len(value), attribute) + padded
        self.socket.send(struct.pack("=IHHII", 16 + len(body), _CONFIG, _REQUEST | _ACKNOWLEDGE, 0, 0) + body)
        for kind, answer in messages(self.socket.recv(1 << 16)):
            if kind == _ERROR and struct.unpack_from("=i", answer)[0] != 0:
                raise GroupTakenError(
                    f"NFLOG group {self._group} has another listener; stop it (ss -p --query=netlink)"
                )


def _logged(body: bytes) -> LoggedPacket:
    values = attributes(body[4:])  # skip struct nfgenmsg
    ethertype = int.from_bytes(values.get(_HEADER, b"")[:2], "big")
    return LoggedPacket(text(values.get(_PREFIX, b"")), ethertype, values.get(_PAYLOAD, b""))
