"""Unpacks gzip, bzip2, xz and zstandard, with any number of members or frames.

Damage is noted and ends the stream after the bytes before it. However large it unpacks to, only small pieces are in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from lab.unread import Unread
from monitoring.traffic import records
from monitoring.traffic.records import Stream

_PIECE = 1 << 16  # bytes unpacked, or read, at once
_MOST_MEMORY = 1 << 28  # bytes that xz may use
_ZSTD_FRAME, _ZSTD_CHECKED, _ZSTD_SINGLE, _ZSTD_RUN = b"\x28\xb5\x2f\xfd", 4, 0x20, 1
_ZSTD_SKIPPED = tuple(bytes((0x50 + number,)) + b"\x2a\x4d\x18" for number in range(16))


class BrokenError(Exception):
    """Compressed data are damaged, or end too early."""


class Unpacked:
    """A stream of the bytes that a compressed stream unpacks to."""

    def __init__(self, name: str, pieces: Iterator[bytes], unread: Unread) -> None:
        self._name, self._pieces, self._unread = name, pieces, unread
        self._held, self._given, self._ended = bytearray(), 0, False
        self.broken = False  # damage was found so far

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        while len(self._held) < size and not self._ended:
            self._held += self._next()
        data = bytes(self._held[:size])
        del self._held[:size]
        self._given += len(data)
        return data

    def _next(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            self._ended = True
        except BrokenError as error:
            self._ended = self.broken = True
            where = f"byte {self._given + len(self._held)} of its unpacked bytes"
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


class _Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _bzip2(stream: _Begun) -> Iterator[bytes]:
    import bz2  # noqa: PLC0415

    return _members(stream, bz2.BZ2Decompressor, OSError)


def _xz(stream: _Begun) -> Iterator[bytes]:
    import lzma  # noqa: PLC0415

    return _members(stream, lambda: lzma.LZMADecompressor(memlimit=_MOST_MEMORY), lzma.LZMAError)


def _members(
    stream: _Begun, begin: Callable[[], _Decompressor], error_type: type[Exception]
) -> Iterator[bytes]:
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
    """Unpack block by block: the library does not report an early end, and a block unpacks to 128 KiB at most."""
    import zstandard  # noqa: PLC0415

    while magic := records.exactly(stream, len(_ZSTD_FRAME)):
        if magic in _ZSTD_SKIPPED:
            _skip(stream, int.from_bytes(_whole(stream, 4), "little"))
        elif magic == _ZSTD_FRAME:
            try:
                yield from _zstandard_frame(stream, zstandard.ZstdDecompressor().decompressobj().decompress)
            except zstandard.ZstdError as error:
                raise BrokenError(str(error)) from error
        else:
            raise BrokenError("what follows the last frame is not a frame")


def _zstandard_frame(stream: _Begun, decompress: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Unpack a frame (RFC 8878, 3.1.1)."""
    descriptor = _whole(stream, 1)
    flags = descriptor[0]
    single = bool(flags & _ZSTD_SINGLE)
    size = (not single) + (0, 1, 2, 4)[flags & 3] + (int(single), 2, 4, 8)[flags >> 6]
    yield decompress(_ZSTD_FRAME + descriptor + _whole(stream, size))
    is_last = False
    while not is_last:
        header = _whole(stream, 3)
        fields = int.from_bytes(header, "little")
        is_last, kind, size = bool(fields & 1), fields >> 1 & 3, fields >> 3
        yield decompress(header + _whole(stream, 1 if kind == _ZSTD_RUN else size))
    if flags & _ZSTD_CHECKED:
        yield decompress(_whole(stream, 4))


def _whole(stream: Stream, size: int) -> bytes:
    data = records.exactly(stream, size)
    if len(data) < size:
        raise BrokenError("it ends too early")
    return data


def _skip(stream: Stream, size: int) -> None:
    while size:
        size -= len(_whole(stream, min(size, _PIECE)))


_FORMATS: tuple[tuple[tuple[bytes, ...], str, Callable[[_Begun], Iterator[bytes]]], ...] = (
    ((b"\x1f\x8b",), "gzip", _gzip),
    ((b"BZh",), "bzip2", _bzip2),
    ((b"\xfd7zXZ\0",), "xz", _xz),
    ((_ZSTD_FRAME, *_ZSTD_SKIPPED), "zstandard", _zstandard),
)
