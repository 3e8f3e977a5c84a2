"""The gateway's log: records are read, what is none is named and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.unread import Unread
from monitoring.gateway_log import Change, Routed, lines_of, read

ROUTED = {
    "time": "2026-01-01T00:00:00Z", "message": "Routing request to: http://a", "upstream": "a", "path": "/",
    "status": 200,
}  # fmt: skip
CHANGED = {
    "time": "2026-01-01T00:00:01+00:00", "message": "out: refused", "event": "out", "upstream": "a", "worker": 1
}  # fmt: skip
OTHER = {"time": "2026-01-01T00:00:02Z", "message": "something else"}
NO_RECORD = "a line that is no record, as programs print when they start and stop"
NO_VALUE = "a record with a value that is missing or cannot be read"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Traceback (most recent call last):", NO_RECORD),
        (json.dumps(ROUTED)[:40], NO_RECORD),
        ("\0" * 40, NO_RECORD),
        ("[" * 100_000, NO_RECORD),
        ("[]", NO_VALUE),
        ("7", NO_VALUE),
        (json.dumps({**ROUTED, "time": "yesterday"}), NO_VALUE),
        (json.dumps({**ROUTED, "time": "2026-01-01T00:00:00"}), NO_VALUE),  # in which time zone
        (json.dumps({**ROUTED, "time": 7}), NO_VALUE),
        (json.dumps({**ROUTED, "status": "good"}), NO_VALUE),
        (json.dumps({**CHANGED, "worker": None}), NO_VALUE),
    ],
)
def test_an_unreadable_line_is_named_and_the_rest_is_read(line: str, reason: str) -> None:
    unread = Unread()
    routed, changes = read([json.dumps(ROUTED), line, json.dumps(OTHER), json.dumps(CHANGED)], unread)
    assert routed == [Routed(1767225600.0, "http://a", "a", "/", 200)]
    assert changes == [Change(1767225601.0, "out", "a", 1, "refused")]
    assert list(unread.sentences()) == [f"not read: {reason}, once (first at line 2)"]


def test_rotated_logs_are_read_in_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("a.log", "a.log.1", "a.log.2", "a.log.10", "a.log.gz"):
        (tmp_path / name).write_text(f"{name}\n")
    assert [line.strip() for line in lines_of(tmp_path / "a.log")] == [
        "a.log.10",
        "a.log.2",
        "a.log.1",
        "a.log",
    ]
