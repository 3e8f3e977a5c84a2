"""Parts of the comparison with Docker: intervals, ratios, loads on a real server, and what is concluded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from pages import page_faults

from bench.common.intervals import Interval
from bench.common.loads import BenchError, closed_loop, open_loop
from bench.common.sides import Contender, Side
from bench.compare.report import conclusions, write_report
from bench.compare.results import COLUMNS, ELEMENTS, PAIRS, Results

LAB, DOCKER = "lab, node's address", "Docker, container's address"


class _Server(BaseHTTPRequestHandler):
    """Answers; every third request of /flaky with 503, and with a body of another length each time."""

    asked = 0

    def do_GET(self) -> None:
        """Answer."""
        type(self).asked += 1
        bad = self.path.startswith("/flaky") and type(self).asked % 3 == 0
        body = b"x" * (type(self).asked % 7 + 1)
        self.send_response(503 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def base() -> Iterator[str]:
    _Server.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_closed_loop_counts_refusals_and_not_lengths(base: str, tmp_path: Path) -> None:
    good = closed_loop((), f"{base}/", 90, tmp_path / "good")
    assert (good.requests, good.bad) == (90, 0)
    assert good.per_second > 0
    assert 0 < good.p50 <= good.p95 <= good.p99
    _Server.asked = 0
    flaky = closed_loop((), f"{base}/flaky", 90, tmp_path / "flaky")
    assert flaky.bad == 30


def test_the_open_loop_keeps_its_rate_and_a_line_a_request(base: str, tmp_path: Path) -> None:
    found = open_loop((), base, 50, 1.0, tmp_path / "open.csv")
    assert 40 <= found.requests <= 60
    assert found.bad == 0
    assert len((tmp_path / "open.csv").read_text().splitlines()) == found.requests + 1


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"ab http://127\.0\.0\.1:9/"):
        closed_loop((), "http://127.0.0.1:9/", 50, tmp_path / "none")


Row = tuple[object, ...]


def _runs(contender: str, side: str, rates: list[float]) -> list[Row]:
    return [
        (number, contender, side, load, 100, 0, rate, 2000 / rate, 3, 4, 1, 2, 300)
        for number, rate in enumerate(rates, start=1)
        for load in ("closed loop", "open loop")
    ]


def _conclusions(runs: list[Row]) -> list[str]:
    frame = pd.DataFrame(runs, columns=COLUMNS)
    return conclusions(Results(frame, frame["contender"].unique().tolist()))


def test_what_scatters_alike_is_no_difference() -> None:
    lab, docker = [900.0, 950, 1000, 925], [940.0, 910, 960, 985]
    runs = [*_runs(LAB, "lab", lab * 2), *_runs(DOCKER, "Docker", docker * 2)]
    said = "\n".join(_conclusions(runs))
    assert "no difference in good answers a second (949 against 944 /s)" in said
    assert "All 3,200 requests were answered correctly." in said


def test_what_scatters_too_much_is_not_called_equal() -> None:
    runs = [*_runs(LAB, "lab", [900, 1200]), *_runs(DOCKER, "Docker", [1100, 980])]
    (said,) = [one for one in _conclusions(runs) if "good answers" in one]
    assert (
        "good answers a second (1,040 against 1,050 /s): inconclusive in 2 rounds; p50 (1.93 against 1.94 ms): "
        "inconclusive in 2 rounds." in said
    )
    assert "no difference in p95" in said


def test_where_nothing_is_alike_no_likeness_is_spoken_of() -> None:
    slower = [
        (*run[:6], *(2 * float(str(value)) for value in run[6:]))
        for run in _runs(DOCKER, "Docker", [225, 227, 230])
    ]
    said = "\n".join(_conclusions([*_runs(LAB, "lab", [900, 910, 905]), *slower]))
    assert "memory of all services (600 against 300 MB): 2.00" in said
    assert "no difference" not in said


@pytest.mark.parametrize(
    ("low", "mean", "high", "said"),
    [
        (0.95, 1.0, 1.05, "no difference"),
        (0.07, 1.1, 16.25, "inconclusive"),
        (0.85, 0.99, 1.05, "inconclusive"),
        (1.01, 1.02, 1.03, "more"),
        (0.4, 0.5, 0.99, "less"),
    ],
)
def test_an_intervals_verdict(low: float, mean: float, high: float, said: str) -> None:
    assert Interval(mean, low, high).verdict() == said


def test_a_ratio_that_is_inconclusive_is_given_with_its_limits() -> None:
    runs = [*_runs(LAB, "lab", [900, 950, 1000, 925]), *_runs(DOCKER, "Docker", [940, 910, 960, 985])]
    (said,) = [one for one in _conclusions(runs) if "good answers" in one]
    assert (
        "good answers a second (949 against 944 /s): inconclusive in 4 rounds, anything from 0.84 to" in said
    )


def test_half_the_speed_is_said_as_such() -> None:
    runs = [*_runs(LAB, "lab", [900, 950, 1000, 925]), *_runs(DOCKER, "Docker", [450, 470, 500, 460])]
    (said,) = [one for one in _conclusions(runs) if "good answers" in one]
    assert f"{DOCKER} against {LAB}: good answers a second (470 against 944 /s): 0.50 times (0.4" in said
    assert "no difference in p95" in said


def test_where_no_answer_was_good_the_ratio_is_inconclusive() -> None:
    runs = [*_runs(LAB, "lab", [900, 950, 1000, 925]), *_runs(DOCKER, "Docker", [450, 470, 500, 460])]
    none = [(*run[:6], 0.0, *run[7:]) if run[1] == LAB else run for run in runs]
    (said,) = [one for one in _conclusions(none) if "good answers" in one]
    assert "good answers a second (470 against 0 /s): inconclusive in 4 rounds" in said


def test_without_docker_nothing_is_said_of_it() -> None:
    said = _conclusions(_runs(LAB, "lab", [900, 950, 1000]))
    assert "No Docker engine answered, so Docker was not measured." in said
    assert not [one for one in said if "against" in one]


def test_bad_answers_are_not_kept_quiet() -> None:
    run = (1, LAB, "lab", "closed loop", 100, 7, 900, 1, 2, 3, 1, 2, 300)
    assert "7 of 200 answers were bad." in _conclusions([run, *_runs(LAB, "lab", [900, 910])[2:3]])


def test_the_report_of_all_ways_has_readable_and_filled_pages(tmp_path: Path) -> None:
    names = sorted({name for pair in (*PAIRS, *(element[1:] for element in ELEMENTS)) for name in pair})
    sides = [
        Side(side, [Contender(name, (), "http://10.0.0.10:80", "bridge, veth; no translation") for name in names
                    if name.lower().startswith(side)], {})
        for side in ("lab", "docker")
    ]  # fmt: skip
    runs = [
        row
        for side in sides
        for at, way in enumerate(side.contenders)
        for row in _runs(way.name, side.name, [900 + 50 * at, 950 + 50 * at, 1000, 925])
    ]
    write_report(pd.DataFrame(runs, columns=COLUMNS), sides, 200, tmp_path, as_json=False)
    assert page_faults(tmp_path / "bench_report.pdf") == []
