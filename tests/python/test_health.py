"""Health: each kind of service is asked in its own language; histories, outages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pandas as pd
import pytest
from pages import page_faults

from lab.csv_files import CsvError, open_to_append
from lab.figures import plt
from lab.heartbeat import renew
from monitoring.health import __main__ as command
from monitoring.health import report as report_module
from monitoring.health.checks import (
    DEGRADED,
    DOWN,
    UP,
    Check,
    Target,
    check,
    check_all,
    probe_http,
    probe_postgres,
    probe_ready,
    probe_redis,
    probe_shop,
    probe_tcp,
)
from monitoring.health.history import COLUMNS, History, row_of
from monitoring.health.log import duration, length, on_one_clock, read, spans
from monitoring.health.report import report


@contextmanager
def server(answer: bytes | None, *then: bytes, pause: float = 0.0) -> Iterator[int]:
    """Listen once on a port; answer what is asked, or nothing for None; then `then` again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                if answer is None:
                    time.sleep(1)
                else:
                    connection.sendall(answer)
                with suppress(OSError):
                    for piece in cycle(then):
                        connection.sendall(piece)
                        time.sleep(pause)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def good(_: str, __: int, ___: float) -> str:
    return ""


@pytest.mark.parametrize(
    ("ask", "answer", "why"),
    [
        (probe_http, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        (probe_http, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "/health answered 503"),
        (probe_http, b"rubbish\r\n\r\n", "rubbish"),
        (probe_redis, b"+PONG\r\n", ""),
        (probe_redis, b"-NOAUTH Authentication required.\r\n", ""),
        (probe_redis, b"-LOADING Redis is loading\r\n", "-LOADING Redis is loading"),
        (probe_redis, b"", "it closed the connection"),
        (probe_postgres, b"N", ""),
        (probe_postgres, b"S", ""),
        (probe_postgres, b"", "it closed the connection"),
        (probe_http, None, "no answer in time"),
    ],
)
def test_a_service_is_well_when_it_answers_as_it_should(ask: object, answer: bytes | None, why: str) -> None:
    with server(answer) as port:
        found = check(Target("x", "127.0.0.1", port, ask), timeout=0.3)  # type: ignore[arg-type] # one of the askers
    assert (found.up, why in found.why) == (not why, True)


@pytest.mark.parametrize(
    ("status", "body", "state", "why"),
    [
        (200, '{"service":"x","status":"ready"}', UP, ""),
        (503, '{"error":"not ready: postgres","dependencies":["postgres"]}', DEGRADED, "without postgres"),
        (
            200,
            '{"status":"ready","degraded":{"cache":"redis refused the password"}}',
            DEGRADED,
            "cache: redis refused the password",
        ),
        (503, "<html>", DEGRADED, "/ready answered 503"),
        (200, "[1]", UP, ""),
        (503, '{"dependencies":["\\u001b[31mred"]}', DEGRADED, "without ?[31mred"),
        (503, '{"dependencies":7,"degraded":[]}', DEGRADED, "/ready answered 503"),
    ],
)
def test_a_service_that_lacks_something_is_degraded_and_says_what(
    status: int, body: str, state: str, why: str
) -> None:
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    with server(answer) as port:
        found = check(Target("x", "127.0.0.1", port, good, probe_ready))
    assert (found.state, found.why, found.up) == (state, why, True)


def test_a_service_that_never_says_whether_it_is_ready_is_degraded_at_the_same_deadline() -> None:
    with server(None) as port:
        found = check(Target("x", "127.0.0.1", port, good, probe_ready), timeout=0.3)
    assert (found.state, found.why) == (DEGRADED, "/ready: no answer in time")


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, '{"products":[1]}', ""),
        (200, '{"products":[]}', "GET /api/products has no products"),
        (503, "{}", "GET /api/products answered 503"),
    ],
)
def test_the_shop_is_open_when_it_shows_its_catalogue(status: int, body: str, why: str) -> None:
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    with server(answer) as port:
        found = check(Target("the shop", "127.0.0.1", port, probe_shop))
    assert (found.state, found.why) == (DOWN if why else UP, why)


def test_nobody_there_is_down_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert check(Target("x", "127.0.0.1", port, probe_tcp)).why == "connection refused"


def test_one_that_hangs_delays_no_other() -> None:
    with server(None) as slow, server(b"+PONG\r\n") as quick:
        targets = [
            Target("slow", "127.0.0.1", slow, probe_redis),
            Target("quick", "127.0.0.1", quick, probe_redis),
        ]
        hung, answered = check_all(targets, timeout=0.4)
    assert (hung.up, answered.up) == (False, True)
    assert answered.milliseconds < hung.milliseconds


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("ask", "begin", "then", "pause", "why"),
    [
        (probe_http, OK + b"X-Slow: ", b"a", 0.1, "no answer in time"),
        (probe_http, b"", b"H", 0.1, "no answer in time"),
        (probe_http, OK + b"Content-Length: 99\r\n\r\n", b"a", 0.1, "no answer in time"),
        (probe_http, OK + b"\r\n", b"a" * 4096, 0.0, "longer than 64 KiB"),
        (probe_http, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 700, 0.0, "longer than 64 KiB"),
        (probe_redis, b"", b"+", 0.1, "no answer in time"),
        (probe_redis, b"", b"+" * 4096, 0.0, "longer than 64 KiB"),
    ],
)
def test_an_answer_without_an_end_is_given_up_at_one_deadline_or_limit(
    ask: object, begin: bytes, then: bytes, pause: float, why: str
) -> None:
    with server(begin, then, pause=pause) as slow, server(b"+PONG\r\n") as quick:
        targets = [
            Target("slow", "127.0.0.1", slow, ask),  # type: ignore[arg-type] # one of the askers
            Target("quick", "127.0.0.1", quick, probe_redis),
        ]
        began = time.monotonic()
        hung, answered = check_all(targets, timeout=1.0)
        took = time.monotonic() - began
    assert (hung.up, answered.up) == (False, True)
    assert why in hung.why
    assert took < 2.5


@pytest.mark.parametrize("then", [b"a", b"a" * 65536])
def test_a_heartbeat_waits_for_its_own_deadline_and_no_longer(then: bytes) -> None:
    with server(OK, then, pause=0.01) as port:
        began = time.monotonic()
        renew(f"http://127.0.0.1:{port}/heartbeat/postgres-db/postgres-db", "127.0.0.1")
        assert 0.9 < time.monotonic() - began < 2


def test_whatever_goes_wrong_with_one_is_told_of_it_alone() -> None:
    def fail(_: str, __: int, ___: float) -> str:
        raise RuntimeError("unforeseen")

    with server(b"+PONG\r\n") as port:
        wanted = [Target("odd", "127.0.0.1", 1, fail), Target("quick", "127.0.0.1", port, probe_redis)]
        odd, answered = check_all(wanted, timeout=0.5)
    assert (odd.up, odd.why, answered.up) == (False, "unforeseen", True)


def checks(*ups: bool) -> list[Check]:
    return [Check("x", 100.0 + n, up, 1.0 + n, "" if up else "gone") for n, up in enumerate(ups)]


def down_spans(rows: list[Check]) -> list[tuple[float, float, str, str]]:
    found = spans(on_one_clock(rows)[0]).query("state == @DOWN")
    columns = zip(found["begin"], found["seconds"], found["why"], found["whole"], strict=True)
    return [(begin, seconds, why, length(seconds, whole=whole)) for begin, seconds, why, whole in columns]


def test_uptime_and_the_line_of_blocks() -> None:
    history = History()
    history.checks.extend(checks(True, False, True, True))
    assert history.uptime == 0.75
    assert history.sparkline()[1] == "\u00d7"
    assert len(history.sparkline()) == 4


def test_outages_begin_and_end_with_checks() -> None:
    assert down_spans(checks(True, False, False, True, False)) == [
        (101.0, 2.0, "gone", "about 2 s"),
        (104.0, 0.0, "gone", "about 0 s"),
    ]
    assert down_spans(checks(True, True)) == []


# --- the log and its report ----------------------------------------------------------------------

HEADING = ",".join(COLUMNS) + "\n"
CAPTURES = Path(__file__).parents[1] / "fixtures/captures"


def log_of(tmp_path: Path, *lines: str) -> Path:
    log = tmp_path / "health.csv"
    log.write_text(HEADING + "\n".join(lines))
    return log


def reported(log: Path, tmp_path: Path) -> str:
    assert page_faults(report(log, tmp_path / "reports")) == []
    return (tmp_path / "reports/health_report.md").read_text()


def test_a_log_is_read_up_to_its_half_last_line_and_reported(tmp_path: Path) -> None:
    log = log_of(
        tmp_path,
        "2026-01-01T00:00:00+00:00,redis-cache,1,1.5,",
        "2026-01-01T00:00:10+00:00,redis-cache,0,2000.0,no answer in time",
        "2026-01-01T00:00:20+00:00,redis-cache,1,1234.5,",
        "2026-01-01T00:00:3",
    )
    assert read(log).checks["up"].tolist() == [True, False, True]
    written = reported(log, tmp_path)
    assert (
        "redis-cache did not answer from 2026-01-01 00:00:10 UTC for about 10 s (no answer in time)"
        in written
    )
    assert "Not read: a truncated line, once (first at line 5)." in written
    assert "| redis-cache | 3 | 66.66 % | 1.5 ms | 1,234.5 ms | 1,234.5 ms | 1 | about 10 s |" in written


def test_a_clock_that_was_set_back_is_named_and_no_time_is_negative(tmp_path: Path) -> None:
    written = reported(CAPTURES / "health_back.csv", tmp_path)
    assert (
        "The clock was set back by at least 59 min 50 s: the check after 2026-01-01 01:00:00 UTC" in written
    )
    assert "did not answer from 2026-01-01 01:00:00 UTC for an unknown time (no answer in time)" in written
    assert "1 service was checked 3 times in 10 s" in written
    assert "-3" not in written


def test_a_clock_that_was_set_back_within_an_outage_leaves_what_was_seen_of_it() -> None:
    times = (100, 110, 120, 20, 30, 40)
    ups = (True, False, False, False, False, True)
    rows = [Check(node, time, up, 1.0) for time, up in zip(times, ups, strict=True) for node in "ab"]
    placed, breaks = on_one_clock(rows)
    assert placed.query("node == 'b'")["elapsed"].tolist() == [0, 10, 20, 20, 30, 40]
    assert [(one.before, one.after) for one in breaks] == [(120, 20)]
    assert [took for *_, took in down_spans(rows)] == ["at least 30 s"] * 2


def test_a_time_without_checks_is_named_and_belongs_to_no_outage(tmp_path: Path) -> None:
    lines = (
        *(f"2026-01-01T00:00:{second}+00:00,redis-cache,1,1.5," for second in (10, 20, 30)),
        "2026-01-01T00:00:40+00:00,redis-cache,0,9,refused",
        "2026-01-01T08:00:40+00:00,redis-cache,0,9,refused",
        "2026-01-01T08:00:50+00:00,redis-cache,1,9,",
        "",
    )
    written = reported(log_of(tmp_path, *lines), tmp_path)
    assert "No check was recorded for 8 h, from 2026-01-01 00:00:40 UTC to 2026-01-01 08:00:40 UTC" in written
    assert "from 2026-01-01 00:00:40 UTC for at least 10 s (refused)" in written
    assert "1 service was checked 6 times in 40 s" in written


def test_a_negative_number_of_rounds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(["--rounds", "-1", "--topology", "/no/such/table"])
    assert refused.value.code == 2
    assert "-1 is not a number of rounds" in capsys.readouterr().err


def test_rounds_that_last_longer_because_a_service_hangs_are_no_gap() -> None:
    _, breaks = on_one_clock([Check("a", time, True, 1.0) for time in (0, 0.2, 0.4, 0.6, 2.8, 3.0)])
    assert breaks == []


def test_an_empty_log_says_that_nothing_was_recorded(tmp_path: Path) -> None:
    written = reported(CAPTURES / "health_empty.csv", tmp_path)
    assert "The log has no check: nothing was recorded." in written
    assert "very service" not in written
    assert not (tmp_path / "reports/health_latency.png").exists()


@pytest.mark.parametrize(
    ("name", "count", "said"),
    [
        ("health_bom.csv", 10, []),
        ("health_utf16.csv", 10, []),
        ("health_nul4k.csv", 19, ["not read: a line with NUL bytes, once (first at line 12)"]),
    ],
)
def test_damaged_logs_are_read_and_what_is_not_read_is_named(name: str, count: int, said: list[str]) -> None:
    log = read(CAPTURES / name)
    assert log.checks["node"].tolist() == ["redis-cache"] * count
    assert list(log.unread.sentences()) == said


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-01T00:00:01,redis-cache,1,1.5,",  # in which time zone
        "2026-01-01T00:00:01+00:00,redis-cache,yes,1.5,",
        "2026-01-01T00:00:01+00:00,redis-cache,1,nan,",
        "2026-01-01T00:00:01+00:00,redis-cache,1,-1,",
        "2026-01-01T00:00:01+00:00,redis-cache,1,1e308,",
        "9999-12-31T23:59:59-23:59,redis-cache,1,1.5,",
        "0001-01-01T00:00:00+23:59,redis-cache,1,1.5,",
        "2026-01-01T00:00:01+00:00,,1,1,",
        'yesterday,redis-cache,1,"1',
    ],
)
def test_an_unreadable_row_loses_no_other_row(tmp_path: Path, line: str) -> None:
    log = read(log_of(tmp_path, line, "2026-01-01T00:00:02+00:00,redis-cache,1,1.5,", ""))
    assert log.checks["node"].tolist() == ["redis-cache"]
    assert log.unread.counts.total() == 1


def test_a_log_goes_on_after_a_half_line_and_no_other_file_is_added_to(tmp_path: Path) -> None:
    log = log_of(tmp_path, "2026-01-01T00:00:0")
    with open_to_append(log, COLUMNS) as stream:
        stream.write("2026-01-01T00:00:02+00:00,redis-cache,1,1.5,\n")
    assert read(log).checks["node"].tolist() == ["redis-cache"]
    other = tmp_path / "other.csv"
    other.write_text("a,b\n")
    with pytest.raises(
        CsvError, match=r"other\.csv: line 1 is not time,service,up,milliseconds,why; write to"
    ):
        open_to_append(other, COLUMNS)
    assert other.read_text() == "a,b\n"


def test_what_a_service_says_takes_one_line_of_the_log() -> None:
    with server(b"-no\nline\x1b[2J") as port:
        found = check(Target("x", "127.0.0.1", port, probe_redis))
    assert "\n" not in "".join(map(str, row_of(found)))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (2.5, "2.5 s"), (59, "59 s"), (3590, "59 min 50 s"), (7200, "2 h"), (90_000, "1 d 1 h")],
)
def test_a_length_of_time_is_shown_in_its_two_greatest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_one_answer_in_twenty_is_spoken_of_when_there_are_twenty() -> None:
    def uneven(count: int) -> list[str]:
        rows = [Check("a", 10.0 * n, True, 19.8 if n < 2 else 1.0) for n in range(count)]
        placed = on_one_clock(rows)[0]
        return [*report_module._observations(placed, report_module._statistics(placed))]

    assert uneven(16) == []
    assert uneven(20) == ["a is uneven: 2 of 20 answers took 19.8 ms or more, half of them at most 1.0 ms."]


# --- much to report ----------------------------------------------------------------------------------------------


def row(second: int, name: str, up: bool, milliseconds: float = 1.0, why: str = "") -> str:
    time = datetime.fromtimestamp(1_767_225_600 + second, UTC).isoformat()
    return f"{time},{name},{int(up)},{milliseconds},{why}"


def test_five_hundred_services_are_reported_in_seconds_with_a_picture_of_the_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []
    draw = report_module._draw

    def note(checks: pd.DataFrame, names: list[str], path: Path) -> None:
        drawn.append(names)
        draw(checks, names, path)

    monkeypatch.setattr(report_module, "_draw", note)
    rows = [row(10 * n, f"s-{i}", i != 400, 5.0 if i == 300 else 1.0) for n in range(3) for i in range(500)]
    began = time.monotonic()
    written = reported(log_of(tmp_path, *rows, ""), tmp_path)
    assert time.monotonic() - began < 15
    assert drawn[0][:3] == ["s-400", "s-300", "s-0"]
    assert len(drawn[0]) == report_module._MAX_PANELS
    assert "## Latency over time: the 14 of 500 with the most failures, then the slowest" in written
    assert written.count("\n| s-") == 100
    assert "400 more rows would follow; health.csv has every check." in written


def test_a_day_of_flapping_lists_the_longest_outages_and_says_how_many_more(tmp_path: Path) -> None:
    ups = [n % 2 == 0 and n != 5000 for n in range(8640)]
    written = reported(log_of(tmp_path, *(row(10 * n, "a", up) for n, up in enumerate(ups)), ""), tmp_path)
    said = [line for line in written.splitlines() if line.startswith("a did not answer")]
    assert len(said) == 40
    assert said[0].startswith("a did not answer from 2026-01-01 13:53:10 UTC for about 30 s. Its log")
    assert "4,279 more times without an answer or degraded" in written


def test_the_picture_is_as_wide_as_the_page(tmp_path: Path) -> None:
    reported(log_of(tmp_path, *(row(0, f"s-{i}", up=True) for i in range(12)), ""), tmp_path)
    assert plt.imread(tmp_path / "reports/health_latency.png").shape[1] / 130 > 10  # inches; a page has 10.6


def test_one_check_of_one_service_is_said_in_the_singular_and_no_reason_leaves_no_brackets(
    tmp_path: Path,
) -> None:
    written = reported(log_of(tmp_path, row(0, "a", up=False), ""), tmp_path)
    assert "1 service was checked once; 0.00 % of the checks" in written
    assert "()" not in written
