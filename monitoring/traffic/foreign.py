"""Recognise files that are not captures by their first bytes, with advice for each."""

from __future__ import annotations

import re

HEAD = 264  # bytes to compare; tar has its magic number at byte 257
_CONVERT = "convert it: editcap -F pcap FILE FILE.pcap"
_UNPACK = "unpack it, and give the captures in it"
_INSTEAD = "give pcap, pcapng, or what tcpdump prints"
_EXPORTED = "give the capture that it was made from"

# Pattern of a file's first bytes -> its format, and advice.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (rb"snoop\0{3}", "a snoop capture", _CONVERT),
    (rb"btsnoop\0", "a capture of Bluetooth", _CONVERT),
    (rb"GMBU|RTSS", "a capture of Network Monitor", _CONVERT),
    (rb"TRSNIFF data", "a capture of Sniffer", _CONVERT),
    (rb"XCP\0", "a capture of NetXRay or Sniffer", _CONVERT),
    (rb"\x05VNF", "a capture of Visual Networks", _CONVERT),
    (rb"iptrace ", "a capture of AIX' iptrace", _CONVERT),
    (rb"\x7fver", "a capture of EtherPeek", _CONVERT),
    (rb"\xcd\x34\xb2\xa1|\xa1\xb2\x34\xcd", "a pcap with other headers (Mesquita's)", _CONVERT),
    (rb"\xa1\x2b\x3c\x4d|\x4d\x3c\x2b\xa1", "a pcap with other headers (Navtel's)", _CONVERT),
    (rb"[\xab\xac]\x01\x00\x1c", "a pcap with other headers (IXIA's)", _CONVERT),
    (rb"PK\x03\x04", "a zip archive", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!", "a rar archive", _UNPACK),
    (rb"\x1f\x9d", "a file of compress", "unpack it: gzip -dc FILE > CAPTURE"),
    (rb"\x1f\x8b", "compressed twice (gzip)", _UNPACK),
    (rb"BZh", "compressed twice (bzip2)", _UNPACK),
    (rb"\xfd7zXZ\0", "compressed twice (xz)", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "compressed twice (zstandard)", _UNPACK),
    (rb"\x04\x22\x4d\x18", "a file of lz4", "unpack it: lz4 -d FILE CAPTURE"),
    (rb"LZIP", "a file of lzip", "unpack it: lzip -dc FILE > CAPTURE"),
    (rb"\x7fELF", "a program (ELF)", _INSTEAD),
    (rb"%PDF", "a PDF document", _INSTEAD),
    (rb"\x89PNG", "a picture (PNG)", _INSTEAD),
    (rb"\xff\xd8\xff", "a picture (JPEG)", _INSTEAD),
    (rb"SQLite format 3", "a SQLite database", _INSTEAD),
    (rb"#!", "a script", _INSTEAD),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE"),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    (rb"(?:[\t\n\r\x20-\x7e]\0){4}", "UTF-16 text", "convert it: iconv -f UTF-16LE -t UTF-8 FILE"),
    (rb"(?:\0[\t\n\r\x20-\x7e]){4}", "UTF-16 text", "convert it: iconv -f UTF-16BE -t UTF-8 FILE"),
    (rb"\s*[\[{]\s*[\"\[{]", "JSON", _EXPORTED),
    (rb"\s*<(?i:\?xml|!DOCTYPE|html|pdml|psml)", "XML or HTML", _EXPORTED),
)
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r\x0b\x0c\x1b")
_MAX_CONTROL = 20  # at most one control character per 20 bytes, for damaged text


class NotACaptureError(OSError):
    """A file is not a capture; the message has its kind, and advice."""


class EmptyCaptureError(NotACaptureError):
    """A file is empty."""


def refuse(head: bytes) -> None:
    """Raise NotACaptureError if `head`, the beginning of a stream that is neither pcap nor pcapng, is not text."""
    if not head:
        raise EmptyCaptureError("this is empty; capture again, or leave it out")
    for pattern, what, advice in _KINDS:
        if re.match(pattern, head, re.DOTALL):
            raise NotACaptureError(f"this is {what}; {advice}")
    control = len(head) - len(head.translate(None, _CONTROL))
    if control * _MAX_CONTROL > len(head):
        raise NotACaptureError(f"this is neither a known capture nor text; if Wireshark reads it, {_CONVERT}")
