"""The reader of what tcpdump prints: the same packets as the capture's, in every style, and nothing that is forged."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import crafted
import pytest
from crafted import BROADCAST, SYN, Captured, arp, ethernet, everything, icmp, ipv4, ipv6, tcp, udp
from printing import printed
from test_traffic import analysed, summary_of, tables_of

from lab.unread import Unread
from monitoring.traffic import source
from monitoring.traffic.__main__ import main
from monitoring.traffic.foreign import NotACaptureError
from monitoring.traffic.packets import UNKNOWN, AddressBook, protocol_name

CAPTURES = Path(__file__).parent.parent / "fixtures" / "captures"
BESIDE = sorted(CAPTURES.glob("*.pcap"), key=lambda path: len(path.stem))
PRINTED_OF = {"opt": "plain"}  # by the text's first word, where the capture has another name
SMALL = ("10.0.0.10", "10.0.0.20")
SEGMENT = tcp((40000, 80), SYN, 5, options=b"")
Row = tuple[str, str, str, int, int, bool]


def rows_of(data: bytes) -> list[Row]:
    """Give protocol, ends, size, flags, and whether it is a later fragment, of each packet in order."""
    book, found = AddressBook(), []
    for batch in source.read(io.BytesIO(data), book, Unread()):
        columns = (batch.protocol, batch.source, batch.destination, batch.size, batch.flags, batch.fragment)
        for protocol, sender, receiver, *others in zip(*(column.tolist() for column in columns), strict=True):
            found.append((protocol_name(protocol), book.names[sender], book.names[receiver], *others))
    return found


def capture_of(text: Path) -> Path | None:
    """Give the capture whose name begins the text's, the longest such name."""
    word = text.stem.split("-")[0]
    if word in PRINTED_OF:
        return CAPTURES / f"{PRINTED_OF[word]}.pcap"
    beside = [path for path in BESIDE if text.stem.startswith(path.stem)]
    return beside[-1] if beside else None


def unread_of(data: bytes) -> dict[str, int]:
    return dict(analysed(data).tally.unread.counts)


PAIRS = [(text, capture) for text in sorted(CAPTURES.glob("*.txt")) if (capture := capture_of(text))]


def test_the_texts_are_found() -> None:
    assert len(PAIRS) > 20


@pytest.mark.parametrize(("path", "capture"), PAIRS, ids=lambda path: path.stem)
def test_a_text_tells_the_packets_of_the_capture_beside_it(path: Path, capture: Path) -> None:
    expected, found = rows_of(capture.read_bytes()), rows_of(path.read_bytes())
    sizes = [
        told[3] if told[3] != UNKNOWN else row[3] for told, row in zip(found, expected, strict=True)
    ]  # unknown is allowed, wrong is not
    assert [(*row[:3], size, *row[4:]) for row, size in zip(found, sizes, strict=True)] == expected
    assert not unread_of(path.read_bytes())


@pytest.mark.parametrize(("path", "capture"), PAIRS, ids=lambda path: path.stem)
def test_a_text_tells_the_times_of_the_capture_beside_it(path: Path, capture: Path) -> None:
    expected, found = (tables_of(analysed(each.read_bytes())) for each in (capture, path))
    if unread := [reason for reason in unread_of(path.read_bytes()) if reason.startswith("times")]:
        pytest.fail(f"{unread}")
    assert summary_of(found)["duration_seconds"] == summary_of(expected)["duration_seconds"]
    assert [row[:2] for row in found["traffic_rate"]] == [row[:2] for row in expected["traffic_rate"]]


def logical_link(point: int, payload: bytes, *, tags: tuple[int, ...] = ()) -> bytes:
    data = bytes((point, point, 3)) + payload
    return ethernet(len(data), data, tags=tags)


def odd() -> list[Captured]:
    """Make what a pattern of the usual misses: tags, 802.3, tunnels, extensions, zeros at an address's end."""
    inner = ipv4("192.168.0.1", "192.168.0.2", 6, SEGMENT)
    frame = ethernet(0x800, ipv4("192.168.0.1", "192.168.0.2", 1, icmp(8, 0, bytes(60))))
    vxlan = b"\x08\0\0\0\0\0\x2a\0"
    bpdu = bytes(35)
    frames = [
        ethernet(0x800, ipv4(*SMALL, 6, SEGMENT), tags=(5, 6)),
        ethernet(0x806, arp(1, *SMALL), to=BROADCAST),
        ethernet(0x806, arp(1, *SMALL), tags=(7,)),
        logical_link(0x42, bpdu),
        logical_link(0x42, bpdu, tags=(9,)),
        logical_link(0xAA, b"\0\0\0\x08\0" + ipv4(*SMALL, 6, SEGMENT)),
        logical_link(0xAA, b"\0\0\x0c\x20\0\x02\xb4" + bytes(20)),
        logical_link(0xF0, bytes(60)),
        ethernet(0x1234, bytes(60)),
        ethernet(0x800, ipv4(*SMALL, 17, udp(50000, 4789, vxlan + frame))),
        ethernet(0x800, ipv4(*SMALL, 4, inner)),
        ethernet(0x800, ipv4(*SMALL, 41, ipv6("fd00::1", "fd00::2", 58, icmp(128, 0, bytes(4))))),
        ethernet(0x800, ipv4(*SMALL, 47, b"\0\0\x08\0" + inner)),
        ethernet(0x800, ipv4(*SMALL, 132, bytes.fromhex("13881770000000000000000001000014") + bytes(16))),
        ethernet(0x800, ipv4(*SMALL, 94, bytes(20))),
        ethernet(0x800, ipv4(*SMALL, 89, bytes.fromhex("0201002c") + bytes(40))),
        ethernet(0x86DD, ipv6("fd00::", "fd00::1", 6, SEGMENT)),
        ethernet(0x86DD, ipv6("fd00::1", "fd00::", 58, icmp(128, 0, bytes(4)))),
        ethernet(0x86DD, ipv6("fd00::1", "fd00::", 0, b"\x11\0\x01\x04\0\0\0\0" + udp(1000, 2000, b"x"))),
        ethernet(0x86DD, ipv6("fd00::1", "fd00::", 60, b"\x06\0\x01\x04\0\0\0\0" + SEGMENT)),
        ethernet(
            0x86DD, ipv6("fd00::1", "::ffff:1.2.3.4", 44, b"\x11\0\0\x01\0\0\0\x07" + udp(1, 53, b"y" * 20))
        ),
        ethernet(0x800, ipv4(*SMALL, 1, icmp(8, 0, bytes(60)), options=b"\x94\x04\0\0")),
        ethernet(0x800, ipv4("127.0.0.1", "127.0.0.1", 17, udp(40000, 9999, b"hello"))),
    ]
    return [Captured(frame, 1_700_000_000 * 10**9 + n * 1_234_567_000) for n, frame in enumerate(frames)]


NAMED = ["", "-n", "-nn"]
OTHERWISE = [
    "",
    "-e",
    "-v",
    "-vv -e",
    "-q",
    "-q -e",
    "-#",
    "-S -X",
    "-XX -e",
    "-x -v -#",
    "-t -e",
    "-t",
    "-# -t -v",
]
TIMES = ["-tt", "-ttt", "-tttt", "-ttttt", "--nano -tt", "--nano -ttt -#", "-tttt -v -e", "-ttttt -q"]


@pytest.mark.parametrize("names", NAMED)
@pytest.mark.parametrize("style", OTHERWISE)
@pytest.mark.parametrize("frames", [odd, everything], ids=lambda make: make.__name__)
def test_each_style_tells_the_same_packets(names: str, style: str, frames: object) -> None:
    capture = crafted.pcap(frames())  # type: ignore[operator] # a function
    text = printed(capture, *names.split(), *style.split())
    expected, found = rows_of(capture), rows_of(text)
    assert [row[0] for row in found] == [row[0] for row in expected]
    assert [row[5] for row in found] == [row[5] for row in expected]
    if names:
        assert [row[1:3] for row in found] == [row[1:3] for row in expected]
    if "-q" not in style:
        assert [row[4] for row in found] == [row[4] for row in expected]
    if "-e" in style:
        wrong = [
            (row, told) for row, told in zip(expected, found, strict=True) if told[3] not in (row[3], UNKNOWN)
        ]
        assert not wrong
    assert not unread_of(text)


@pytest.mark.parametrize("style", TIMES)
def test_each_style_of_time_tells_the_same_rates(style: str) -> None:
    capture = crafted.pcap(odd())
    expected, found = (tables_of(analysed(data)) for data in (capture, printed(capture, *style.split())))
    assert [row[:2] for row in found["traffic_rate"]] == [row[:2] for row in expected["traffic_rate"]]
    assert summary_of(found)["duration_seconds"] == summary_of(expected)["duration_seconds"]


@pytest.mark.parametrize("link", [113, 276])
@pytest.mark.parametrize("style", ["", "-e", "-q -e", "-v", "-e -v -#", "-t", "-X"])
def test_cooked_captures_are_read_with_their_tags(link: int, style: str) -> None:
    def cooked(frame: bytes) -> bytes:
        kind = frame[12:14] if frame[12] >= 6 else b"\0\4"
        sender = b"\0\1\0\6" + frame[6:12] + b"\0\0"
        if link == 113:
            return b"\0\4" + sender + kind + frame[14:]
        return kind + b"\0\0" + b"\0\0\0\2" + b"\0\1\4\6" + frame[6:12] + b"\0\0" + frame[14:]

    behind_ethertypes = [
        each for each in odd() if each.frame[12:14] != b"\x12\x34" and each.frame[14:18] != b"\0\x09\0\x26"
    ]
    frames = [Captured(cooked(each.frame), each.nanoseconds) for each in behind_ethertypes]
    capture = crafted.pcap(frames, link=link)
    text = printed(capture, "-nn", *style.split())
    assert [row[:3] for row in rows_of(text)] == [row[:3] for row in rows_of(capture)]
    assert not unread_of(text)


@pytest.mark.parametrize("form", ["bom", "cr_only"])
def test_marks_and_line_ends_of_other_systems_are_read(form: str) -> None:
    text = (CAPTURES / f"{form}.txt").read_bytes()
    assert [row[4] for row in rows_of(text)] == [SYN] * 5
    assert not unread_of(text)
    other = (CAPTURES / "ecn_v.txt").read_bytes()
    assert rows_of(other.replace(b"\n", b"\r\n")) == rows_of(other)


# --- what is not known, and what is no packet -------------------------------------------------------------------


def test_a_protocol_that_the_text_does_not_tell_is_unknown_and_counted() -> None:
    text = (
        b"12:00:00.000000 IP6 fd00::1 > fd00::2: frag (1448|600)\n"
        b"12:00:00.000001 IP 10.0.0.1 > 10.0.0.2: something new, length 5\n"
        b"12:00:00.000002 frobnicate 7\n"
    )
    assert [(row[0], row[3]) for row in rows_of(text)] == [("unknown", UNKNOWN)] * 3
    unread = analysed(text).tally.unread
    assert unread.counts == {"protocol that the text does not tell": 3}
    assert unread.first["protocol that the text does not tell"].startswith("line 1: fd00::1 > fd00::2: frag")


def test_a_foreign_line_is_quoted_shortened_and_passed_over() -> None:
    line = b"12:00:00.000000 IP 1.2.3.4.5 > 1.2.3.5.6: UDP, length 1\n"
    unread = analysed(line + b"\x1b[31m\x07" + b"what" * 9000 + b"\n" + line + b"=cmd\n").tally.unread
    assert unread.counts == {"line that is no packet": 2}
    where = unread.first["line that is no packet"]
    assert where.startswith("line 2: \\x1b[31m\\x07whatwhat")
    assert where.isprintable()
    assert len(where) < 100


SEGMENT_LINE = (
    b"12:00:00.000001 IP 10.0.0.10.%b > 10.0.0.20.80: Flags [P.], seq %b, ack 1, win 1, length %b\n"
)
VERBOSE_LINE = (
    b"12:00:00.000001 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto %b, length %b)\n"
    b"    10.0.0.10.1000 > 10.0.0.20.80: Flags [S], seq 1, win 64, length 0\n"
)
MANY_DIGITS = [b"99999999999", b"9223372036854775808", b"9" * 5000]


@pytest.mark.parametrize("number", MANY_DIGITS, ids=len)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (SEGMENT_LINE % (b"1000", b"1:2", b"%b"), "number that is too large"),
        (SEGMENT_LINE % (b"1000", b"%b:%b", b"1"), "number that is too large"),
        (SEGMENT_LINE % (b"1000", b"1:%b", b"%b"), "number that is too large"),
        (SEGMENT_LINE % (b"%b", b"1:2", b"1"), "port over 65535"),
        (b"12:00:00.000001 IP 10.0.0.10.1 > 10.0.0.20.2: UDP, length %b\n", "number that is too large"),
        (VERBOSE_LINE % (b"UDP (17)", b"%b"), "IPv4 header cut short or damaged"),
        (VERBOSE_LINE % (b"XX (%b)", b"60"), "IPv4 header cut short or damaged"),
    ],
)
def test_a_number_that_no_packet_has_is_unknown_and_noted(line: bytes, reason: str, number: bytes) -> None:
    tables = analysed(line.replace(b"%b", number) * 3)
    assert tables.tally.packets == 3
    assert 0 <= tables.tally.bytes < 1000
    assert list(tables.tally.unread.counts) == [reason]


def test_a_protocol_over_255_is_none() -> None:
    assert protocols(VERBOSE_LINE % (b"XX (256)", b"60")) == ["unknown"]
    assert protocols(b"12:00:00.000001 IP 10.0.0.10 > 10.0.0.20: ip-proto-256 20\n") == ["unknown"]
    assert protocols(b"12:00:00.000001 IP 10.0.0.10 > 10.0.0.20: ip-proto-255 20\n") == ["IP protocol 255"]


def protocols(text: bytes) -> list[str]:
    return [row[0] for row in rows_of(text)]


def test_numbers_before_arp_lose_no_line() -> None:
    frames = [Captured(ethernet(0x806, arp(1, *SMALL)), 10**18 + n) for n in range(12)]
    for style in ("-#", "-# -t", "-# -v -ttt"):
        text = printed(crafted.pcap(frames), "-n", *style.split())
        assert [row[0] for row in rows_of(text)] == ["ARP"] * 12


def test_a_packet_within_a_packet_is_not_counted_again() -> None:
    frame = ethernet(0x800, ipv4("192.168.0.1", "192.168.0.2", 6, SEGMENT))
    outer = ethernet(0x800, ipv4(*SMALL, 17, udp(50000, 4789, b"\x08\0\0\0\0\0\x2a\0" + frame)))
    capture = crafted.pcap([Captured(outer, 10**18 + n) for n in range(3)])
    for style in ("-t", "-t -v", "-t -e", "", "-v -e", "-# -t"):
        assert [row[:3] for row in rows_of(printed(capture, "-n", *style.split()))] == [("UDP", *SMALL)] * 3


def test_the_time_since_the_first_packet_goes_on_after_a_day() -> None:
    day = 86400 * 10**9
    frames = [Captured(each.frame, 10**18 + n * day // 5) for n, each in enumerate(everything()[:12])]
    found = tables_of(analysed(printed(crafted.pcap(frames), "-n", "-ttttt")))
    assert summary_of(found)["duration_seconds"] == f"{11 * 86400 / 5:.6f}"


@pytest.mark.parametrize(
    "stamp",
    ["99:99:99.9", "24:00:00.000001", "2026-13-45 12:00:00.000001", "0001-01-01 12:00:00.000001", "-1.5", "1:2.5",
     "9999-12-31 12:00:00.000001", "99999999999999999999.000001", "9223372036.854776", f"{'9' * 5000}.5"],
)  # fmt: skip
@pytest.mark.parametrize("others", ["12:00:0{}.000001", "2026-01-01 12:00:0{}.000001", "170000000{}.000001"])
def test_a_time_that_no_calendar_has_is_unknown_and_noted(stamp: str, others: str) -> None:
    line = "{} IP 10.0.0.10.1 > 10.0.0.20.2: UDP, length 1\n"
    good = [line.format(others.format(second)) for second in (1, 3)]
    for order in ([line.format(stamp)], [line.format(stamp), *good], [*good, line.format(stamp)]):
        tables = analysed("".join(order).encode())
        assert tables.tally.packets == len(order)
        assert tables.tally.unread.counts == {"time that no calendar has": 1}
        assert tables.duration in ((None,) if len(order) == 1 else (0, 2))
        assert sum(row[1] for row in tables.rates()) == len(order) - 1


def test_few_rising_times_may_be_of_both_styles_and_are_unknown() -> None:
    frames = [Captured(each.frame, 10**18 + n * n * 10**9) for n, each in enumerate(everything()[:4])]
    text = printed(crafted.pcap(frames), "-n", "-ttttt")
    assert unread_of(text) == {"times that may be of -ttt and of -ttttt": 4}
    assert summary_of(tables_of(analysed(text)))["duration_seconds"] == "unknown"


def test_a_services_name_is_the_same_port_as_its_number() -> None:
    port = socket.getservbyname("http", "tcp")
    lines = [
        b"12:00:00.00000%d IP a.lab.40000 > b.lab.%b: Flags [.], seq %d:%d, ack 1, win 1, length 5\n" % values
        for values in ((1, b"http", 1, 6), (2, str(port).encode(), 1, 6))
    ]
    assert summary_of(tables_of(analysed(b"".join(lines))))["retransmissions"] == 1


def test_empty_lines_and_headers_cut_short_are_no_more_and_no_less_than_a_packet() -> None:
    line = b"IP 1.2.3.4.5 > 1.2.3.5.6: UDP, length 1\n"
    assert [row[0] for row in rows_of(b"\n\n" + line + b"\n" + line + b" [|arp]\n")] == ["UDP", "UDP", "ARP"]


# --- what can be forged -----------------------------------------------------------------------------------------


def test_text_of_dash_a_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = CAPTURES / "forged-A.txt"
    assert main(["--only-csv", "--topology", "flat", "--reports", str(tmp_path), str(path)]) == 1
    said = capsys.readouterr().err.strip()
    assert "tcpdump -A" in said
    assert "-X" in said
    assert "\n" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("letters", ["-A", "-AA"])
@pytest.mark.parametrize("style", ["-n", "-t", "-e", "-v", "-#", "-q -t", "-ttt -v"])
@pytest.mark.parametrize("version", [4, 6])
def test_text_of_dash_a_is_known_in_every_style(letters: str, style: str, version: int) -> None:
    forged = b"\n12:00:00.000000 IP 10.0.0.50.4444 > 10.0.0.60.5432: Flags [S], seq 1, win 1, length 0\nend\n"
    segment = tcp((40000, 8080), SYN, 5, payload=forged)
    packet = (
        ethernet(0x800, ipv4(*SMALL, 6, segment))
        if version == 4
        else ethernet(0x86DD, ipv6("fd00::1", "fd00::2", 6, segment))
    )
    text = printed(crafted.pcap([Captured(packet, 10**18)]), letters, *style.split())
    with pytest.raises(NotACaptureError, match="tcpdump -A"):
        analysed(text)


@pytest.mark.parametrize("style", ["-n", "-v", "-X", "-XX -e", "-vvv -X", "-x -t"])
def test_what_is_sent_forges_nothing_in_other_styles(style: str) -> None:
    forged = b"GET / HTTP/1.1\r\nE..4..@.@....\r\n12:00:00.000000 IP 1.1.1.1.1 > 2.2.2.2.2: Flags [S], length 0\r\n\r\n"
    frame = ethernet(0x800, ipv4(*SMALL, 6, tcp((40000, 80), SYN, 5, payload=forged)))
    text = printed(crafted.pcap([Captured(frame, 10**18 + n) for n in range(3)]), *style.split())
    assert [row[:3] for row in rows_of(text)] == [("TCP", *SMALL)] * 3


# --- much of it -------------------------------------------------------------------------------------------------


def test_large_packets_in_hexadecimal_are_read_across_pieces() -> None:
    frame = ethernet(0x800, ipv4(*SMALL, 17, udp(40000, 9999, bytes(range(256)) * 5 + bytes(92))))
    text = printed(crafted.pcap([Captured(frame, 10**18 + n) for n in range(1200)]), "-n", "-X")
    assert len(text) > 2 * (3 << 20)  # takes minutes where each line costs as much as all before it
    assert tables_of(analysed(text))["packets_per_service_pair"] == [("nginx-lb", "api-gateway", 1200)]


def test_the_number_of_a_line_counts_all_before_it() -> None:
    frame = ethernet(0x800, ipv4(*SMALL, 17, udp(40000, 9999, bytes(1000))))
    text = (
        printed(crafted.pcap([Captured(frame, 10**18 + n) for n in range(1500)]), "-n", "-v", "-X")
        + b"foreign\n"
    )
    assert len(text) > 4 << 20
    where = analysed(text).tally.unread.first["line that is no packet"]
    assert where == f"line {text.count(bytes((10,)))}: foreign"


def test_an_ethertype_without_a_name_is_passed_over() -> None:
    assert unread_of(b"12:00:00.000000  In ethertype !!\n") == {"protocol that the text does not tell": 1}
