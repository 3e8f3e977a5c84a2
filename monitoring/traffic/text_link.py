"""The link header of one packet as tcpdump prints it: Ethernet, 802.3 with LLC, VLANs, -i any; with and without -e."""

from __future__ import annotations

import re
from dataclasses import dataclass

from monitoring.traffic import protocol_words
from monitoring.traffic.lines import DIRECTION, LENGTH, MAC
from monitoring.traffic.packets import ARP, IPV4, IPV6, LLC, UNKNOWN
from monitoring.traffic.protocol_words import POINTS, RAW_IPX, SNAP, TYPE_NAMES, VLAN_TYPES

ETHERNET, COOKED_2 = 14, 20  # bytes
_TAG = 4  # bytes of a VLAN's tag
_SHORTEST = 60  # bytes; a shorter 802.3 frame may be padded
_COOKED = re.compile(
    rb"(?:(?P<interface>[^\s:,]++)[ ]++" + DIRECTION + rb"[ ]++|[ ]*+" + DIRECTION + rb"[ ])(?!>)"
    rb"(?P<ifindex>ifindex[ ]\d++[ ])?(?:" + MAC + rb"[ ](?!>))?"
)
_ENDS = re.compile(MAC + rb"(?:[ ](?P<ssap>[A-Z][\w. ]{0,30}))?[ ]>[ ]" + MAC + rb"(?:,[ ]|[ ])")
_KIND = rb"(?:ethertype[ ])?(?P<name>[A-Za-z0-9][^,\n:]{0,40}?)(?:[ ]\(0x(?P<type>[0-9a-f]{4})\))?"
_WITH_LENGTH = re.compile(_KIND + rb",[ ]length[ ](?P<frame>" + LENGTH + rb"):[ ]?")
_WITHOUT_LENGTH = re.compile(_KIND + rb"(?:,[ ]|(?=\n|\Z))")
_QUIET_ARP = (b"Request who-has ", b"Reply ")  # -q -e of -i any
_WORDS = {IPV4: b"IP ", IPV6: b"IP6 "}
_VLAN = re.compile(rb"vlan[ ]\d++,[ ]p[ ]\d,(?:[ ]DEI,)?[ ]")
_LLC = re.compile(
    rb"LLC,[ ]dsap[ ][^(\n]{0,40}\(0x(?P<dsap>[0-9a-f]{2})\)[ ](?P<group>Group)?[^:\n]{0,80}ctrl[ ]0x[0-9a-f]{2,4}:[ ]"
)
_SNAP = re.compile(
    rb"oui[ ][^\n]{0,60}?\(0x(?P<oui>[0-9a-f]{6})\),[ ](?:ethertype|pid)[ ][^\n]{0,60}?\(0x(?P<type>[0-9a-f]{4})\)"
    rb",[ ]length[ ]\d++:[ ]?"
)
_LLC_NAMES = re.compile(
    rb"(?:[A-Z][\w. ]{0,30}[ ]>[ ])?(?P<dsap>[A-Z][\w. ]{0,30})[ ](?:Unnumbered|Supervisory|Information),[ ]"
    rb"[^\n]{0,80}?length[ ](?P<length>" + LENGTH + rb")"
)
_PLAIN = re.compile(rb"IP(6?)[ ](?=[^\s(]++[ ]>[ ]|\(tos[ ]|\((?:class|flowlabel|hlim)[ ])")  # without -e
# BSD's loopback, PPP and raw IP with -e; HDLC's address before the EtherType.
_BARE = re.compile(
    rb"(?:(?:AF[ ])?(?P<family>IPv[46]|IP6?)(?:[ ]\((?:\d++|0x00[0-9a-f]{2})\))?,[ ]length[ ](?P<frame>%b)|ip):[ ]"
    % LENGTH
)
_HDLC = re.compile(rb"(?:unicast|bcast|0x[0-9a-f]{2}),[ ](?=ethertype[ ])")


@dataclass(slots=True)
class Link:
    """The link header of a line."""

    kind: int  # EtherType, LLC + DSAP; UNKNOWN
    size: int  # of the frame; UNKNOWN
    header: int  # bytes before the packet; UNKNOWN for frames of LLC, which may be padded
    rest: bytes
    certain: bool  # false if the text may be the first word of a packet


def read_link(text: bytes) -> Link:
    """Read the text between the time and the packet."""
    if plain := _PLAIN.match(text):
        return Link(IPV6 if plain[1] else IPV4, UNKNOWN, ETHERNET, text[plain.end() :], certain=False)
    header, certain = ETHERNET, False
    if match := _COOKED.match(text):
        text, certain = text[match.end() :], True
        header = COOKED_2 if match["interface"] else 16
    if match := _ENDS.match(text):
        text, certain = text[match.end() :], True
    if match := _BARE.match(text):
        family = IPV6 if match["family"] in (b"IPv6", b"IP6") else IPV4 if match["family"] else UNKNOWN
        return Link(family, int(match["frame"] or UNKNOWN), 0, text[match.end() :], certain=True)
    if match := _HDLC.match(text):
        text, certain = text[match.end() :], True
    kind = size = UNKNOWN
    cooked = header != ETHERNET
    match = _WITH_LENGTH.match(text) if certain else None
    if match and (not cooked or text.startswith((b"ethertype ", b"802."))):
        kind, size, text = _number(match), int(match["frame"]), text[match.end() :]
        if kind == LLC and not cooked:
            size = _padded(size + ETHERNET)
    kind, text, tags = _tags(text, kind)
    if header == ETHERNET and tags and not certain:
        header += 2  # only -i any names the EtherType behind a tag without -e
    header += tags * _TAG
    if kind == LLC or text.startswith(b"LLC, dsap "):
        (kind, text), header = _point(text), UNKNOWN
    elif kind == UNKNOWN:
        if named := _LLC_NAMES.match(text):
            size = _padded(int(named["length"]) + header)
            return Link(_point_by_name(named["dsap"]), size, header, text, certain=True)
        kind = ARP if certain and text.startswith(_QUIET_ARP) else protocol_words.type_of_words(text)
    certain |= tags > 0 or size != UNKNOWN
    return Link(kind, size, header, text.removeprefix(_WORDS.get(kind, b"")), certain)


def _tags(text: bytes, kind: int) -> tuple[int, bytes, int]:
    """Read tags, and the EtherType behind each: the packet's, the rest, and the number of tags."""
    tags = 0
    while True:
        tag, named = _VLAN.match(text), text.startswith(b"ethertype ")
        if tag:
            text = text[tag.end() :]
            if text.startswith(b"802.3"):
                return LLC, text.removeprefix(b"802.3").lstrip(b": "), tags + 1
        elif not named:
            return (UNKNOWN if kind in VLAN_TYPES else kind), text, tags
        tags += tag is not None or kind not in VLAN_TYPES
        match = _WITHOUT_LENGTH.match(text)
        if match and (_number(match) != UNKNOWN or match["name"] == b"Unknown"):
            kind, text = _number(match), text[match.end() :]
        elif not tag:
            return UNKNOWN, text, tags


def _number(match: re.Match[bytes]) -> int:
    return int(match["type"], 16) if match["type"] else TYPE_NAMES.get(match["name"], UNKNOWN)


def _padded(size: int) -> int:
    """Return a size that was computed from the length of 802.3; UNKNOWN for a short frame, which may be padded."""
    return size if size >= _SHORTEST else UNKNOWN


def _point(text: bytes) -> tuple[int, bytes]:
    """Read the header of LLC, as -e prints it, and SNAP's behind it."""
    if text.startswith(b"IPX 802.3: "):
        return RAW_IPX, text
    match = _LLC.match(text)
    if not match:
        return UNKNOWN, text
    kind, text = LLC + int(match["dsap"], 16) + (match["group"] is not None), text[match.end() :]
    snap = _SNAP.match(text) if kind == SNAP else None
    if snap:
        text = text[snap.end() :]
        if not int(snap["oui"], 16):
            kind = int(snap["type"], 16)
    return kind, text


def _point_by_name(name: bytes) -> int:
    number = re.search(rb"0x([0-9a-f]{2})$", name)
    point = int(number[1], 16) if number else POINTS.get(name)
    return UNKNOWN if point is None else LLC + point
