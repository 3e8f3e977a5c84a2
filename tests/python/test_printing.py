"""Tables that a narrow terminal has no room for are wrapped, never cut: all letters and digits are there."""

from __future__ import annotations

import io
import re
from collections import Counter

import pandas as pd
import pytest
from rich.console import RenderableType
from test_connections import snapshot

from bench.common import spread
from lab.terminal import Console
from monitoring.connections.__main__ import screen
from monitoring.health.__main__ import _table
from monitoring.health.checks import Check
from monitoring.health.history import History, add_checks

RUNS = pd.DataFrame(
    {"up, times the lab": ["1,234.50 s (1,100.09-2,000.12)"], "down": ["0.10 s (0.09-0.12)"]},
    index=pd.Index(["one ip process a command"], name="contender"),
)


def characters(text: str) -> Counter[str]:
    return Counter(sign for sign in text if sign.isalnum())


def printed(shown: RenderableType, width: int) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(shown)
    return output.getvalue()


def health() -> RenderableType:
    histories: dict[str, History] = {}
    names = ("service-registry", "product-service-with-a-long-name")
    add_checks(histories, [Check(name, 0.0, up=True, milliseconds=1234.5) for name in names])
    return _table(histories)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("shown", [screen(snapshot()), health()], ids=["connections", "health"])
def test_a_table_keeps_its_text(shown: RenderableType, width: int) -> None:
    narrow = printed(shown, width)
    assert max(map(len, narrow.splitlines())) <= width
    assert characters(narrow) == characters(printed(shown, 300))


@pytest.mark.parametrize("width", ["60", "80"])
def test_a_table_of_a_benchmark_keeps_its_text(
    width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    spread.show(RUNS, "runs")
    narrow = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, narrow.splitlines())) <= int(width)
    assert characters(narrow) == characters("runs" + RUNS.reset_index().to_csv(index=False))
