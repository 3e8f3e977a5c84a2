"""What tshark says of each packet of a capture: of the outer packet, as the tables count it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from oracle_scapy import UNTOLD, Row

from monitoring.traffic.packets import LLC, TCP

_EXTENSIONS = {
    0: "ipv6.hopopts.nxt", 43: "ipv6.routing.nxt", 44: "ipv6.fraghdr.nxt", 51: "ah.next_header", 60: "ipv6.dstopts.nxt",
}  # fmt: skip
_ETHER_TYPES = ("sll.etype", "eth.type", "vlan.etype")
_TAGS = (0x8100, 0x88A8, 0x9100)
_SOURCE_ROUTE = "131"
_LINK_LAYERS = ("eth", "ethertype", "sll", "null", "raw", "vlan", "ieee8021ad", "llc")
_FIELDS = (
    "frame.protocols", "frame.len", "frame.time_epoch", *_ETHER_TYPES, "llc.dsap", "llc.oui", "llc.type",
    "ip.src", "ip.dst", "ip.opt.type", "ip.proto", "ip.frag_offset", "ipv6.src", "ipv6.dst", "ipv6.nxt",
    "ipv6.fraghdr.offset", *_EXTENSIONS.values(), "tcp.flags", "tcp.srcport", "tcp.dstport",
)  # fmt: skip

Fields = Mapping[str, Sequence[str]]  # all values of each, the outer one first


def rows(capture: Path) -> list[Row]:
    """Give a row for each packet; None is what tshark does not say."""
    fields = [argument for name in _FIELDS for argument in ("-e", name)]
    apart = ["-o", "ip.defragment:false", "-o", "ipv6.defragment:false"]
    command = ["tshark", "-nr", str(capture), *apart, "-T", "fields", "-E", "occurrence=a", *fields]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        _row(dict(zip(_FIELDS, (value.split(",") for value in line.split("\t")), strict=True)))
        for line in lines
    ]


def _row(fields: Fields) -> Row:
    seconds, _, fraction = fields["frame.time_epoch"][0].partition(".")
    row = Row(
        size=int(fields["frame.len"][0]),
        nanoseconds=int(seconds) * 10**9 + int(fraction.ljust(9, "0")),
        ports=None,
    )
    untold = replace(UNTOLD, size=row.size, nanoseconds=row.nanoseconds)
    layers = fields["frame.protocols"][0].split(":")
    network = next((layer for layer in layers if layer not in _LINK_LAYERS), "")
    if network not in ("ip", "ipv6"):
        row.protocol = _not_ip(fields)
        return row if row.protocol is not None else untold
    if not fields[f"{network}.dst"][0]:  # options are cut short: tshark does not say all of the header then
        return untold
    row.source, row.destination = (str(ip_address(fields[f"{network}.{end}"][0])) for end in ("src", "dst"))
    if network == "ip":
        if _SOURCE_ROUTE in fields["ip.opt.type"]:
            row.destination = None  # tshark says the route's last address, not the header's
        row.protocol, row.fragment = int(fields["ip.proto"][0]), fields["ip.frag_offset"][0] != "0"
    else:
        row.protocol = _after_extensions(fields)
        row.fragment = fields["ipv6.fraghdr.offset"][0] not in ("", "0")
    if row.protocol == TCP and not row.fragment:
        row.flags = int(fields["tcp.flags"][0], 16) & 0xFF if fields["tcp.flags"][0] else None
        row.ports = (int(fields["tcp.srcport"][0]), int(fields["tcp.dstport"][0]))
    return row


def _not_ip(fields: Fields) -> int | None:
    if fields["llc.dsap"][0]:
        point, organization, kind = (fields[f"llc.{name}"][0] for name in ("dsap", "oui", "type"))
        if organization == "0":
            return int(kind, 16) if kind else None
        return LLC + int(point, 16)
    kinds = [int(value, 16) for name in _ETHER_TYPES for value in fields[name] if value]
    return next((kind for kind in kinds if kind not in _TAGS), None)  # none after an inner 802.1ad


def _after_extensions(fields: Fields) -> int:
    """Walk extension headers, of which there is one of each; a later fragment has what its own header names."""
    protocol = int(fields["ipv6.nxt"][0])
    while protocol in _EXTENSIONS and (following := fields[_EXTENSIONS[protocol]][0]):
        is_later = protocol == 44 and fields["ipv6.fraghdr.offset"][0] != "0"
        protocol = int(following)
        if is_later:
            break
    return protocol
