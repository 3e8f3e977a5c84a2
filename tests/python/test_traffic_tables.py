"""The tables, files, pictures and reports of traffic: whole, complete in time, and escaped in every language."""

from __future__ import annotations

import io
import itertools
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import crafted
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from crafted import Captured, conversation, ethernet, everything, ipv4, udp
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from pages import page_faults
from reading import CAPTURES
from test_traffic import NAMES, ROOT, analysed

from lab.figures import plt
from lab.unread import Unread
from monitoring.traffic import data_frames, findings, pictures, report, source
from monitoring.traffic.columns import COLUMNS
from monitoring.traffic.packets import UNKNOWN, AddressBook, Packets
from monitoring.traffic.tables import METRICS, Tables
from monitoring.traffic.tally import Tally

SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND
DAY, YEAR = 86_400, 365 * 86_400


def tables_at(*seconds: float) -> Tables:
    """Tables of datagrams of 100 bytes at these seconds, in this order."""
    frame = ethernet(0x800, ipv4("10.0.0.10", "10.0.0.20", 17, udp(1, 2, bytes(58))))
    return analysed(crafted.pcap([Captured(frame, BEGIN + int(second * SECOND)) for second in seconds]))


def run_on(
    capture: Path, folder: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitoring.traffic", "--topology", "flat", "--reports", str(folder)]
    return subprocess.run(
        [*command, *options, str(capture)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def heights(figure: Figure) -> list[list[float]]:
    """What is drawn as steps, panel by panel."""
    panels = [[each for each in axes.patches if isinstance(each, StepPatch)] for axes in figure.axes]
    return [np.asarray(drawn[0].get_data()[0]).tolist() for drawn in panels]


def test_a_capture_of_one_protocol_is_not_mostly_of_it() -> None:
    said = findings.summary(tables_at(0, 1))
    assert "All of them are UDP." in said
    assert "Most of them" not in said


# --- silence ----------------------------------------------------------------------------------------------------------


def test_silence_is_zero_in_the_table_and_in_the_picture() -> None:
    tables = analysed((CAPTURES / "gap.pcap").read_bytes())
    rates = [(0, 500, 33000), *((second, 0, 0) for second in range(1, 60)), (60, 1, 66)]
    assert tables.rates() == rates
    packets, weight = heights(pictures._rate(tables))
    assert (packets, weight) == ([row[1] for row in rates], [row[2] for row in rates])


def test_times_that_go_back_have_negative_seconds_and_silence_between() -> None:
    assert tables_at(0, -3, 1.5).rates() == [(-3, 1, 100), (-2, 0, 0), (-1, 0, 0), (0, 1, 100), (1, 1, 100)]


@pytest.mark.parametrize(
    ("last", "step"), [(DAY, 1), (2 * DAY, 10), (30 * DAY, 60), (YEAR, 600), (10 * YEAR, 3600), (80 * YEAR, 86_400)]
)  # fmt: skip
def test_a_long_capture_has_wider_steps_and_loses_no_packet(last: int, step: int) -> None:
    tables = tables_at(*range(0, last, last // 7), last)
    rates = tables.rates()
    assert {later[0] - earlier[0] for earlier, later in itertools.pairwise(rates)} == {step}
    assert len(rates) <= 100_001
    assert sum(row[1] for row in rates) == tables.tally.packets
    assert sum(row[2] for row in rates) == 100 * tables.tally.packets
    assert dict(tables.summary())["rate_step_seconds"] == step
    assert not tables.tally.unread.counts


def test_steps_are_the_same_in_one_batch_and_in_many() -> None:
    seconds = [0, 7, -12, 3 * DAY, 3 * DAY + 1, 40 * DAY, 5]
    frame = ethernet(0x800, ipv4("10.0.0.10", "10.0.0.20", 17, udp(1, 2, bytes(58))))
    book, unread = AddressBook(), Unread()
    tally = Tally(book, unread)
    for second in seconds:
        for batch in source.read(
            io.BytesIO(crafted.pcap([Captured(frame, BEGIN + second * SECOND)])), book, unread
        ):
            tally.add(batch)
    assert Tables(tally, NAMES).rates() == tables_at(*seconds).rates()


def test_a_picture_of_a_long_capture_has_few_steps_and_every_packet() -> None:
    tables = tables_at(*range(0, DAY, 900))
    packets, _ = heights(pictures._rate(tables))
    assert len(packets) <= 1000
    assert sum(packets) * 600 == pytest.approx(tables.tally.packets)


def test_a_capture_without_times_says_so() -> None:
    tables = analysed(b"IP 10.0.0.10.1 > 10.0.0.20.2: UDP, length 1\n")
    assert tables.rates() == []
    figure = pictures._rate(tables)
    assert figure.axes[1].get_xlabel() == "the capture has no times"
    assert [line for line in findings.observations(tables) if line.startswith("Without a time: 1 packet,")]


# --- data frames ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_every_table_is_written_for_notebooks_with_typed_columns(kind: str, tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(crafted.pcap(everything()))
    done = run_on(capture, tmp_path, "--only-csv", FORMAT=kind)
    assert done.returncode == 0, done.stderr
    for table in analysed(capture.read_bytes()).all():
        path = tmp_path / f"{table.name}.{kind}"
        frame = pd.read_parquet(path) if kind == "parquet" else pd.DataFrame(json.loads(path.read_text()))
        expected = data_frames.frame_of(table)
        assert len(frame) == len(table.rows)
        if kind == "parquet":
            pd.testing.assert_frame_equal(frame, expected)
            assert [str(kind) for kind in frame.dtypes] == [COLUMNS[name][1] for name in table.columns]
        for name in frame.columns:
            told = [each[name].astype(object) for each in (frame, expected)]
            assert (
                told[0].where(told[0].notna(), None).tolist() == told[1].where(told[1].notna(), None).tolist()
            )


def test_the_csv_files_are_the_same_whatever_else_is_written(tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(crafted.pcap(everything()))
    folders = [tmp_path / kind for kind in ("csv", "json", "parquet")]
    for folder in folders:
        assert run_on(capture, folder, "--only-csv", "--format", folder.name).returncode == 0
    for path in folders[0].iterdir():
        assert {(folder / path.name).read_text() for folder in folders} == {path.read_text()}
    assert not [path for path in folders[0].iterdir() if path.suffix != ".csv"]


def test_a_table_in_another_format_does_not_outlive_its_capture(tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(crafted.pcap(everything()))
    run_on(capture, tmp_path, "--only-csv", "--format", "json")
    assert (tmp_path / "top_talkers.json").exists()
    run_on(capture, tmp_path, "--only-csv")
    assert not list(tmp_path.glob("*.json"))


def test_an_unknown_format_is_refused_by_name_before_anything_is_read(tmp_path: Path) -> None:
    done = run_on(tmp_path / "none.pcap", tmp_path / "reports", FORMAT="xml")
    assert done.returncode == 2
    assert "no format 'xml': FORMAT and --format are csv, json or parquet" in done.stderr
    assert not (tmp_path / "reports").exists()


def test_counting_and_csv_load_neither_pandas_nor_matplotlib(tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(crafted.pcap(everything()))
    script = (
        "import sys; from monitoring.traffic.__main__ import main; "
        f"assert main(['--only-csv', '--topology', 'flat', '--reports', {str(tmp_path)!r}, {str(capture)!r}]) == 0; "
        "print({'pandas', 'pyarrow', 'matplotlib', 'reportlab'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_every_column_and_figure_has_its_plain_name() -> None:
    tables = analysed(crafted.pcap(everything()))
    for table in tables.all():
        assert [name for name in table.columns if name not in COLUMNS] == []
    plain = [*(name for name, _ in COLUMNS.values()), *(name for name, _, _ in METRICS.values())]
    assert not [name for name in plain if "_" in name]


# --- what a report says -----------------------------------------------------------------------------------------------


def resets(source_address: str, destination: str, count: int) -> list[Captured]:
    found = conversation(source_address, destination, start=BEGIN)
    frame = ethernet(0x800, ipv4(destination, source_address, 6, crafted.tcp((80, 40000), crafted.RST, 5, 6)))
    return [*found, *(Captured(frame, BEGIN + 10**7 + n) for n in range(count))]


def test_resets_by_the_labs_own_checks_are_named_and_blame_nobody() -> None:
    said = findings.observations(analysed(crafted.pcap(resets("10.0.0.1", "10.0.0.30", 36))))
    assert not [line for line in said if "Is it allowed?" in line]
    assert [line for line in said if "Traffic of the lab itself" in line and "36 resets" in line]


def test_resets_of_others_are_an_observation() -> None:
    said = findings.observations(analysed(crafted.pcap(resets("10.0.0.10", "10.0.0.20", 36))))
    blamed = "Resets (RST): 36, 36 of them from api-gateway to nginx-lb"
    assert [line for line in said if line.startswith(blamed)]


def test_one_packet_sent_again_among_many_is_remarked() -> None:
    frames = conversation("10.0.0.10", "10.0.0.20", start=BEGIN)
    many = [each for n in range(300) for each in tables_frames(n)]
    said = findings.observations(analysed(crafted.pcap([*frames, *many])))
    assert [line for line in said if "Sent again in all: 1 of 310 packets (0.32 %)" in line]


def tables_frames(number: int) -> list[Captured]:
    datagram = ipv4("10.0.0.10", "10.0.0.20", 17, udp(1, 2, bytes(58)))
    return [Captured(ethernet(0x800, datagram), BEGIN + number)]


def test_the_summary_claims_no_majority_that_the_most_frequent_protocol_has_not() -> None:
    protocols = (17, 17, 1, 6)
    frames = [ethernet(0x800, ipv4("10.0.0.10", "10.0.0.20", number, bytes(40))) for number in protocols]
    tables = analysed(crafted.pcap([Captured(frame, BEGIN) for frame in frames]))
    assert "The most frequent protocol is UDP (50.0 %)." in findings.summary(tables)


def test_few_handshakes_are_not_spoken_of_in_twentieths() -> None:
    frames = conversation("10.0.0.10", "10.0.0.20", start=BEGIN)
    late = [Captured(each.frame, BEGIN + 2000 * (each.nanoseconds - BEGIN)) for each in frames]
    said = findings.observations(analysed(crafted.pcap(late)))
    slowest = "The slowest of 1 handshake from nginx-lb to api-gateway took 500 ms"
    assert [line for line in said if line.startswith(slowest)]


def test_what_the_capture_does_not_tell_is_said_to_be_unknown() -> None:
    tally = Tally(AddressBook(), Unread())
    packets = Packets.empty(3)
    assert packets.protocol.tolist() == [UNKNOWN] * 3
    tally.add(packets)
    tables = Tables(tally, NAMES)
    assert tables.protocols() == [("unknown", 3)]
    assert [
        line
        for line in findings.observations(tables)
        if line.startswith("The protocol of 3 packets is unknown")
    ]


def test_a_syn_sent_again_is_no_other_connection() -> None:
    forth, back = ((ends, ports) for ends, ports in (
        (("10.0.0.10", "10.0.0.20"), (40000, 80)), (("10.0.0.20", "10.0.0.10"), (80, 40000))))  # fmt: skip
    asking = ethernet(0x800, ipv4(*forth[0], 6, crafted.tcp(forth[1], crafted.SYN, 5)))
    answer = ethernet(0x800, ipv4(*back[0], 6, crafted.tcp(back[1], crafted.SYN | crafted.ACK, 9, 6)))
    other = ethernet(0x800, ipv4(*forth[0], 6, crafted.tcp((40001, 80), crafted.SYN, 5)))

    def tables(*frames: bytes) -> Tables:
        return analysed(crafted.pcap([Captured(frame, BEGIN + n) for n, frame in enumerate(frames)]))

    again = tables(asking, asking, answer, answer)
    assert "(SYN): 1; answered (SYN-ACK): 1." in findings.summary(again)
    assert not [line for line in findings.observations(again) if "Not answered" in line]
    figures = dict(again.summary())
    assert (figures["connections_asked_for"], figures["connections_answered"]) == (1, 1)
    assert [row[4:6] for row in again.conversations()] == [(0, 2), (2, 0)]  # segments, sent again or not
    missing = findings.observations(tables(asking, asking, answer, answer, other))
    assert [line for line in missing if "Not answered within the capture: 1 of 2 connections" in line]


def test_of_packets_whose_addresses_could_not_be_read_nothing_good_is_said() -> None:
    damaged = b"12:00:00.000001 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 60)\n"
    good = b"12:00:00.000001 IP 10.0.0.10.1 > 10.0.0.20.2: UDP, length 1\n"
    said = [findings.observations(analysed(text))[0] for text in (damaged * 3, damaged + good, good)]
    assert said == [
        "No packet's IP addresses could be read, so nothing is known of connections.",
        "No problem was found in what could be read: no connection was asked for, and no segment was sent again.",
        "No problem was found: no connection was asked for, and no segment was sent again.",
    ]


def test_a_persons_table_has_separators_units_and_plain_names(tmp_path: Path) -> None:
    tables = tables_at(*(number / 100 for number in range(1500)))
    pictures.draw(tables, tmp_path)
    path = report.report(tables, tmp_path, "made")
    assert page_faults(path) == []
    text = path.with_suffix(".md").read_text()
    assert "| packets | 1,500 |" in text
    assert "| from the first packet to the last | 15.0 s |" in text
    assert "| answered |" in text


# --- names from elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dollar.txt", "dollar1.txt", "formula.txt", "long_dns.txt"])
def test_names_from_elsewhere_do_not_break_the_report(name: str, tmp_path: Path) -> None:
    done = run_on(CAPTURES / name, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    made = {path.name for path in tmp_path.iterdir()}
    assert {
        "traffic_analysis_report.pdf",
        "top_talkers.png",
        "top_service_pairs.png",
        "traffic_rate.png",
    } <= made
    assert not [draft for draft in made if draft.startswith(".")]


def test_a_name_is_drawn_as_it_is() -> None:
    figure = pictures._bars("senders", [("pc$a_$.lan", 2), ("n" * 20_000, 1)])
    figure.canvas.draw()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        "pc$a_$.lan",
        "n" * 59 + "\u2026",
    ]
    assert not mpl.rcParams["text.parse_math"]
    plt.close(figure)


def test_a_captures_name_is_no_markup_while_it_is_read(tmp_path: Path) -> None:
    capture = tmp_path / "[" / "x]\x1b[31m.pcap"
    capture.parent.mkdir()
    capture.write_bytes(crafted.pcap(everything()))
    command = [
        sys.executable,
        "-m",
        "monitoring.traffic",
        "--only-csv",
        "--reports",
        str(tmp_path),
        str(capture),
    ]
    terminal = f"exec {shlex.join(command)} >&2"
    done = subprocess.run(
        ["script", "-qec", terminal, "/dev/null"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "400"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "[/x]?[31m.pcap" in done.stdout
