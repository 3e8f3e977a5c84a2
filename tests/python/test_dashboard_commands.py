"""What the dashboard tells of a flow: the story comes from a script, which may hang."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from monitoring.dashboard import commands


def test_an_explanation_that_hangs_is_ended_and_undoes_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, undone = tmp_path / "explain.sh", tmp_path / "undone"
    script.write_text(f"#!/usr/bin/env bash\ntrap 'touch {undone}' EXIT\nsleep 30\n")
    script.chmod(0o755)
    monkeypatch.setattr(commands, "_EXPLAIN", script)
    monkeypatch.setattr(commands, "_TIMEOUT_SECONDS", 1)
    begin = time.monotonic()
    assert commands.explain(("a", "b", "tcp", 80)) == {"error": "explain gave no answer in 1 s"}
    assert undone.exists()
    assert time.monotonic() - begin < 10
