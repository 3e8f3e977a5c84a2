"""The plainest lines of tcpdump's text, all at once: TCP over IPv4, a line a packet, as -n prints them without -e, -v.

    22:13:20.000060 IP 192.0.2.40.38995 > 192.0.2.70.80: Flags [P.], seq 1:91, ack 1, win 500, length 90: HTTP

A cursor stands in each line, and each step moves all of them: numpy works on whole columns, where a regular expression
makes an object of each field. A line that does not fit exactly is left to the patterns of lines.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from monitoring.traffic import lines
from monitoring.traffic.clock import Letters
from monitoring.traffic.packets import Integers, Truths
from monitoring.traffic.text_ip import USUAL_OPTIONS, USUAL_SIZE, options_size

_STAMP = re.compile(lines.TIME)
_NEWLINE, _BRACKET = b"\n]"
_ZERO, _TEN = np.uint8(ord("0")), 10
_WORD = 8  # bytes that are compared at once
_MOST_FLAGS = 4  # letters that are printed together; "none" is all bits 0
_FLAGS = np.zeros(256, np.int64)  # bit by letter
_FLAGS[list(lines.FLAG_BITS)] = list(lines.FLAG_BITS.values())
_LENGTH, _SEQUENCE, _PORT, _BYTE = 9, 10, 5, 3  # digits
_MAX_PORT, _MAX_BYTE = 65535, 255
_MAX_OPTIONS = 300  # letters, as in lines.py


@dataclass(frozen=True)
class PlainLines:
    """The lines of a text. The columns have a row for each line; those of lines that do not fit mean nothing."""

    begins: Integers
    ends: Integers  # after their newlines
    stamps: Letters  # a row for each line, with the space at the end
    fits: Truths
    source: Integers  # 32 bits of address
    source_port: Integers
    destination: Integers
    destination_port: Integers
    flags: Integers
    sequence: Integers
    payload: Integers
    options: Integers  # bytes of the header


def plain_lines(text: bytes) -> PlainLines | None:
    """Read a text of whole lines; None unless each begins with a time that has the form of the first one."""
    stamp = _STAMP.match(text)
    if not stamp or b"." not in stamp[0]:
        return None
    reader = _Reader(text, stamp.end())
    if not reader.has_equal_stamps():
        return None
    reader.skip(b"IP ")
    source, source_port = reader.end()
    reader.skip(b" > ")
    destination, destination_port = reader.end()
    reader.skip(b": Flags [")
    flags = reader.flags()
    sequence = reader.optional(b"seq ", reader.sequence)
    reader.optional(b"ack ", reader.number_and_comma)
    reader.skip(b"win ")
    reader.number_and_comma()
    options = reader.optional(b"options [", reader.options)
    reader.skip(b"length ")
    payload = reader.number(_LENGTH)
    return PlainLines(
        reader.begins, reader.ends + 1, reader.stamps, reader.fits, source, source_port, destination,
        destination_port, flags, sequence, payload, options,
    )  # fmt: skip


class _Reader:
    """A cursor in each line, which never passes the line's end; `fits` is false once a line is not as expected.

    Each method reads at the cursors and moves them. With `wanted` it does so in these lines alone.
    """

    def __init__(self, text: bytes, width: int) -> None:
        self._text = text
        padded = text + bytes(_WORD)
        self._letters = np.frombuffer(padded, np.uint8)
        # The 8 bytes from each position on, as a number.
        self._words = np.ndarray((len(text) + 1,), "<u8", padded, strides=(1,))
        self.ends = np.flatnonzero(self._letters == _NEWLINE)
        self.begins = np.concatenate(([0], self.ends[:-1] + 1))
        self._at = np.minimum(self.begins + width, self.ends)
        self.fits = np.ones(len(self.begins), np.bool_)
        last = len(text) - 1
        self.stamps = self._letters[np.minimum(self.begins[:, None] + np.arange(width), last)]

    def has_equal_stamps(self) -> bool:
        """Decide whether each line begins with a time that has digits where the first one has some."""
        is_digit = self._digits(self.stamps[0]) < _TEN
        others = self.stamps[:, ~is_digit]
        return bool((self._digits(self.stamps[:, is_digit]) < _TEN).all() and (others == others[0]).all())

    @staticmethod
    def _digits(letters: Letters) -> Letters:
        return letters - _ZERO  # 10 and more for what is no digit, because it wraps

    def _move(self, step: Integers | Truths | int) -> None:
        self._at = np.minimum(self._at + step, self.ends)

    def _require(self, fine: Truths, wanted: Truths | None) -> None:
        self.fits &= fine if wanted is None else fine | ~wanted

    def _has(self, words: bytes) -> Truths:
        found = np.ones(len(self._at), np.bool_)
        for begin in range(0, len(words), _WORD):
            part = words[begin : begin + _WORD]
            mask = np.uint64((1 << 8 * len(part)) - 1)
            here = self._words[np.minimum(self._at + begin, self.ends)] & mask
            found &= here == np.uint64(int.from_bytes(part, "little"))
        return found

    def skip(self, words: bytes, wanted: Truths | None = None) -> None:
        """Pass words that must be there."""
        self._require(self._has(words), wanted)
        self._move(len(words) if wanted is None else wanted * len(words))

    def optional(self, words: bytes, read: Callable[[Truths], Integers]) -> Integers:
        """Where these words are, pass them and read what follows; return 0 elsewhere."""
        found = self._has(words)
        self._move(found * len(words))
        return read(found) if found.any() else np.zeros(len(found), np.int64)

    def number(self, digits: int, wanted: Truths | None = None) -> Integers:
        """Read a number of at most so many digits, without a leading zero; return 0 where it is not wanted."""
        begin, value = self._at, np.zeros(len(self._at), np.int64)
        going = np.ones(len(begin), np.bool_) if wanted is None else wanted
        for _ in range(digits):
            digit = self._digits(self._letters[self._at])
            going = going & (digit < _TEN)
            if not going.any():
                break
            value = np.where(going, value * 10 + digit, value)
            self._at = self._at + going
        length = self._at - begin
        fine = (length > 0) & (self._digits(self._letters[self._at]) >= _TEN)
        fine &= (length == 1) | (self._letters[begin] != _ZERO)
        self._require(fine, wanted)
        return value

    def end(self) -> tuple[Integers, Integers]:
        """Read `a.b.c.d.port`; return the address and the port."""
        address = np.zeros(len(self._at), np.int64)
        for _ in range(4):
            part = self.number(_BYTE)
            self._require(part <= _MAX_BYTE, None)
            self.skip(b".")
            address = address << 8 | part
        port = self.number(_PORT)
        self._require(port <= _MAX_PORT, None)
        return address, port

    def flags(self) -> Integers:
        """Read the letters of flags and the bracket after them; return their bits."""
        value, going = np.zeros(len(self._at), np.int64), np.ones(len(self._at), np.bool_)
        for _ in range(_MOST_FLAGS):
            letter = self._letters[self._at]
            going = going & (letter != _BRACKET)
            value |= np.where(going, _FLAGS[letter], 0)
            self._move(going)
        self.skip(b"], ")
        return value

    def sequence(self, wanted: Truths) -> Integers:
        """Read `1, ` or `1:91, `; return the first number."""
        value = self.number(_SEQUENCE, wanted)
        with_end = wanted & self._has(b":")
        self._move(with_end)
        self.number(_SEQUENCE, with_end)
        self.skip(b", ", wanted)
        return value

    def number_and_comma(self, wanted: Truths | None = None) -> Integers:
        """Read `500, `."""
        value = self.number(_SEQUENCE, wanted)
        self.skip(b", ", wanted)
        return value

    def options(self, wanted: Truths) -> Integers:
        """Read options and `], `; return their bytes in the header, or UNKNOWN."""
        begin = self._at
        usual = wanted & self._has(USUAL_OPTIONS)
        self._move(usual * len(USUAL_OPTIONS))
        fits = self.fits.copy()
        self.number(_SEQUENCE, usual)
        self.skip(b" ecr ", usual)
        self.number(_SEQUENCE, usual)
        usual &= self.fits & self._has(b"], ")
        self.fits = fits
        self._at = np.where(usual, self._at, begin)
        size = np.where(usual, USUAL_SIZE, 0)
        for row in np.flatnonzero(wanted & ~usual & fits).tolist():
            first = int(begin[row])
            last = self._text.find(b"]", first, min(first + _MAX_OPTIONS + 1, int(self.ends[row])))
            if last >= 0:
                size[row], self._at[row] = options_size(self._text[first:last]), last
        self.skip(b"], ", wanted)
        return size
