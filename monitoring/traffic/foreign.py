"""Recognise files that are not captures by their first bytes, with advice for each."""

from __future__ import annotations

import re

HEAD = 264  # bytes that are compared; tar has its magic number at byte 257
_CONVERT = "convert it: editcap -F pcap FILE FILE.pcap"
_UNPACK = "unpack it, and give the captures in it"
_INSTEAD = "give pcap, pcapng, or what tcpdump prints"
_EXPORTED = "give the capture that it was made from"

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"snoop\0\0\0", "a snoop capture", _CONVERT),
    (b"btsnoop\0", "a capture of Bluetooth", _CONVERT),
    (b"GMBU", "a capture of Network Monitor", _CONVERT),
    (b"RTSS", "a capture of Network Monitor", _CONVERT),
    (b"TRSNIFF data", "a capture of Sniffer", _CONVERT),
    (b"XCP\0", "a capture of NetXRay or Sniffer", _CONVERT),
    (b"\x05VNF", "a capture of Visual Networks", _CONVERT),
    (b"iptrace ", "a capture of AIX' iptrace", _CONVERT),
    (b"\x7fver", "a capture of EtherPeek", _CONVERT),
    (b"\xcd\x34\xb2\xa1", "a pcap with other headers (Mesquita's)", _CONVERT),
    (b"\xa1\xb2\x34\xcd", "a pcap with other headers (Mesquita's)", _CONVERT),
    (b"\xa1\x2b\x3c\x4d", "a pcap with other headers (Navtel's)", _CONVERT),
    (b"\x4d\x3c\x2b\xa1", "a pcap with other headers (Navtel's)", _CONVERT),
    (b"\xab\x01\x00\x1c", "a pcap with other headers (IXIA's)", _CONVERT),
    (b"\xac\x01\x00\x1c", "a pcap with other headers (IXIA's)", _CONVERT),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a rar archive", _UNPACK),
    (b"\x1f\x9d", "a file of compress", "unpack it: gzip -dc FILE > CAPTURE"),
    (b"\x1f\x8b", "compressed twice (gzip)", _UNPACK),
    (b"BZh", "compressed twice (bzip2)", _UNPACK),
    (b"\xfd7zXZ\0", "compressed twice (xz)", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed twice (zstandard)", _UNPACK),
    (b"\x04\x22\x4d\x18", "a file of lz4", "unpack it: lz4 -d FILE CAPTURE"),
    (b"LZIP", "a file of lzip", "unpack it: lzip -dc FILE > CAPTURE"),
    (b"\x7fELF", "a program (ELF)", _INSTEAD),
    (b"%PDF", "a PDF document", _INSTEAD),
    (b"\x89PNG", "a picture (PNG)", _INSTEAD),
    (b"\xff\xd8\xff", "a picture (JPEG)", _INSTEAD),
    (b"SQLite format 3", "a SQLite database", _INSTEAD),
    (b"#!", "a script", _INSTEAD),
    (b"\xff\xfe", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\xfe\xff", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE"),
)
_PATTERNS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive", _UNPACK),
    (
        re.compile(rb"(?:[\t\n\r\x20-\x7e]\0){4}"),
        "UTF-16 text",
        "convert it: iconv -f UTF-16LE -t UTF-8 FILE",
    ),
    (
        re.compile(rb"(?:\0[\t\n\r\x20-\x7e]){4}"),
        "UTF-16 text",
        "convert it: iconv -f UTF-16BE -t UTF-8 FILE",
    ),
    (re.compile(rb"\s*[\[{]\s*[\"\[{]"), "JSON", _EXPORTED),
    (re.compile(rb"\s*<(?:\?xml|!DOCTYPE|html|pdml|psml)", re.IGNORECASE), "XML or HTML", _EXPORTED),
)
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r\x0b\x0c\x1b")
_MAX_CONTROL = 20  # one control character in so many bytes; only damaged text has any


class NotACaptureError(OSError):
    """A file is not a capture; the message has its kind, and advice."""


class EmptyCaptureError(NotACaptureError):
    """A file is empty."""


def refuse(head: bytes) -> None:
    """Raise NotACaptureError if `head`, the beginning of a stream that is neither pcap nor pcapng, is not text."""
    if not head:
        raise EmptyCaptureError("this is empty; capture again, or leave it out")
    if reason := _reason(head):
        raise NotACaptureError(reason)


def _reason(head: bytes) -> str:
    for beginning, what, advice in _BEGINNINGS:
        if head.startswith(beginning):
            return f"this is {what}; {advice}"
    for pattern, what, advice in _PATTERNS:
        if pattern.match(head):
            return f"this is {what}; {advice}"
    control = len(head) - len(head.translate(None, _CONTROL))
    if control * _MAX_CONTROL > len(head):
        return f"this is neither a known capture nor text; if Wireshark reads it, {_CONVERT}"
    return ""
