"""Where captures come from: compressed files, pipes, several at once; and what is no capture at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shlex
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import crafted
import pytest
import zstandard
from crafted import Captured, everything
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import CAPTURES, unread_of
from test_traffic import ROOT, analysed, tables_of

from lab.unread import Unread
from monitoring.traffic import foreign
from monitoring.traffic.__main__ import main
from monitoring.traffic.unpacked import unpacked

# --- what is compressed ------------------------------------------------------------------------------------------


def zstandard_of(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zstandard_stream(data: bytes) -> bytes:
    """Frames without their size, some to be skipped."""
    half = len(data) // 2
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    skipped = b"\x53\x2a\x4d\x18" + struct.pack("<I", 5) + b"notes"
    return skipped + compressor.compress(data[:half]) + skipped + compressor.compress(data[half:])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "bzip2": lambda data: bz2.compress(data, 1), "xz": lzma.compress, "zstandard": zstandard_of,
}  # fmt: skip
CAPTURE = crafted.pcap(everything())
NOISE = random.Random(7).randbytes(300_000)  # noqa: S311 - the same each time; does not compress
LARGE = crafted.pcap(
    [*everything(), *(Captured(NOISE[at : at + 1000], 10**18) for at in range(0, 300_000, 1000))]
)


@pytest.mark.parametrize("pack", [*PACKERS.values(), zstandard_stream], ids=[*PACKERS, "zstandard frames"])
def test_what_is_compressed_gives_the_same_tables(pack: Callable[[bytes], bytes]) -> None:
    for data in (CAPTURE, crafted.pcapng(everything()), LARGE):
        assert tables_of(analysed(pack(data))) == tables_of(analysed(data))
        assert unread_of(pack(data)) == unread_of(data)


@pytest.mark.parametrize("name", PACKERS)
def test_members_one_after_the_other_are_one_capture(name: str) -> None:
    pack = PACKERS[name]
    parts = [LARGE[:100], LARGE[100:5000], LARGE[5000:]]
    for between in (b"",) if name == "zstandard" else (b"", bytes(8)):
        assert tables_of(analysed(b"".join(pack(part) + between for part in parts))) == tables_of(
            analysed(LARGE)
        )


@pytest.mark.parametrize("name", PACKERS)
def test_a_compressed_capture_that_is_cut_gives_what_is_there_and_says_so(name: str) -> None:
    packed = PACKERS[name](LARGE)
    counts = []
    for end in range(4096, len(packed), len(packed) // 23):
        tally = analysed(packed[:end]).tally
        assert any(reason.startswith(f"{name}: ") for reason in tally.unread.counts)
        counts.append(tally.packets)
    assert counts == sorted(counts)
    assert counts[-1] >= 46  # of the block that was cut there is nothing


@pytest.mark.parametrize("name", PACKERS)
def test_what_follows_a_compressed_capture_is_named(name: str) -> None:
    tally = analysed(PACKERS[name](CAPTURE) + b"and more of it").tally
    assert tally.packets == 46
    assert [reason.split(":")[0] for reason in tally.unread.counts] == [name]


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(list(PACKERS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_damage_to_what_is_compressed_breaks_nothing(
    name: str, damage: list[tuple[float, int]], end: float
) -> None:
    data = bytearray(PACKERS[name](CAPTURE))
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    with suppress(foreign.NotACaptureError):
        assert analysed(bytes(data[: int(end * len(data))])).tally.packets <= 46


@pytest.mark.parametrize("name", PACKERS)
def test_a_few_bytes_that_unpack_to_many_cost_no_memory(name: str) -> None:
    bomb = PACKERS[name](bytes(100 << 20))
    pieces = unpacked(iter([bomb]), bomb[:8], Unread())
    assert pieces is not None
    tracemalloc.start()
    size = sum(map(len, pieces))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 100 << 20
    assert peak < 32 << 20  # a dictionary of xz among it


# --- what is no capture ------------------------------------------------------------------------------------------


def run(folder: Path, *captures: Path | str, options: Sequence[str] = ("--only-csv",)) -> int:
    return main([*options, "--topology", "flat", "--reports", str(folder / "reports"), *map(str, captures)])


def tar_of(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("capture.pcap")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


TEXT = "12:00:00.000000 IP 10.0.0.1.1 > 10.0.0.2.2: UDP, length 1\n" * 9


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF\2\1\1" + bytes(300), "a program (ELF); give pcap"),
        (b"PK\x03\x04" + bytes(300), "a zip archive; unpack it"),
        (b'{"packets": []}', "JSON; give the capture"),
        (b'[\n  {\n "_index": "packets-2026"', "JSON; give the capture"),
        (b"<?xml version='1.0'?><pdml>", "XML or HTML; give the capture"),
        (b"snoop\0\0\0\0\0\0\2", "a snoop capture; convert it: editcap -F pcap"),
        (
            struct.pack("<QBBHHH", 1 << 32, 2, 4, 80, 0, 64) + bytes(64),
            "neither a known capture nor text",
        ),  # ERF
        (TEXT.encode("utf-16"), "UTF-16 text; convert it: iconv -f UTF-16 "),
        (TEXT.encode("utf-16-le"), "UTF-16 text; convert it: iconv -f UTF-16LE "),
        (TEXT.encode("utf-16-be"), "UTF-16 text; convert it: iconv -f UTF-16BE "),
        (b"", "empty; "),
        (b"%PDF-1.7\n", "a PDF document; give pcap"),
        (b"\xa1\xb2\x34\xcd" + CAPTURE[4:], "a pcap with other headers"),
        (gzip.compress(gzip.compress(CAPTURE)), "compressed twice (gzip); unpack it"),
        (gzip.compress(tar_of(CAPTURE)), "a tar archive; unpack it"),
        (bz2.compress(b"%PDF-1.7\n"), "a PDF document; give pcap"),
        (NOISE, "neither a known capture nor text"),
    ],
)
def test_what_is_no_capture_is_named_in_one_line(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    assert run(tmp_path, path) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"traffic: {path}: this is ")
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "reports").exists()


def test_a_folder_and_a_file_that_is_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (run(tmp_path, tmp_path), run(tmp_path, tmp_path / "none")) == (1, 1)
    assert capsys.readouterr().err.splitlines() == [
        f"traffic: {tmp_path}: this is a folder; give the captures in it",
        f"traffic: {tmp_path / 'none'}: No such file or directory",
    ]


def test_standard_input_that_is_closed_and_an_empty_name_are_refused_in_one_line(tmp_path: Path) -> None:
    command = (
        f"{shlex.quote(sys.executable)} -m monitoring.traffic --only-csv --topology flat --reports {tmp_path}"
    )
    refused = {
        "- <&-": "traffic: -: standard input is closed\n",
        "''": "traffic: '': the file name is empty\n",
    }
    for capture, said in refused.items():
        done = subprocess.run(
            ["bash", "-c", f"{command} {capture}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (1, said)


# --- runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_failed_run_leaves_nothing_of_an_earlier_one_and_says_so(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, CAPTURES / "plain.pcap", options=["--format", form]) == 0
    kept = tmp_path / "reports" / "health_report.pdf"
    kept.touch()
    (kept.parent / ".traffic_analysis_report.pdf").touch()  # of a run that was killed
    written = {path.name for path in kept.parent.iterdir()}
    assert {
        "traffic_analysis_report.pdf",
        "top_talkers.png",
        "top_talkers.csv",
        f"top_talkers.{form}",
    } < written
    capsys.readouterr()
    assert run(tmp_path, CAPTURES / "empty.pcap") == 1
    assert list(kept.parent.iterdir()) == [kept]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"traffic: no packet in {CAPTURES / 'empty.pcap'}"
    assert said[1].startswith(f"traffic: removed an earlier run's files from {kept.parent}: ")
    assert set(said[1].rpartition(": ")[2].split()) == {name for name in written if name[0] != "."} - {
        kept.name
    }


def test_a_capture_that_cannot_be_opened_leaves_the_earlier_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, CAPTURES / "plain.pcap") == 0
    written = sorted((tmp_path / "reports").iterdir())
    assert run(tmp_path, CAPTURES / "plain.pcap", tmp_path / "typo.pcap") == 1
    assert sorted((tmp_path / "reports").iterdir()) == written
    assert capsys.readouterr().err == f"traffic: {tmp_path / 'typo.pcap'}: No such file or directory\n"


@pytest.mark.parametrize("name", ["traffic_rate.csv", ".traffic_rate.csv", "link.pcap"])
def test_a_capture_that_a_result_would_overwrite_is_refused_and_stays(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "reports" / name
    capture.parent.mkdir()
    data = (CAPTURES / "plain.pcap").read_bytes()
    target = capture.parent / "top_talkers.csv" if name == "link.pcap" else capture
    target.write_bytes(data)
    if capture != target:
        capture.symlink_to(target)
    assert run(tmp_path, capture) == 1
    assert capture.read_bytes() == data
    assert f"{capture}: this capture would be overwritten by a result" in capsys.readouterr().err


def test_a_run_without_pictures_leaves_no_older_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, CAPTURES / "plain.pcap", options=[])
    run(tmp_path, CAPTURES / "stp.pcap")
    assert {path.suffix for path in (tmp_path / "reports").iterdir()} == {".csv"}
    assert "traffic_analysis_report.pdf" in capsys.readouterr().err


def csvs(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "reports").iterdir()}


def in_pipes(folder: Path, *commands: str) -> None:
    """Run with what commands print, each in a pipe."""
    arguments = " ".join(f"<({command})" for command in commands)
    line = f"{shlex.quote(sys.executable)} -m monitoring.traffic --only-csv --topology flat --reports {folder}/reports"
    subprocess.run(["bash", "-c", f"{line} {arguments}"], check=True, cwd=ROOT)


def test_pipes_are_read_once_and_put_in_order(tmp_path: Path) -> None:
    frames = [*everything(), *everything(start=1_700_000_100 * 10**9)]
    parts = [tmp_path / name for name in ("a.pcap", "b.pcap.xz", "c.pcapng")]
    parts[0].write_bytes(crafted.pcap(frames[60:]))
    parts[1].write_bytes(lzma.compress(crafted.pcap(frames[:30])))
    parts[2].write_bytes(crafted.pcapng(frames[30:60]))
    in_pipes(tmp_path / "pipes", *(f"cat {part}" for part in parts))
    run(tmp_path / "files", *parts)
    whole_file = tmp_path / "whole.pcap"
    whole_file.write_bytes(crafted.pcap(frames))
    run(tmp_path / "whole", whole_file)
    assert csvs(tmp_path / "pipes") == csvs(tmp_path / "files") == csvs(tmp_path / "whole")


def test_a_file_that_is_no_capture_among_several_ends_the_run_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, CAPTURES / "plain.pcap", Path(sys.executable)) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "reports").exists()


def test_an_empty_file_among_several_is_named_and_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = tmp_path / "newest.pcap"
    newest.touch()
    assert run(tmp_path / "both", newest, CAPTURES / "plain.pcap") == 0
    said = capsys.readouterr().err
    assert "empty capture" in said
    assert str(newest) in said
    run(tmp_path / "one", CAPTURES / "plain.pcap")
    assert csvs(tmp_path / "both")["conversations.csv"] == csvs(tmp_path / "one")["conversations.csv"]
    assert run(tmp_path, newest, newest) == 1
