"""Unpack gzip, bzip2, xz and zstandard, with any number of members or frames.

Damage is noted, and ends the stream after the bytes before it. Only small pieces are in memory, however large the
unpacked data are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lab.unread import Unread
from monitoring.traffic.frames import Stream

_PIECE = 1 << 16  # bytes unpacked, or read, at once
_MAX_MEMORY = 1 << 28  # bytes that xz may use
_ZSTD_BYTES = 128  # read at once: 32 blocks
_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED = tuple(bytes((0x50 + number,)) + b"\x2a\x4d\x18" for number in range(16))


class BrokenError(Exception):
    """Compressed data are damaged, or end too early."""


class Unpacked:
    """A stream of the bytes that a compressed stream unpacks to."""

    def __init__(self, name: str, pieces: Iterator[bytes], unread: Unread) -> None:
        self._name, self._pieces, self._unread = name, pieces, unread
        self._held, self._returned, self._ended = bytearray(), 0, False
        self.broken = False  # damage was detected

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        while len(self._held) < size and not self._ended:
            self._held += self._next()
        data = bytes(self._held[:size])
        del self._held[:size]
        self._returned += len(data)
        return data

    def _next(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            self._ended = True
        except BrokenError as error:
            self._ended = self.broken = True
            where = f"byte {self._returned + len(self._held)} of its unpacked bytes"
            self._unread.note(f"{self._name}: {error}", where)
        return b""


def unpacked(stream: Stream, head: bytes, unread: Unread) -> Unpacked | None:
    """Return a stream unpacked, or None if it is not compressed; `head` was read from it already."""
    for magics, name, pieces in _FORMATS:
        if head.startswith(magics):
            return Unpacked(name, pieces(_Begun(stream, head)), unread)
    return None


class _Begun:
    """A stream whose first bytes, `head`, were read already and are returned first."""

    def __init__(self, stream: Stream, head: bytes) -> None:
        self._stream, self._head = stream, head

    def read(self, size: int = _PIECE, /) -> bytes:
        if not self._head:
            return self._stream.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


def _gzip(stream: _Begun) -> Iterator[bytes]:
    import gzip  # noqa: PLC0415 - each only where it is needed
    import zlib  # noqa: PLC0415

    file = gzip.GzipFile(fileobj=stream, mode="rb")  # type: ignore[call-overload] # it needs no more than read
    try:
        while data := file.read1(_PIECE):
            yield data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BrokenError(str(error)) from error


def _bzip2(stream: _Begun) -> Iterator[bytes]:
    import bz2  # noqa: PLC0415

    return _members(stream, bz2.BZ2Decompressor, OSError)


def _xz(stream: _Begun) -> Iterator[bytes]:
    import lzma  # noqa: PLC0415

    return _members(stream, lambda: lzma.LZMADecompressor(memlimit=_MAX_MEMORY), lzma.LZMAError)


def _members(stream: _Begun, begin: Callable[[], Any], error_type: type[Exception]) -> Iterator[bytes]:
    """Unpack one member after another; zeros between members are skipped."""
    rest = stream.read()
    while rest:
        member = begin()
        while not member.eof:
            if member.needs_input and not rest and not (rest := stream.read()):
                raise BrokenError("it ends too early")
            try:
                data = member.decompress(rest, _PIECE)
            except error_type as error:
                raise BrokenError(str(error)) from error
            rest = b""
            yield data
        rest = member.unused_data.lstrip(b"\0")
        while not rest and (more := stream.read()):
            rest = more.lstrip(b"\0")


def _zstandard(stream: _Begun) -> Iterator[bytes]:
    """Unpack frame after frame, from few bytes at once: each block of a few bytes may unpack to 128 KiB."""
    import zstandard  # noqa: PLC0415

    rest = stream.read(_ZSTD_BYTES)
    while rest:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            if not rest and not (rest := stream.read(_ZSTD_BYTES)):
                raise BrokenError("it ends too early")
            try:
                data = frame.decompress(rest)
            except zstandard.ZstdError as error:
                raise BrokenError(str(error)) from error
            rest = b""
            yield data
        rest = frame.unused_data or stream.read(_ZSTD_BYTES)


_FORMATS: tuple[tuple[tuple[bytes, ...], str, Callable[[_Begun], Iterator[bytes]]], ...] = (
    ((b"\x1f\x8b",), "gzip", _gzip),
    ((b"BZh",), "bzip2", _bzip2),
    ((b"\xfd7zXZ\0",), "xz", _xz),
    ((_ZSTD_FRAME, *_ZSTD_SKIPPED), "zstandard", _zstandard),
)
