"""One IP packet as tcpdump prints it: header with -v, extension headers, addresses, payload, and size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from monitoring.traffic import protocol_words
from monitoring.traffic.lines import FLAGS, IPV4, IPV6, LENGTH, SEQUENCE
from monitoring.traffic.memory import service_port
from monitoring.traffic.packets import IPV4 as VERSION_4
from monitoring.traffic.packets import IPV6 as VERSION_6
from monitoring.traffic.packets import TCP, UDP, UNKNOWN

HEADERS = {VERSION_4: 20, VERSION_6: 40}  # bytes
UDP_HEADER, _TCP_HEADER = 8, 20
LARGEST_WHOLE = 1500  # bytes; a larger length may be the whole datagram's, printed with its first fragment
_OPTION_SIZES = {b"nop": 1, b"eol": 1, b"mss": 4, b"wscale": 3, b"sackOK": 2, b"TS": 10, b"md5": 18}
USUAL_OPTIONS, USUAL_SIZE = b"nop,nop,TS val ", 12  # bytes, when no option follows the timestamps
_DATAGRAM = re.compile(
    rb"(?:\[[^\]\n]{0,40}\][ ])?(?:(?:UDP|NTPv\d|BOOTP/DHCP|SYSLOG)\b[^\n]{0,80}?,[ ]length[ ](?P<whole>%b)"
    rb"|\d++[^\n]*[ ]\((?P<question>%b)\)\Z)" % (LENGTH, LENGTH)  # DNS
)
_MESSAGE = re.compile(rb"(?:ICMP|ICMP6|GREv0)\b[^\n]*?,[ ]length[ ](%b)" % LENGTH)
_SCTP, _DCCP, _PGM = 132, 33, 113
_EXTENSIONS = (0, 43, 44, 51, 60)
_MISSING_BYTES = rb"truncated-ip6?[ ]-[ ]\d++[ ]bytes[ ]missing![ ]?"
_MISSING = re.compile(rb"(?:%b)?" % _MISSING_BYTES)
_HEAD = re.compile(
    rb"(?>(?:%b|\[[^\]\n]{0,80}\][ ]|\(invalid\)[ ])*)%b%b(?:%b)?"
    % (_MISSING_BYTES, IPV4, IPV6, _MISSING_BYTES)
)
_ENDS = re.compile(rb"(?P<source>\S++)[ ]>[ ](?P<destination>\S++)(?<=:)(?:[ ]|(?=\n|\Z))(?P<rest>[^\n]*+)")
_EXTENSION = re.compile(
    rb"(?:(?:HBH|DSTOPT)[ ](?>(?:\([^()\n]{0,200}(?:\([^()\n]{0,80}\)[^()\n]{0,80}){0,4}\)[ ]?)*)"
    rb"|(?:RT6|srcrt)[ ]\([^)\n]*+\)[ ]|(?P<fragment>frag)[ ]\((?:0x[0-9a-f]{8}:)?(?P<offset>\d++)\|[^)\n]*+\)[ ]?"
    rb"|(?P<ah>AH\([^()\n]*+(?:\([^()\n]*+\)[^()\n]*+)?\):[ ]{0,2}))"
)
_PORTS = re.compile(rb"(?P<source>[^\s.:>]++)[ ]>[ ](?P<destination>[^\s.:>]++):[ ](?P<rest>[^\n]*+)")
_SEGMENT = re.compile(
    FLAGS % (rb"(?::(?P<end>%b))?" % SEQUENCE) + rb"(?P<whole>,[ ]length[ ](?P<length>%b))?" % LENGTH
)
_TCP_WORDS = (b"Flags [", b"tcp ", b"[|tcp]", b" [|tcp]", b"[bad hdr length", b"[!tcp]")
_INNER = re.compile(rb"(?P<source>\S++)[ ]>[ ]\S++(?<=:)(?:[ ]|\Z)")
_INNER_HEADER = re.compile(rb"\((tos|class|flowlabel|hlim)[ ]")  # of -v
_IPV4_END = re.compile(rb"(?:\d{1,3}\.){3}\d{1,3}(?:\.|\Z)")
_BY_NAME = re.compile(rb"[ ]?([\w.+-]+)(?:[ ]\d++)?\Z")
_QUIET = (b"igmp", b"pim")  # -q prints only these names, as for a later fragment
_DIGITS = 4  # dots of an IPv4 address with a port


@dataclass(slots=True)
class Datagram:
    """The fields of one packet of IP, as far as the text has them."""

    network: int
    protocol: int = UNKNOWN
    source: bytes = b""
    destination: bytes = b""
    with_ports: bool = False
    later: bool = False  # any but the first fragment
    size: int = UNKNOWN  # of the IP packet
    segment: re.Match[bytes] | None = None
    damaged: bool = False


def read_datagram(text: bytes, network: int) -> Datagram:
    """Read the text after the link header; `network` is IPv4 or IPv6, UNKNOWN if the text does not name it."""
    head = _HEAD.match(text)
    ends = _ENDS.match(text, head.end()) if head else None
    if not head or not ends:
        return Datagram(network, damaged=True)
    if network == UNKNOWN:
        network = VERSION_6 if head["next"] or b":" in ends["source"] else VERSION_4
    datagram = Datagram(network, source=ends["source"], destination=ends["destination"].removesuffix(b":"))
    rest = ends["rest"]
    if head["proto"]:
        datagram.protocol, datagram.later = int(head["proto"]), head["offset"] != b"0"
        datagram.size = int(head["total"]) or UNKNOWN
    elif head["next"]:
        following = int(head["next"])
        datagram.protocol = UNKNOWN if following in _EXTENSIONS else following
        datagram.size = int(head["payload"]) + HEADERS[VERSION_6] if head["payload"] != b"0" else UNKNOWN
    extended = False
    if network == VERSION_6:
        rest, extended = _after_extensions(datagram, rest)
    if not datagram.later:
        _read_carried(datagram, rest, extended=extended)
    return datagram


def _after_extensions(datagram: Datagram, rest: bytes) -> tuple[bytes, bool]:
    """Skip extension headers, as far as they are printed."""
    begin = 0
    while extension := _EXTENSION.match(rest, begin):
        begin = extension.end()
        if extension["fragment"] and extension["offset"] != b"0":
            datagram.later = True
            break
    begin = _MISSING.match(rest, begin).end()  # type: ignore[union-attr] # it matches anything
    return rest[begin:], begin > 0


def _read_carried(datagram: Datagram, rest: bytes, *, extended: bool) -> None:
    ports = _PORTS.match(rest) if extended else None
    if ports:
        datagram.source += b"." + ports["source"]
        datagram.destination += b"." + ports["destination"]
        rest = ports["rest"]
    elif extended and rest.startswith(datagram.source + b".") and (ports := _ENDS.match(rest)):
        # SCTP repeats them.
        datagram.source, datagram.destination = ports["source"], ports["destination"].removesuffix(b":")
        rest = ports["rest"]
    has_ports = True if ports else False if extended else _has_ports(datagram.source, datagram.destination)
    if datagram.protocol == UNKNOWN:
        datagram.protocol = _protocol(datagram, rest, has_ports)
        if _is_later_fragment(datagram, rest, has_ports):
            datagram.later = True
            return
        if datagram.network == VERSION_6 and datagram.protocol in _EXTENSIONS:
            datagram.protocol = UNKNOWN  # tcpdump does not print the headers after AH
    datagram.with_ports = has_ports is not False and datagram.protocol in (TCP, UDP, _SCTP, _DCCP)
    if datagram.with_ports and not datagram.damaged and datagram.protocol == TCP:
        datagram.segment = _SEGMENT.match(rest)
    if datagram.size == UNKNOWN and not extended:
        datagram.size = length_of(rest, datagram.protocol, HEADERS[datagram.network], datagram.segment)


def _protocol(datagram: Datagram, rest: bytes, has_ports: bool | None) -> int:
    """Return the protocol by the first words of the IP payload."""
    if has_ports is not False and (protocol := _with_ports(rest, certain=has_ports is True)):
        return protocol
    if inner := _INNER_HEADER.match(rest):
        return 4 if inner[1] == b"tos" else 41
    if inner := _INNER.match(rest):
        return _PGM if rest.startswith(b"PGM", inner.end()) else _tunnel(inner["source"])
    protocol = protocol_words.protocol_of_words(rest)
    if protocol == UNKNOWN and (name := _BY_NAME.match(rest)):
        protocol = protocol_words.protocol_of_name(name[1])
    if protocol == UNKNOWN and has_ports is None and _is_service(datagram.source, datagram.destination):
        return UDP
    return protocol


def _with_ports(rest: bytes, *, certain: bool) -> int | None:
    """Return the protocol if it has ports; every protocol over UDP counts as UDP."""
    if rest.startswith(_TCP_WORDS):
        return TCP
    if rest.startswith((b"sctp", b"[|sctp]", b" [|sctp]")):
        return _SCTP
    if rest.startswith((b"DCCP ", b"[|dccp]", b" [|dccp]")):
        return _DCCP
    return UDP if certain or rest.startswith((b"UDP, ", b"[|udp]", b" [|udp]")) else None


def _tunnel(source: bytes) -> int:
    """Distinguish 6in4 and IPIP by the inner source address, because -e omits their names."""
    if b":" in source:
        return 41
    return 4 if _IPV4_END.match(source) else UNKNOWN


def _is_later_fragment(datagram: Datagram, rest: bytes, has_ports: bool | None) -> bool:
    """Return whether the packet is a later fragment of IPv4, of which tcpdump prints only the protocol."""
    if datagram.network != VERSION_4 or has_ports:
        return False
    name = re.fullmatch(rb"(?:ip-proto-(\d+)|([\w.+-]+))", rest)
    if name is None or name[0] in _QUIET:
        return False
    return name[1] is not None or protocol_words.protocol_of_name(name[2]) != UNKNOWN


def _has_ports(source: bytes, destination: bytes) -> bool | None:
    """Return whether addresses are followed by ports; None if unknown, because they are names."""
    has_port = _has_port(source)
    return _has_port(destination) if has_port is None else has_port


@lru_cache(maxsize=1 << 16)
def _has_port(end: bytes) -> bool | None:
    if b":" in end:
        return end.rpartition(b":")[2].count(b".") in (1, _DIGITS)
    parts = end.split(b".")
    if all(part.isdigit() for part in parts[:4]) and len(parts) in (4, 5):
        return len(parts) > _DIGITS
    return None if len(parts) > 1 else False


def _is_service(*ends: bytes) -> bool:
    """Return whether a name ends in a port or in the name of a service."""
    for end in ends:
        port = end.rpartition(b".")[2]
        if port.isdigit() or service_port(port) is not None:
            return True
    return False


def length_of(rest: bytes, protocol: int, header: int, segment: re.Match[bytes] | None) -> int:
    """Return the bytes of an IP packet with an IP header of `header` bytes; UNKNOWN if it cannot be computed."""
    size = UNKNOWN
    if segment and segment["whole"]:
        options = options_size(segment["options"]) if segment["options"] else 0
        return UNKNOWN if options == UNKNOWN else header + _TCP_HEADER + options + int(segment["length"])
    if protocol == UDP and (match := _DATAGRAM.match(rest)):
        size = header + UDP_HEADER + int(match["whole"] or match["question"])
    elif match := _MESSAGE.match(rest):
        size = header + int(match[1])
    return size if size <= LARGEST_WHOLE else UNKNOWN


def options_size(options: bytes) -> int:
    """Return the bytes of TCP options, padded to words; UNKNOWN when one of them is unknown."""
    if options[:15] == USUAL_OPTIONS and options.count(b",") == 2:  # noqa: PLR2004 - nothing follows
        return USUAL_SIZE
    size = 0
    for option in options.split(b","):
        name = option.split(b" ", 1)[0]
        if name == b"sack":
            size += 2 + 8 * option.count(b"{")
        elif name in _OPTION_SIZES:
            size += _OPTION_SIZES[name]
        else:
            return UNKNOWN
    return (size + 3) // 4 * 4
