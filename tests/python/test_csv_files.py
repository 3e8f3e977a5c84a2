"""CSV files are read line by line: what is no row is named and counted, the rest is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.csv_files import CsvError, Table, read, write
from lab.unread import Unread

COLUMNS = ("name", "count")


def pair(row: Mapping[str, str]) -> tuple[str, int]:
    return row["name"], int(row["count"])


def found(path: Path, content: bytes) -> tuple[list[tuple[str, int]], Unread]:
    path.write_bytes(content)
    unread = Unread()
    return list(read(path, COLUMNS, pair, unread)), unread


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\0\0\0b,2\n", "a line with NUL bytes"),
        (b'b,"2\n', "a line with an unclosed quote"),
        (b'"b"b,2\n', "a line with an unclosed quote"),
        (b"b\xff,2\n", "a line with bytes that are not UTF-8"),
        (b"b\n", "a line with too few or too many fields"),
        (b"b,2,3\n", "a line with too few or too many fields"),
        (b"b,two\n", "a line with a value that is not valid for its column"),
        (b"b" * 300_000 + b",2\n", "a line that is too long"),
    ],
)
def test_an_unreadable_line_is_named_and_the_rest_is_read(tmp_path: Path, line: bytes, reason: str) -> None:
    rows, unread = found(tmp_path / "x.csv", b"name,count\na,1\n" + line + b"c,3\n")
    assert rows == [("a", 1), ("c", 3)]
    assert list(unread.sentences()) == [f"not read: {reason}, once (first at line 3)"]


def test_a_last_line_without_its_end_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    rows, unread = found(tmp_path / "x.csv", b"name,count\na,1\nb,2")
    assert rows == [("a", 1)]
    assert unread.first == {"a truncated line": "line 3"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_editors_make_of_a_file_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(("count,name,more", "1,caf\u00e9,x", "", "count,name,more", "2,b,y", ""))
    rows, unread = found(tmp_path / "x.csv", text.encode(encoding))
    assert rows == [("caf\u00e9", 1), ("b", 2)]
    assert not unread.counts


@pytest.mark.parametrize("content", [b"", b"name\n", b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xfe\xd8\xd8\n"])
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CsvError, match=r"x\.csv: line 1 is not a heading with name,count: missing") as raised:
        found(tmp_path / "x.csv", content)
    assert len(str(raised.value).splitlines()) == 1


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=20)


@pytest.mark.parametrize("name", ["-LOADING", "'=x", "''@", " =x", "'x", "'", "-", "-5", "'-5", "="])
def test_a_text_like_a_formula_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    (path,) = write([Table("x", COLUMNS, [(name, 1)])], tmp_path)
    assert found(path, path.read_bytes())[0] == [(name, 1)]


@given(rows=st.lists(st.tuples(NAMES, st.integers())), junk=st.lists(st.binary(max_size=40), max_size=4))
def test_what_was_written_is_read_whatever_stands_between(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], junk: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    (path,) = write([Table("x", COLUMNS, rows)], folder)
    rest, expected = found(path, path.read_bytes() + b"".join(piece + b"\n" for piece in junk))
    assert rest[: len(rows)] == rows
    assert sum(expected.counts.values()) <= sum(len(piece) + 1 for piece in junk)
