"""The analysis of captures: the same traffic gives the same tables, in whatever form it was kept."""

from __future__ import annotations

import gzip
import io
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import crafted
import pytest
from crafted import ACK, FIN, PUSH, RST, SYN, Captured, conversation, ethernet, everything, ipv4, tcp, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from printing import printed

from lab.csv_files import write
from lab.topology import load
from lab.unread import Unread
from monitoring.names import Names
from monitoring.traffic import source
from monitoring.traffic.foreign import NotACaptureError
from monitoring.traffic.packets import AddressBook
from monitoring.traffic.tables import Tables
from monitoring.traffic.tally import Tally

FOLDER = Path(__file__).parent.parent / "fixtures" / "traffic"
ROOT = Path(__file__).resolve().parents[2]
NAMES = Names(load("flat"))
PACKET_TABLES = ("packets_per_service_pair", "protocol_distribution", "top_talkers")


def analysed(data: bytes) -> Tables:
    book, unread = AddressBook(), Unread()
    tally = Tally(book, unread)
    for batch in source.read(io.BytesIO(data), book, unread):
        tally.add(batch)
    return Tables(tally, NAMES)


def tables_of(tables: Tables) -> dict[str, list[tuple[object, ...]]]:
    return {table.name: [tuple(row) for row in table.rows] for table in tables.all()}


def summary_of(tables: dict[str, list[tuple[object, ...]]]) -> dict[str, object]:
    return {str(metric): value for metric, value in tables["traffic_summary"]}


def whole(frames: list[Captured]) -> dict[str, list[tuple[object, ...]]]:
    return tables_of(analysed(crafted.pcap(frames)))


# --- what was written down beforehand -------------------------------------------------------------------------


def test_what_a_capture_holds_is_told_by_name() -> None:
    found = whole(everything())
    assert ("nginx-lb", "api-gateway", 8) in found["packets_per_service_pair"]
    assert ("fe80::1", "ff02::2", 1) in found["packets_per_service_pair"]
    protocols: list[tuple[object, ...]] = [
        ("TCP", 32), ("UDP", 6), ("ICMP", 3), ("ARP", 2), ("GRE", 1), ("ICMPv6", 1), ("LLDP", 1),
    ]  # fmt: skip
    assert found["protocol_distribution"] == protocols
    summary = summary_of(found)
    assert (summary["packets"], summary["bytes"]) == (46, 8330)
    assert (summary["fragments"], summary["resets"], summary["retransmissions"]) == (1, 1, 3)
    assert (summary["connections_asked_for"], summary["connections_answered"]) == (4, 3)


def test_a_segment_that_is_sent_twice_is_found_and_a_handshake_is_timed() -> None:
    rows = {
        row[:2]: row[2:]
        for row in whole(conversation("10.0.0.10", "10.0.0.20", start=10**18))["conversations"]
    }
    packets, _, syn, syn_ack, fin, rst, again, handshakes, median, *_ = rows["nginx-lb", "api-gateway"]
    assert (packets, syn, syn_ack, fin, rst, again) == (6, 1, 0, 1, 0, 1)
    assert (handshakes, median) == (1, "0.250")


def segments(*parts: tuple[int, int, bytes]) -> list[Captured]:
    return [
        Captured(
            ethernet(0x800, ipv4("10.0.0.10", "10.0.0.20", 6, tcp((1, 2), flags, sequence, 0, data))),
            10**18 + n,
        )
        for n, (flags, sequence, data) in enumerate(parts)
    ]


@pytest.mark.parametrize(
    ("parts", "again"),
    [
        ([(ACK, 1, b"ab"), (ACK, 3, b"cd"), (ACK, 5, b"ef")], 0),
        ([(ACK, 1, b"ab"), (ACK, 3, b"cd"), (ACK, 1, b"ab")], 1),
        ([(ACK, 1, b"ab"), (ACK, 1, b""), (ACK, 1, b"")], 0),  # bare acknowledgements
        ([(ACK, 2**32 - 1, b"ab"), (ACK, 1, b"cd"), (ACK, 2**32 - 1, b"ab")], 1),  # numbers go round
        ([(SYN, 7, b""), (SYN, 7, b""), (ACK, 8, b"ab")], 1),
        (
            [(SYN, 7, b""), (ACK, 8, b"ab"), (SYN, 9_000_000, b""), (ACK, 9_000_001, b"cd")],
            0,
        ),  # ports used again
        ([(ACK, 5, b"ab"), (FIN | ACK, 7, b""), (FIN | ACK, 7, b"")], 1),
        ([(ACK, 1, b"ab"), (RST, 1, b"")], 0),
        ([(ACK, 1, b"ab"), (PUSH | ACK, 3_000_000_000, b"cd")], 0),  # far away: another connection
    ],
)
def test_sent_again_is_what_begins_before_what_was_sent(
    parts: list[tuple[int, int, bytes]], again: int
) -> None:
    assert summary_of(whole(segments(*parts)))["retransmissions"] == again


def test_a_repeat_is_known_across_batches() -> None:
    frames = segments((ACK, 1, b"ab"), (ACK, 1, b"ab"))
    book, unread = AddressBook(), Unread()
    tally = Tally(book, unread)
    for frame in frames:
        for batch in source.read(io.BytesIO(crafted.pcap([frame])), book, unread):
            tally.add(batch)
    assert Tables(tally, NAMES).total("retransmissions") == 1


# --- forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kept",
    [
        crafted.pcap(everything(), order=">"),
        crafted.pcap(everything(), nano=True),
        crafted.pcap(everything(), order=">", nano=True),
        crafted.pcapng(everything()),
        crafted.pcapng(everything(), order=">"),
        crafted.pcapng(everything(), digits=9),
        gzip.compress(crafted.pcap(everything())),
        gzip.compress(crafted.pcapng(everything())),
        gzip.compress(printed(crafted.pcap(everything()), "-nn", "-tt", "-e")),
    ],
)
def test_each_binary_form_gives_the_same_tables(kept: bytes) -> None:
    assert tables_of(analysed(kept)) == whole(everything())


STYLES = ["", "-t", "-tt", "-ttt", "-tttt"]
SIZED = ["-e", "-e -v", "-e -vv -X", "-e -S", "-e -v -XX -S"]
UNSIZED = ["", "-v", "-S", "-X", "-vvv"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("options", SIZED)
def test_text_with_sizes_gives_the_same_tables(style: str, options: str) -> None:
    capture = crafted.pcap(everything())
    expected, found = (
        whole(everything()),
        tables_of(analysed(printed(capture, "-nn", *style.split(), *options.split()))),
    )
    assert not analysed(printed(capture, "-nn", *style.split(), *options.split())).tally.unread.counts
    if style == "-t":  # no times
        expected, found = ({name: tables[name] for name in PACKET_TABLES} for tables in (expected, found))
    assert found == expected


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("options", [*UNSIZED, "-q", "-q -e", "-q -v -X"])
def test_text_without_sizes_counts_the_same_packets(style: str, options: str) -> None:
    found = tables_of(analysed(printed(crafted.pcap(everything()), "-nn", *style.split(), *options.split())))
    assert {name: found[name] for name in PACKET_TABLES} == {
        name: whole(everything())[name] for name in PACKET_TABLES
    }


def is_plain(captured: Captured) -> bool:
    """Neither tagged nor a fragment: its size follows from what is printed."""
    frame = captured.frame
    return frame[12:14] != b"\x81\0" and not (
        frame[12:14] == b"\x08\0" and struct.unpack("!H", frame[20:22])[0] & 0x3FFF
    )


@pytest.mark.parametrize("options", UNSIZED)
def test_sizes_that_are_not_printed_are_worked_out(options: str) -> None:
    frames = [each for each in everything() if is_plain(each)]
    assert tables_of(analysed(printed(crafted.pcap(frames), "-nn", *options.split()))) == whole(frames)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.name)
def test_recorded_text_gives_the_tables_of_its_capture(path: Path) -> None:
    capture = FOLDER / f"{path.name.split('.')[0]}.pcap"
    found, expected = tables_of(analysed(path.read_bytes())), tables_of(analysed(capture.read_bytes()))
    assert not analysed(path.read_bytes()).tally.unread.counts
    for name in PACKET_TABLES if ".q" in path.name or ".t." in path.name or "_q" in path.name else expected:
        assert found[name] == expected[name], name


def test_a_day_that_ends_within_a_capture_goes_on() -> None:
    midnight = 1_700_006_400 * 10**9
    frames = [
        Captured(each.frame, midnight - 2 * 10**9 + 10**9 * n) for n, each in enumerate(everything()[:5])
    ]
    assert tables_of(analysed(printed(crafted.pcap(frames), "-nn", "-e"))) == whole(frames)


def test_standard_input_and_several_files_are_read(tmp_path: Path) -> None:
    frames = everything()
    for number, part in enumerate((frames[20:], frames[:20])):  # the later one first
        (tmp_path / f"{number}.pcap").write_bytes(crafted.pcap(part))
    command = [sys.executable, "-m", "monitoring.traffic", "--only-csv", "--topology", "flat", "--reports"]
    files = [str(tmp_path / "0.pcap"), str(tmp_path / "1.pcap")]
    subprocess.run([*command, str(tmp_path / "several"), *files], check=True, cwd=ROOT)
    subprocess.run([*command, str(tmp_path / "one"), "-"], check=True, cwd=ROOT, input=crafted.pcap(frames))
    write(analysed(crafted.pcap(frames)).all(), tmp_path / "expected")
    for expected in (tmp_path / "expected").iterdir():
        for folder in ("one", "several"):
            assert (tmp_path / folder / expected.name).read_text() == expected.read_text()


def bare(frames: list[Captured], header: bytes = b"") -> list[Captured]:
    """Frames of another link layer: `header` in place of Ethernet's, the EtherType at its NN, the family at its F."""
    return [
        Captured(header.replace(b"NN", each.frame[12:14]) + each.frame[14:], each.nanoseconds)
        for each in frames
        if each.frame[12:14] in (b"\x08\0", b"\x86\xdd")
    ]


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (101, b""),  # RAW
        (12, b""),
        (113, b"\0\0\0\1\0\6" + bytes(8) + b"NN"),  # LINUX_SLL
        (276, b"NN" + bytes(18)),  # LINUX_SLL2
    ],
)
def test_other_link_layers_carry_the_same_packets(link: int, header: bytes) -> None:
    expected = {
        name: rows
        for name, rows in whole(bare(everything(), bytes(12) + b"NN")).items()
        if name in PACKET_TABLES
    }
    found = tables_of(analysed(crafted.pcap(bare(everything(), header), link=link)))
    assert {name: found[name] for name in PACKET_TABLES} == expected


def test_what_tcpdump_prints_of_any_interface_is_read() -> None:
    capture = crafted.pcap(bare(everything(), b"NN" + bytes(18)), link=276)
    text = printed(capture, "-nn", "-tt")
    assert b" In " in text or b"  In  " in text
    assert (
        tables_of(analysed(text))["packets_per_service_pair"]
        == tables_of(analysed(capture))["packets_per_service_pair"]
    )
    assert not analysed(text).tally.unread.counts


# --- against tshark ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["ip", "ipv6"])
def test_packets_and_bytes_equal_tsharks(family: str, tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(crafted.pcap(everything() + many(300)))
    command = ["tshark", "-nqr", str(path), "-z", f"conv,{family}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    conversations = [
        line.replace("<->", " ").replace(" bytes", "").split() for line in lines if "<->" in line
    ]
    expected = {(a, b): tuple(map(int, figures[:4])) for a, b, *figures in conversations}
    assert expected
    pairs = analysed(path.read_bytes()).tally
    named = {
        (pairs.book.names[a], pairs.book.names[b]): (count.packets, count.bytes)
        for (a, b), count in pairs.pairs.items()
    }
    for (a, b), (from_b, bytes_from_b, from_a, bytes_from_a) in expected.items():
        assert named.pop((a, b), (0, 0)) == (from_a, bytes_from_a)
        assert named.pop((b, a), (0, 0)) == (from_b, bytes_from_b)
    assert not [pair for pair in named if (":" in pair[0]) == (family == "ipv6")]


def many(count: int) -> list[Captured]:
    """Datagrams of all sizes between many, some cut short by the capture."""
    chance = random.Random(7)  # noqa: S311 - the same each time
    found = []
    for number in range(count):
        ends = (
            f"10.0.{chance.randrange(3)}.{chance.randrange(1, 250)}",
            f"10.0.9.{chance.randrange(1, 250)}",
        )
        frame = ethernet(0x800, ipv4(*ends, 17, udp(1000, 2000, bytes(chance.randrange(1400)))))
        found.append(Captured(frame, 10**18 + number, kept=chance.choice((34, 42, 64, 9000))))
    return found


# --- what is damaged --------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_counted_and_named() -> None:
    capture = crafted.pcap(everything())
    cut = analysed(capture[:-5])
    assert cut.tally.packets == 45
    assert "the capture ends in the middle of a record" in cut.tally.unread.counts
    damaged = bytearray(capture)
    damaged[24 + 8 : 24 + 12] = b"\xff\xff\xff\x7f"
    found = analysed(bytes(damaged))
    assert (found.tally.packets, found.tally.unread.first) == (
        0, {"damaged from some byte on: a frame of 2147483647 bytes": "byte 24"},
    )  # fmt: skip
    text = analysed(b"12:00:00.000000 IP 1.2.3.4.5 > 1.2.3.5.6: UDP, length 1\nwhat is this\n")
    assert (text.tally.packets, text.tally.unread.first) == (
        1,
        {"line that is no packet": "line 2: what is this"},
    )
    short = analysed(crafted.pcap([Captured(everything()[0].frame, 10**18, kept=20)]))
    assert short.tally.unread.counts == {"IPv4 header cut short or damaged": 1}
    unknown = analysed(crafted.pcap(everything(), link=147))
    assert (unknown.tally.packets, list(unknown.tally.unread.counts)) == (46, ["link type 147 is not known"])
    broken = analysed(gzip.compress(capture)[:-20])
    assert any(reason.startswith("gzip") for reason in broken.tally.unread.counts)


FORMS: list[Callable[[], bytes]] = [
    lambda: crafted.pcap(everything()),
    lambda: crafted.pcap(everything(), order=">", nano=True),
    lambda: crafted.pcapng(everything()),
    lambda: gzip.compress(crafted.pcap(everything())),
    lambda: printed(crafted.pcap(everything()), "-nn", "-v", "-e", "-X"),
    lambda: printed(crafted.pcap(everything()), "-nn", "-ttt"),
]
PREPARED = [form() for form in FORMS]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(PREPARED),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=12),
    st.floats(0, 1),
)
def test_damage_never_breaks_it(kept: bytes, damage: list[tuple[float, bytes]], end: float) -> None:
    data = bytearray(kept)
    for place, content in damage:
        at = int(place * len(data))
        data[at : at + len(content)] = content
    with suppress(NotACaptureError):
        tables = analysed(bytes(data[: int(end * len(data))]))
        tables_of(tables)
        assert tables.tally.packets <= 400


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_noise_never_breaks_it(noise: bytes) -> None:
    for head in (b"", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08", b"12:00:00.000000 IP "):
        with suppress(NotACaptureError):
            tables_of(analysed(head + noise))


def test_a_line_without_end_and_patterns_that_nearly_match_take_no_time() -> None:
    assert analysed(b"IP " + b"a" * 9_000_000).tally.packets == 0
    hostile = b"12:00:00.000000 IP (tos 0x0, " + b"offset 1, flags [" * 20_000 + b"\n"
    assert analysed(hostile * 3).tally.unread.counts == {"IPv4 header cut short or damaged": 3}


def test_memory_is_bounded_whoever_talks() -> None:
    frames = [
        Captured(ethernet(0x800, ipv4(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "10.0.0.1", 17, b"")), 10**18)
        for n in range(70_000)
    ]
    tables = analysed(crafted.pcap(frames))
    assert tables.tally.packets == 70_000
    assert len(tables.tally.book.names) == AddressBook.MOST + 1
    assert dict(tables.talkers())["others"] > 4_000
