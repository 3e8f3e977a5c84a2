"""Logs for people: one form for the lines of every program."""

from __future__ import annotations

import json

import pytest

from lab.log_lines import last_error, problems, read_lines, repeated

JSON = '{"time": "2026-11-27T16:35:53.544Z", "level": "info", "service": "api-gateway", '


def shown(*lines: str) -> list[str]:
    return [
        " ".join(str(line).split()) for line in read_lines(["==> /var/opt/cnet/log/node-1.log <==", *lines])
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            JSON + '"message": "request", "method": "GET", "path": "/ready", "status": 200, "ms": 0.11}',
            "16:35:53.544 info node-1 GET /ready 200 0.11 ms",
        ),
        (
            JSON
            + '"message": "Routing request to: http://10.0.0.30", "method": "GET", "path": "/a", "ms": 2}',
            "16:35:53.544 info node-1 Routing request to: http://10.0.0.30; GET /a ? 2 ms",
        ),
        (
            '{"time":"2026-11-27T16:35:40+00:00","service":"nginx-lb","method":"GET","path":"/","status":200,"seconds":0.003}',
            "16:35:40 info node-1 GET / 200 0.003 s",
        ),
        (
            "2026/11/27 16:35:40 [emerg] 41#41: unknown directive",
            "16:35:40 emerg node-1 41#41: unknown directive",
        ),
        ("2026-11-27 16:35:48.456 UTC [100] LOG:  ready", "16:35:48.456 info node-1 ready"),
        ("45:M 27 Nov 2026 16:35:40.518 * Ready to accept", "16:35:40.518 notice node-1 Ready to accept"),
        ("45:M 27 Nov 2026 16:35:40.518 # WARNING", "16:35:40.518 warning node-1 WARNING"),
        ("2026-11-27 16:35:39,301 INFO success: entered", "16:35:39.301 info node-1 success: entered"),
        ("a\x1b[31mb\x9bc", "- - node-1 a?[31mb?c"),
        ("limits: control group", "- - node-1 limits: control group"),
        ('{"cut', '- - node-1 {"cut'),
    ],
)
def test_each_programs_lines_have_the_same_form(line: str, expected: str) -> None:
    assert shown(line) == [expected]


def test_of_an_exception_the_last_line_is_shown() -> None:
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1\nOSError: disk full'
    assert shown(JSON + f'"message": "no order", "exception": {json.dumps(trace)}}}') == [
        "16:35:53.544 info node-1 no order; OSError: disk full"
    ]
    assert shown(*trace.splitlines()) == ["- - node-1 OSError: disk full"]


def test_problems_are_preferred_to_what_came_last() -> None:
    lines = [
        "ModuleNotFoundError: No module named 'x'",
        *["request"] * 9,
        "ModuleNotFoundError: No module named 'x'",
        "later",
    ]
    assert [line.message for line in problems(read_lines(lines))] == [
        "ModuleNotFoundError: No module named 'x'"
    ]
    assert [line.message for line in problems(read_lines(list("abcdefg")))] == list("cdefg")


def test_an_error_that_comes_three_times_is_found_whatever_its_numbers() -> None:
    line = "2026/11/27 16:35:40 [emerg] {0}#{0}: unknown directive"
    assert repeated(read_lines([line.format(1), line.format(2)])) == ""
    assert (
        repeated(read_lines([line.format(1), "x", line.format(2), line.format(3)]))
        == "0#0: unknown directive"
    )
    assert repeated(read_lines(["started"] * 9)) == ""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ""),
        (["2026-11-27 16:35:48.456 UTC [100] LOG:  ready"], ""),
        (["start.sh: no DB_PASSWORD", "ready"], "start.sh: no DB_PASSWORD"),
        (
            [
                "ModuleNotFoundError: No module named 'flask'",
                "[2026-11-27 16:35:48 +0000] [7] [ERROR] Shutting down: Master",
            ],
            "ModuleNotFoundError: No module named 'flask'",
        ),
        (
            [
                JSON.replace("info", "error") + '"message": "the disk is full"}',
                JSON.replace("info", "warning") + '"message": "a dependency does not answer: postgres"}',
            ],
            "the disk is full",
        ),
    ],
    ids=["none", "no error", "start script", "consequence", "dependency"],
)
def test_the_last_error_is_a_cause_not_the_consequence_of_another(lines: list[str], expected: str) -> None:
    assert last_error(read_lines(["==> /var/opt/cnet/log/node-1.log <==", *lines])) == expected
