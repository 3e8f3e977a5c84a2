"""Unpack gzip, bzip2, xz and zstandard, with any number of members or frames.

Damage is noted, and ends the capture after the bytes before it. Only small pieces are in memory, however large the
unpacked data are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.unread import Unread
from monitoring.traffic.frames import BLOCK_BYTES

_PIECE = 1 << 16  # bytes unpacked, or read, at once
_MAX_MEMORY = 1 << 28  # bytes that xz may use
_Begin = Callable[[], Any]  # returns a decompressor of one member


class BrokenError(Exception):
    """Compressed data are damaged, or end too early."""


@dataclass(frozen=True)
class _Packing:
    """A way to compress, by the first bytes of a file; `load` returns its decompressor and its error."""

    name: str
    magics: tuple[bytes, ...]
    load: Callable[[], tuple[_Begin, type[Exception]]]
    read: int = _PIECE  # bytes given to the decompressor at once
    limit: tuple[int, ...] = (_PIECE,)  # maximum bytes per call, if the decompressor has a limit


def unpacked(pieces: Iterator[bytes], head: bytes, unread: Unread) -> Iterator[bytes] | None:
    """Return the unpacked pieces of a file, or None if it is not compressed; `head` is the file's first bytes."""
    for packing in _PACKINGS:
        if head.startswith(packing.magics):
            return _blocks(packing.name, _members(pieces, packing), unread)
    return None


def _blocks(name: str, members: Iterator[bytes], unread: Unread) -> Iterator[bytes]:
    """Join small pieces to blocks, except the first; note damage, after which there are no more."""
    held, done, size = bytearray(), 0, 1
    try:
        for data in members:
            held += data
            if len(held) >= size:
                yield bytes(held)
                size = BLOCK_BYTES
                done += len(held)
                held.clear()
    except BrokenError as error:
        unread.note(f"{name}: {error}", f"byte {done + len(held)} of its unpacked bytes")
    if held:
        yield bytes(held)


def _members(pieces: Iterator[bytes], packing: _Packing) -> Iterator[bytes]:
    """Unpack one member after another; zeros between members are skipped."""
    begin, damage = packing.load()
    size = packing.read
    small = (piece[at : at + size] for piece in pieces for at in range(0, len(piece), size))
    rest = next(small, b"")
    while rest:
        member = begin()
        while not member.eof:
            if not rest and getattr(member, "needs_input", True) and not (rest := next(small, b"")):
                raise BrokenError("the compressed data end too early")
            try:
                data = member.decompress(rest, *packing.limit)
            except damage as error:
                raise BrokenError(str(error)) from error
            rest = getattr(member, "unconsumed_tail", b"")
            yield data
        rest = member.unused_data.lstrip(b"\0")
        while not rest and (more := next(small, b"")):
            rest = more.lstrip(b"\0")


def _gzip() -> tuple[_Begin, type[Exception]]:
    import zlib  # noqa: PLC0415 - each only where it is needed

    return lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), zlib.error  # 16: with gzip's header


def _bzip2() -> tuple[_Begin, type[Exception]]:
    import bz2  # noqa: PLC0415

    return bz2.BZ2Decompressor, OSError


def _xz() -> tuple[_Begin, type[Exception]]:
    import lzma  # noqa: PLC0415

    return lambda: lzma.LZMADecompressor(memlimit=_MAX_MEMORY), lzma.LZMAError


def _zstandard() -> tuple[_Begin, type[Exception]]:
    import zstandard  # noqa: PLC0415

    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


_ZSTD_MAGICS = (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + number,)) + b"\x2a\x4d\x18" for number in range(16)))
_PACKINGS = (
    _Packing("gzip", (b"\x1f\x8b",), _gzip),
    _Packing("bzip2", (b"BZh",), _bzip2),
    _Packing("xz", (b"\xfd7zXZ\0",), _xz),
    # Give it few bytes at once, 32 blocks: each block of a few bytes may unpack to 128 KiB.
    _Packing("zstandard", _ZSTD_MAGICS, _zstandard, read=128, limit=()),
)
