"""One pattern for a TCP packet as tcpdump prints it: timestamps, -e, -v, -S, -X, IPv4 and IPv6.

Written after tcpdump 4.99 (print.c, print-ether.c, print-sll.c, print-ip.c, print-ip6.c, print-tcp.c). What repeats is
possessive or bounded, so that no input, however damaged, takes more than linear time. Groups are repeated within
atomic ones, (?>(?:...)*): a possessive (?:...)*+ with an assertion in it fails to match in Python 3.11.
"""

from __future__ import annotations

import re

LENGTH = rb"\d{1,9}+(?!\d)"  # a length in bytes, at most 9 digits
SEQUENCE = rb"\d{1,10}+(?!\d)"
_PROTOCOL = rb"(?:25[0-5]|2[0-4]\d|1\d\d|\d\d?)"
NUMBER = rb"(?:[ ]*+\d++[ ]{2})?"  # -#
TIME = rb"(?:(?:[ -]?(?:\d{4}-\d\d-\d\d[ ])?[\d:]++\.\d++|\[Error[ ]converting[ ]time\])[ ]|(?=\[Invalid[ ]header:))"
MAC = rb"(?:(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}(?:[ ]\(oui[ ][^\n)]{0,80}+\))?|Broadcast)"
DIRECTION = rb"(?:In|Out|B|M|P|\?)"
_VLAN = rb"vlan[ ]\d++,[ ]p[ ]\d,(?:[ ]DEI,)?[ ]"
_KIND = rb"(?:ethertype[ ])?[A-Za-z0-9.-]++(?:[ ]\(0x[0-9a-f]{4}\))?"
_IP_KIND = rb"(?:ethertype[ ])?(?P<%b>IPv[46])(?:[ ]\(0x[0-9a-f]{4}\))?"

# A link header that ends in IP: Ethernet's with -e, -i any's with and without it; tags of VLANs.
_LINK = (
    rb"(?:(?P<interface>[^\s:,]++)[ ]++" + DIRECTION + rb"[ ]++(?!>)(?:ifindex[ ]\d++[ ])?"
    rb"|[ ]*+" + DIRECTION + rb"[ ])?"
    rb"(?:" + MAC + rb"[ ](?:>[ ]" + MAC + rb",[ ])?)?"
    rb"(?:(?:" + _IP_KIND % b"kind" + rb"|" + _KIND + rb"),[ ]length[ ](?P<frame>" + LENGTH + rb"):[ ])?"
    rb"(?>(?:" + _VLAN + rb"(?:" + _KIND + rb",[ ](?=vlan[ ]))?)*)"
    rb"(?P<tags>" + _IP_KIND % b"tagged" + rb",[ ])?"
)  # fmt: skip
IPV4 = (
    rb"(?:\(tos[ ]0x[0-9a-f]++(?:,ECT\([01]\)|,CE)?(?:,[ ]ttl[ ]\d++)?,[ ]id[ ]\d++,[ ]offset[ ](?P<offset>\d++),"
    rb"[ ]flags[ ]\[[^\]\n]{0,20}+\],[ ]proto[ ][^(\n]{1,40}+\((?P<proto>%b)\),[ ]length[ ](?P<total>%b)"
    rb"(?:[ ]\[was[ ]0,[^\]\n]{0,40}+\])?(?:,[ ]options[ ]\([^)\n]{0,400}+\))?"
    rb"(?:,[ ]bad[ ]cksum[ ][0-9a-f]++[ ]\(->[0-9a-f]++\)!)?\)(?:\n[ ]{4}|[ ]))?"
) % (_PROTOCOL, LENGTH)
IPV6 = (
    rb"(?:\((?:class[ ]0x[0-9a-f]++,[ ])?(?:flowlabel[ ]0x[0-9a-f]++,[ ])?hlim[ ]\d++,[ ]next-header[ ]"
    rb"[^(\n]{1,40}+\((?P<next>%b)\),?[ ]payload[ ]length:?[ ](?P<payload>%b)\)[ ])?"
) % (_PROTOCOL, LENGTH)
FLAGS = (
    rb"Flags[ ]\[(?P<flags>[^\]\n]{0,20}+)\](?:,[ ]cksum[ ][^\s(]{1,20}+[ ]\([^)\n]{0,60}+\))?"
    rb"(?:,[ ]seq[ ](?P<sequence>" + SEQUENCE + rb")%b)?"
    rb"(?:,[ ]ack[ ]\d++)?(?:,[ ]win[ ]\d++)?(?:,[ ]urg[ ]\d++)?(?:,[ ]options[ ]\[(?P<options>[^\]\n]{0,300}+)\])?"
)
_TCP = FLAGS % rb"(?::\d++)?" + rb",[ ]length[ ](?P<length>%b)[^\n]*+" % LENGTH
_PLAIN = (  # a line of UDP, or of TCP with -q
    rb"(?:\[(?:udp[ ]sum[ ]ok|no[ ]cksum)\][ ])?(?P<plain>UDP,[ ]length|tcp)[ ](?P<amount>%b)(?=\n)" % LENGTH
)

# The start of a packet: its time; without times (-t), a line that is not indented, as continuation lines are. But a
# direction is aligned to the right of three letters.
TIMED = rb"(?:" + NUMBER + TIME + rb")"
FLUSH = rb"(?=\S|[ ]\[\||[ ]{1,2}" + DIRECTION + rb"[ ])"
UNTIMED = rb"(?:[ ]*+\d++[ ]{2}(?=\S)|" + FLUSH + rb")"
CONTINUED = rb"(?>(?:\n(?=[\t ])(?!%b)[^\n]*+)*)"


def _pattern(number: bytes, time: bytes, begin: bytes, link: bytes, verbose: bytes) -> re.Pattern[bytes]:
    """Return the pattern of a packet with all its lines. Anything but TCP matches as `other`."""
    network = rb"(?:(?P<network>IP6?)[ ]%b)" % (rb"|(?<=[:,][ ])" if link else b"")
    ends = rb"(?P<source>\S++)[ ]>[ ](?P<destination>\S++)(?<=:)[ ]"
    packet = b"".join(
        (number, rb"(?P<time>%b)" % time, link, network, verbose, ends, rb"(?:%b|%b)" % (_TCP, _PLAIN))
    )
    rest = CONTINUED % begin
    return re.compile(rb"^(?:%b%b|(?P<other>[^\n]*+%b))\n" % (packet, rest, rest), re.MULTILINE)


def styles(begin: bytes) -> tuple[re.Pattern[bytes], ...]:
    """Return patterns, the plainest and quickest first. Each of them reads all styles."""
    time = TIME if begin == TIMED else b""
    return (
        _pattern(b"", time, begin, b"", b""),
        _pattern(b"", time, begin, b"", IPV4 + IPV6),
        _pattern(NUMBER, time, begin, _LINK, IPV4 + IPV6),
    )


NOTE = re.compile(
    rb"(?:tcpdump: |reading from |listening on |dropped privs |\d+ packets? (?:captured|received|dropped))"
)
FLAG_BITS = {ord(letter): bit for letter, bit in zip("FSRP.UEW", (1, 2, 4, 8, 16, 32, 64, 128), strict=True)}
