"""The plainest lines of text, which are read all at once: the same packets as one by one, whatever a line has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pytest

from lab.unread import Unread
from monitoring.traffic import text, text_rows
from monitoring.traffic.packets import AddressBook
from monitoring.traffic.plain_lines import plain_lines

PLAIN = (
    "22:13:20.000060 IP 10.0.0.40.38995 > 10.0.0.70.80: Flags [P.], seq 1:91, ack 1, win 500, length 90: HTTP"
)
LINES = [
    PLAIN,
    "22:13:20.000061 IP 10.0.0.40.38995 > 10.0.0.70.80: Flags [S], seq 851986635, win 500, length 0",
    "22:13:20.000062 IP 10.0.0.70.80 > 10.0.0.40.38995: Flags [S.], seq 4294967295, ack 0, win 65535, "
    "options [mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7], length 0",
    "22:13:20.000063 IP 203.0.113.9.1 > 10.0.0.70.65535: Flags [.], ack 91, win 9, "
    "options [nop,nop,TS val 7 ecr 4294967295], length 0",
    "22:13:20.000064 IP 10.0.0.40.5 > 10.0.0.70.80: Flags [.], ack 9, win 9, "
    "options [nop,nop,TS val 7 ecr 8,nop,nop,sack 1 {5:9}], length 0",
    "22:13:20.000065 IP 10.0.0.40.5 > 10.0.0.70.80: Flags [.], ack 9, win 9, options [unknown-9 0x00], length 3",
    "22:13:20.000066 IP 10.0.0.40.5 > 10.0.0.70.80: Flags [none], win 9, length 0",
    "22:13:20.000067 IP 10.0.0.40.5 > 10.0.0.70.80: Flags [FPU.], seq 5, ack 9, win 9, urg 3, length 0",
    "22:13:20.000068 IP 10.0.0.40.5 > 10.0.0.70.80: Flags [FSRP.UEW], seq 5, ack 9, win 9, length 0",
    "22:13:20.000069 IP 10.0.0.40.5 > 10.0.0.70.53: UDP, length 12",
    "22:13:20.000070 IP6 fd00:cafe::10.5 > fd00:cafe::20.80: Flags [.], ack 9, win 9, length 0",
    "22:13:20.000071 ARP, Request who-has 10.0.0.1 tell 10.0.0.2, length 28",
    "22:13:20.000072 IP 10.0.0.40 > 10.0.0.70: ICMP echo request, id 1, seq 2, length 64",
    "22:13:20.000073 IP nginx-lb.http > 10.0.0.70.80: Flags [.], ack 9, win 9, length 0",
    "22:13:20.000074 IP 10.0.0.040.5 > 10.0.0.70.80: Flags [.], ack 9, win 9, length 0",
    "22:13:20.000075 IP 10.0.0.256.5 > 10.0.0.70.080: Flags [.], ack 9, win 9, length 0",
    "22:13:20.000076 IP 10.0.0.4.70000 > 10.0.0.70.80: Flags [.], ack 9, win 9, length 0",
    "22:13:20.000077 IP 10.0.0.4.5 > 10.0.0.70.80: Flags [.], ack 9, win 9, length 1234567890",
    "22:13:20.000078 IP 10.0.0.4.5 > 10.0.0.70.80: Flags [.], seq 12345678901, ack 9, win 9, length 0",
    "22:13:20.000079 IP truncated-ip - 3 bytes missing! 10.0.0.4.5 > 10.0.0.7.80: Flags [.], ack 9, win 9, length 0",
    "22:13:20.000080 IP 10.0.0.4.5 > 10.0.0.7.80: Flags [.], ack 9, win 9",
    "22:13:20.000081 IP",
    "22:13:20.000082 ",
    "29:13:20.000083 IP 10.0.0.4.5 > 10.0.0.7.80: Flags [.], ack 9, win 9, length 0",
]


def packets_of(lines: Sequence[str], pieces: int = 1) -> tuple[list[list[int]], list[str], dict[str, int]]:
    """Read lines; return the columns, the names of addresses in their order, and what was not read."""
    data = "".join(line + "\n" for line in lines).encode()
    step = len(data) // pieces + 1
    book, unread = AddressBook(), Unread()
    batches = list(text.read((data[at : at + step] for at in range(0, len(data), step)), book, unread))
    columns = [np.concatenate(column).tolist() for column in zip(*map(astuple, batches), strict=True)]
    for column in (2 + 2, 2 + 3):  # source, destination: the order of numbers may differ
        columns[column] = [book.names[number] for number in columns[column]]
    return columns, sorted(book.names), dict(unread.counts)


def both_ways(
    lines: Sequence[str], monkeypatch: pytest.MonkeyPatch, pieces: int = 1
) -> tuple[object, object]:
    at_once = packets_of(lines, pieces)
    with monkeypatch.context() as patched:
        patched.setattr(text_rows, "plain_lines", lambda _: None)
        return at_once, packets_of(lines, pieces)


def test_the_plain_lines_are_those_of_tcp_over_ipv4() -> None:
    found = plain_lines("".join(f"{line}\n" for line in LINES).encode())
    assert found
    assert np.flatnonzero(found.fits).tolist() == [0, 1, 2, 3, 4, 5, 6, 23]
    assert found.flags[:4].tolist() == [0x18, 0x02, 0x12, 0x10]
    assert found.sequence[:3].tolist() == [1, 851986635, 4294967295]
    assert found.payload[0] == 90
    assert found.options[:6].tolist() == [0, 0, 20, 12, 24, -1]


@pytest.mark.parametrize("line", LINES)
def test_a_line_among_plain_ones_is_read_as_it_is_by_itself(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, single = both_ways([PLAIN, PLAIN, line, PLAIN], monkeypatch)
    assert at_once == single


def test_damaged_lines_are_read_the_same_way_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)  # noqa: S311 - test data
    letters = "0123456789.:,> []SFn-\\t"
    lines = []
    for _ in range(600):
        line = chance.choice(LINES[:9])
        if chance.random() < 0.4:
            at = chance.randrange(16, len(line))
            line = line[:at] + chance.choice(letters) + line[at + chance.randrange(2) :]
        lines.append(line)
    for pieces in (1, 2, 7, 40):
        at_once, single = both_ways(lines, monkeypatch, pieces)
        assert at_once == single


@pytest.mark.parametrize(
    "first", ["", "tcpdump: listening on any", "\tan indented line", " 00:00:00.000001 IP"]
)
def test_a_text_with_anything_else_on_a_line_is_not_plain(first: str) -> None:
    assert plain_lines(f"{PLAIN}\n{first}\n{PLAIN}\n".encode()) is None


@pytest.mark.parametrize(
    "stamp", [" 00:00:00.000001", "2023-11-14 22:13:20.000060", "1700000000.000060", "22:13:20.000000060"]
)
def test_every_style_of_time_is_plain(stamp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.replace("22:13:20.000060", stamp) for line in [PLAIN] * 12]
    assert plain_lines("\n".join([*lines, ""]).encode())
    at_once, single = both_ways(lines, monkeypatch)
    assert at_once == single
