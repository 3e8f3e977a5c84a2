"""What the images' sizes are said to mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import page_faults

from docker.sizes import main, read, rows_of, sentences

MEASURED = """figure,image,value
size,base,100000000
size,everything,180000000
size,own,150000000
size,no-cache,150000000
size,two-stages,120000000
size,final,125000000
service,product-service,125000000
service,order-service,120000000
loading,two-stages,1.5
loading,final,0.5
loading,two-stages,1.7
loading,final,0.4
loading,two-stages,1.6
loading,final,0.6
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "docker_sizes.csv"
    path.write_text(MEASURED)
    return path


def test_each_step_over_the_base_and_against_the_one_before(table: Path) -> None:
    assert [row[:3] for row in rows_of(read(table))] == [
        ("everything", "80.0 MB", ""),
        ("own", "50.0 MB", "-30.0 MB"),
        ("no-cache", "50.0 MB", "+0.0 MB"),
        ("two-stages", "20.0 MB", "-30.0 MB"),
        ("final", "25.0 MB", "+5.0 MB"),
    ]


def test_the_sentences_follow_from_the_figures(table: Path) -> None:
    said = " ".join(sentences("product-service", read(table)))
    assert "adds 25.0 MB to a base of 100.0 MB" in said
    assert "3.2 times as much" in said
    assert "all 2 services together need 100.0 + 45.0 MB" in said
    assert "takes 1.60 s without it and 0.50 s with it" in said


def test_all_files_are_written(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["product-service", str(table)]) == 0
    assert page_faults(table.with_suffix(".pdf")) == []
    assert "two-stages" in capsys.readouterr().out
    assert "-30.0 MB" in table.with_suffix(".md").read_text()
    assert table.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
