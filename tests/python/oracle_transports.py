"""Strategies of what IP carries, built with scapy: (protocol, content), tunnels and broken-off messages included."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from scapy.contrib.geneve import GENEVE
from scapy.layers.igmp import IGMP_MQ, IGMPv2_LG, IGMPv2_MR, IGMPv3_MR, IGMPv3_MR_Group
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6MLQuery, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

_ADDRESSES = (
    "10.0.0.10", "10.0.0.20", "10.0.0.1", "192.0.2.7", "198.51.100.255", "224.0.0.1", "0.0.0.0",
)  # fmt: skip
_ADDRESSES6 = (
    "fd00::10", "fd00::20", "fe80::1", "ff02::1:3", "::", "::2", "2001:db8::", "2001:db8:0:1:1:1:1:1", "fe80:0:0:1::",
    "::ffff:10.0.0.10", "::10.0.0.20", "64:ff9b::a00:1", "2001:db8:85a3:8d3:1319:8a2e:370:7348",
)  # fmt: skip
_PORTS = (1, 22, 53, 67, 80, 123, 161, 179, 443, 514, 1812, 2049, 4789, 5353, 6081, 6379, 40000, 65535)
_OTHERS = (3, 46, 50, 88, 89, 103, 112, 115, 136, 253, 255)
_TCP_OPTIONS: tuple[list[tuple[str | int, object]], ...] = (
    [],
    [("NOP", None), ("NOP", None), ("Timestamp", (7, 8))],
    [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)],
    [("MSS", 536), ("EOL", None)],
    [("NOP", None), ("NOP", None), ("SAck", (100, 200, 300, 400))],
    [(34, b"cookie"), (30, b"\x00\x81" + bytes(8))],  # TCP Fast Open, Multipath TCP
    [(254, b"\xf9\x89\x01\x02"), (19, bytes(16))],  # an experiment, MD5
)
_TCP_FLAGS = ("S", "SA", "A", "PA", "FA", "F", "R", "RA", "SEC", "SAE", "", "FSRPAUEC", "AU", "SF")

_IGMP: tuple[Packet, ...] = (
    IGMP_MQ(gaddr="224.0.0.9"), IGMPv2_MR(gaddr="224.0.0.9"), IGMPv2_LG(gaddr="224.0.0.9"),
    IGMPv3_MR(records=[IGMPv3_MR_Group(rtype=4, maddr="224.0.0.251")]),
)  # fmt: skip

addresses = st.sampled_from(_ADDRESSES)
addresses6 = st.sampled_from(_ADDRESSES6)
payloads = st.one_of(
    st.just(b""), st.binary(max_size=40), st.sampled_from((1, 200, 1400)).map(lambda size: b"x" * size)
)
_ports = st.one_of(st.sampled_from(_PORTS), st.integers(0, 0xFFFF))
_numbers = st.sampled_from((0, 1, 100, 2**31, 2**32 - 1))

Transport = tuple[int, Packet]


def _of(
    protocol: int, make: Callable[..., Packet], *drawn: st.SearchStrategy[object]
) -> st.SearchStrategy[Transport]:
    return st.builds(lambda *values: (protocol, make(*values)), *drawn)


def _tcp(ends: tuple[int, int], flags: str, options: list[object], number: int, payload: bytes) -> Packet:
    return TCP(sport=ends[0], dport=ends[1], flags=flags, options=options, seq=number, ack=number // 2, window=502,
               urgptr=5 if "U" in flags else 0) / Raw(payload)  # fmt: skip


def _udp(source: int, port: int, payload: bytes) -> Packet:
    return UDP(sport=source, dport=port) / Raw(payload)


def _inner(payload: bytes) -> Packet:
    return IP(src="172.16.0.1", dst="172.16.0.2") / TCP(sport=1, dport=2, flags="S") / Raw(payload)


def _in_ethernet(payload: bytes) -> Packet:
    return Ether(src="02:00:00:00:00:08", dst="02:00:00:00:00:09") / _inner(payload)


def _gre(key: bool, payload: bytes) -> Packet:
    head = (
        GRE(proto=0x0800, key_present=1, key=7, seqnum_present=1, sequence_number=1)
        if key
        else GRE(proto=0x0800)
    )
    return head / _inner(payload)


def _inner6(payload: bytes) -> Packet:
    return IPv6(src="fd00:1::1", dst="fd00:1::2") / UDP(sport=1, dport=2) / Raw(payload)


def _unreachable(code: int, payload: bytes) -> Packet:
    return ICMP(type=3, code=code) / _inner(payload)


def _sctp(source: int, port: int, payload: bytes) -> Packet:
    chunk = SCTPChunkData(data=payload) if payload else SCTPChunkInit()
    return SCTP(sport=source, dport=port) / chunk


_tcps = _of(
    6,
    _tcp,
    st.tuples(_ports, _ports),
    st.sampled_from(_TCP_FLAGS),
    st.sampled_from(_TCP_OPTIONS),
    _numbers,
    payloads,
)
_udps = _of(17, _udp, _ports, _ports, payloads)
_vxlan = _of(
    17, lambda port, data: UDP(sport=port, dport=4789) / VXLAN(vni=5) / _in_ethernet(data), _ports, payloads
)
_geneve = _of(
    17, lambda port, data: UDP(sport=port, dport=6081) / GENEVE(vni=5) / _in_ethernet(data), _ports, payloads
)
_common = (
    _tcps, _tcps, _tcps, _udps, _udps, _vxlan, _geneve,
    _of(132, _sctp, _ports, _ports, payloads),
    _of(47, _gre, st.booleans(), payloads),
    _of(4, _inner, payloads),
    _of(41, _inner6, payloads),
    st.tuples(st.sampled_from(_OTHERS), st.binary(min_size=24, max_size=40).map(Raw)),
)  # fmt: skip
TRANSPORTS: tuple[st.SearchStrategy[Transport], ...] = (
    *_common,
    st.tuples(st.just(51), st.binary(min_size=24, max_size=40).map(Raw)),
    _of(1, lambda kind, data: ICMP(type=kind, id=1, seq=2) / Raw(data), st.sampled_from((0, 8)), payloads),
    _of(1, _unreachable, st.sampled_from((1, 3, 4)), payloads),
    _of(1, lambda data: ICMP(type=11) / _inner(data), payloads),
    st.tuples(st.just(2), st.sampled_from(_IGMP)),
)
TRANSPORTS6: tuple[st.SearchStrategy[Transport], ...] = (
    *_common,
    _of(58, lambda data: ICMPv6EchoRequest(id=1, seq=2, data=data), payloads),
    _of(58, lambda data: ICMPv6DestUnreach(code=4) / _inner6(data), payloads),
    _of(58, lambda target: ICMPv6ND_NS(tgt=target), addresses6),
    _of(58, ICMPv6MLQuery),
    _of(59, Raw),
)
