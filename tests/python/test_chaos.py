"""Chaos: the table of promises, the verdicts, and a load that a step of the clock does not mislead."""

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import gevent
import pytest
from pages import page_faults

from faults.chaos import report
from faults.chaos.analysis import Event, Fault, Result, compare_orders, faults_of, is_allowed, judge
from faults.chaos.load import Load, Outcome, Sample, order_id_of
from faults.chaos.promises import Allowed, Promise, load_promises, nodes_of
from lab.csv_files import CsvError, read_lines
from lab.topology import load
from lab.unread import Unread
from monitoring.distribution import Share
from monitoring.gateway_log import Change, Routed

ROOT = Path(__file__).parents[2]
CHAOS = ROOT / "faults/chaos"
FLAT = load(ROOT / "topology/flat.tsv")
PROMISES = load_promises()
FAULT = Fault("killed", "product-2", 100.0, 102.0, 110.0)
URL = "http://product-2:5000"
NONE = Promise(
    fault="killed",
    program="product-service",
    count=PROMISES[0].count,
    hold=2,
    quick=None,
    allowed=dict.fromkeys(("get", "read", "order", "mistake"), Allowed.NONE),
    names=0,
    p99_ms=1000,
    noticed=1,
    back=3,
    what="a test",
)
GOOD = {"get": 200, "read": 200, "order": 201, "mistake": 400, "name": 200}
OUT = [Change(100.4, "out", "product-2", 1, "refused"), Change(100.8, "out", "product-2", 2, "refused")]
BACK = [Routed(104.0, URL, "product-2", "/api/products", 200)]


def good(kind: str, at: float, latency: float = 5.0) -> Sample:
    order_id = str(int(at * 10)) if kind == "order" else ""
    return Sample(kind, at, latency, GOOD[kind], "product-1", key=f"key-{at}", order_id=order_id)


WELL = [good(kind, 100 + number / 10) for number in range(90) for kind in GOOD]


def verdict(
    *more: Sample,
    samples: list[Sample] | None = None,
    fault: Fault = FAULT,
    url: str = URL,
    **changed: object,
) -> Result:
    promise = dataclasses.replace(NONE, **changed)  # type: ignore[arg-type]  # fields by name
    found = WELL if samples is None else samples
    return judge(fault, promise, samples=[*found, *more], routed=BACK, changes=OUT, url=url)


# --- the table ----------------------------------------------------------------------------------


def test_each_row_of_the_table_can_be_told_from_the_others() -> None:
    rows = [(promise.fault, promise.program) for promise in PROMISES]
    assert len(rows) == len(set(rows))
    assert PROMISES[0].fault == "calm"


def test_a_promised_recovery_can_be_seen_before_the_next_fault_begins() -> None:
    settle = re.search(r"SETTLE_SECONDS=\$\{QUICK:\+(\d+)\}", (CHAOS / "run.sh").read_text())
    assert settle
    for promise in PROMISES[:-1]:
        assert promise.back <= float(settle[1])


@pytest.mark.parametrize("cell", ["maybe", ""])
def test_a_line_that_is_no_promise_is_refused_with_its_place(tmp_path: Path, cell: str) -> None:
    text = (CHAOS / "faults.tsv").read_text().replace("\tnone\t", f"\t{cell}\t", 1)
    table = tmp_path / "faults.tsv"
    table.write_text(text)
    with pytest.raises(ValueError, match=rf"{re.escape(str(table))}:\d+: "):
        load_promises(table)


def test_a_fault_is_done_to_each_instance_in_turn_and_quickly_to_one() -> None:
    by_name = {(promise.fault, promise.program): promise for promise in PROMISES}
    killed = by_name["killed", "product-service"]
    assert nodes_of(killed, FLAT, quick=False) == ["product-1", "product-2", "product-3"]
    assert nodes_of(killed, FLAT, quick=True) == ["product-2"]
    assert nodes_of(by_name["slow", "product-service"], FLAT, quick=False) == ["product-2"]
    assert nodes_of(by_name["all_stopped", "product-service"], FLAT, quick=False) == ["product-service"]
    assert nodes_of(by_name["disk_full", "-"], FLAT, quick=False) == ["-"]


def test_the_plan_names_only_the_faults_that_are_asked_for() -> None:
    command = [sys.executable, "-m", "faults.chaos.promises"]
    asked = subprocess.run([*command, "slow"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[:2] for line in asked.splitlines()] == [["calm", "-"], ["slow", "product-2"]]
    unknown = subprocess.run([*command, "flood"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert unknown.returncode == 1
    assert "has no fault flood" in unknown.stderr


def test_every_promise_of_a_run_is_found_by_its_fault_and_node() -> None:
    for promise in PROMISES:
        for node in nodes_of(promise, FLAT, quick=False):
            assert report.promise_of(Fault(promise.fault, node, 0, 1, 2), PROMISES, FLAT) is promise


# --- the verdicts -------------------------------------------------------------------------------


def test_a_fault_that_nobody_noticed_keeps_its_promises() -> None:
    result = verdict()
    assert result.broken == []
    assert (result.detected, result.out, result.back) == pytest.approx((0.4, 0.8, 2.0))


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (Sample("get", 101, 5, 503, retry_after="1"), "1 GETs failed"),
        (Sample("get", 101, 5, 0), "1 GETs failed"),
        (Sample("read", 101, 5, 404), "1 GETs of orders failed"),
        (Sample("order", 101, 5, 503, retry_after="1", key="key-101.0"), "1 orders failed"),
        (Sample("order", 101, 5, 201, key="key-101.0"), "1 orders failed"),  # it could not be read
        (Sample("mistake", 101, 5, 201), "1 mistaken orders failed"),
        (Sample("name", 101, 5, 0), "1 look-ups of a name failed"),
    ],
)
def test_one_failure_of_each_kind_breaks_the_promise_of_none(sample: Sample, said: str) -> None:
    assert verdict(sample).broken == [said]


def test_an_order_that_is_never_acknowledged_breaks_a_promise_whatever_else_is_allowed() -> None:
    refused = Sample("order", 101, 5, 503, retry_after="1", key="new")
    allowed = {**NONE.allowed, "order": Allowed.ANY}
    assert verdict(refused, allowed=allowed).broken == ["1 orders never acknowledged"]
    assert not verdict(refused, Sample("order", 130, 5, 201, key="new", order_id="7"), allowed=allowed).broken


def test_an_answer_500_breaks_a_promise_whatever_else_is_allowed() -> None:
    allowed = dict.fromkeys(NONE.allowed, Allowed.ANY)
    assert verdict(Sample("get", 101, 5, 500), allowed=allowed).broken == ["1 answers 500"]


def test_a_refusal_is_a_503_with_retry_after_in_time() -> None:
    right = Sample("get", 101, 1900, 503, retry_after="1")
    assert is_allowed(right, Allowed.REFUSED)
    assert not is_allowed(right, Allowed.NONE)
    for wrong in (
        dataclasses.replace(right, retry_after=""),
        dataclasses.replace(right, status=502),
        dataclasses.replace(right, latency_ms=2100),
    ):
        assert not is_allowed(wrong, Allowed.REFUSED)
        assert is_allowed(wrong, Allowed.ANY)
    assert is_allowed(dataclasses.replace(right, kind="order", latency_ms=4900), Allowed.REFUSED)


def test_an_outage_that_was_not_felt_was_none() -> None:
    allowed = {**NONE.allowed, "order": Allowed.SEEN}
    assert verdict(allowed=allowed).broken == ["no orders were refused: the fault had no effect"]
    refused = Sample("order", 101, 5, 503, retry_after="1", key="key-101.0")
    assert not verdict(refused, allowed=allowed).broken


def test_times_are_promises_too() -> None:
    assert verdict(noticed=0.5).broken == ["noticed later than 0.5 s"]
    assert verdict(back=1.9).broken == ["not back after 1.9 s"]
    slow = [good("get", 101 + number / 100, 1500) for number in range(5)]
    assert verdict(*slow).broken == ["p99 is 1500 ms"]
    allowed = dict.fromkeys(NONE.allowed, Allowed.ANY)
    assert verdict(Sample("get", 104.9, 5, 0), allowed=allowed).broken == []
    assert verdict(Sample("get", 105.1, 5, 0), allowed=allowed).broken == [
        "1 failures later than 3 s after the end"
    ]


def test_without_an_answer_there_is_no_latency() -> None:
    none = verdict(samples=[Sample("get", 101, 6000, 0)])
    row = dict(zip(report.HEADINGS, report.row_of(none), strict=True))
    assert [row[name] for name in ("p50 ms", "p99 ms", "p99 ms, 1st s")] == ["-", "-", "-"]
    assert not [said for said in none.broken if "p99" in said]


def test_names_may_fail_for_as_long_as_it_is_promised() -> None:
    failed = Sample("name", 103.0, 5, 0)
    assert not verdict(failed, names=4).broken
    assert verdict(failed, names=2).broken == ["1 look-ups of a name failed"]
    assert not verdict(failed, names=None).broken
    assert verdict(dataclasses.replace(failed, intended=105.5), names=None).broken


def test_events_become_faults_with_what_the_run_itself_found_broken() -> None:
    events = [
        Event(1, "begin", "calm", "-"),
        Event(3, "end", "calm", "-"),
        Event(5, "begin", "disk_full", "-"),
        Event(8, "end", "disk_full", "-"),
        Event(9, "broken", "disk_full", "-", "2 processes of api-gateway ended"),
    ]
    calm, full = faults_of(events)
    assert (calm.end, calm.until, calm.noted) == (3, 5, ())
    assert (full.begin, full.end) == (5, 8)
    broken = verdict(fault=dataclasses.replace(FAULT, noted=full.noted)).broken
    assert "2 processes of api-gateway ended" in broken


def test_calm_is_no_fault_in_the_count() -> None:
    calm = verdict(fault=dataclasses.replace(FAULT, name="calm"))
    findings = report.findings_of([calm, verdict(), verdict(noticed=0.1)], compare_orders([], []), [])
    assert findings[0] == "1 of 2 faults kept their promises."
    assert findings[1] == "Broken by killed product-2: noticed later than 0.1 s."


def test_a_share_is_uneven_when_it_is_more_than_a_rounding() -> None:
    assert not report.is_uneven([Share("a", 54, 33.8, 1.9), Share("b", 53, 33.1, -0.6)])
    assert not report.is_uneven([Share("a", 1005, 33.5, 0.5)])
    assert report.is_uneven([Share("a", 1020, 34, 2.0)])
    assert report.is_uneven([Share("a", 57, 35.6, 6.9)])


def test_a_garbled_201_is_counted_and_is_no_acknowledgement() -> None:
    ledger = compare_orders([Sample("order", 1, 1, 201, key="a")], [("1", "a")])
    assert (ledger.garbled, ledger.acknowledged, ledger.good) == (1, 0, False)


def test_a_mistake_that_was_stored_spoils_the_ledger() -> None:
    mistake = Sample("mistake", 1, 1, 503, key="m")
    assert compare_orders([mistake], [("1", "a")]).good
    assert compare_orders([mistake], [("1", "m")]).unwanted == 1
    assert not compare_orders([mistake], [("1", "m")]).good


# --- the files ----------------------------------------------------------------------------------


def test_the_report_has_its_picture_its_table_and_its_pdf(tmp_path: Path) -> None:
    results = [verdict(fault=dataclasses.replace(FAULT, name="calm")), verdict(Sample("get", 101, 5, 0))]
    report.write_files(tmp_path, WELL, results, ["one finding"])
    with (tmp_path / "chaos.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["fault"], row["failed"], row["promise"]) for row in rows] == [
        ("calm", "0", "kept"),
        ("killed", "1", "broken"),
    ]
    assert (tmp_path / "chaos_timeline.png").read_bytes().startswith(b"\x89PNG")
    assert page_faults(tmp_path / "chaos_report.pdf") == []


def test_lines_that_are_no_samples_are_named_and_the_rest_is_judged(tmp_path: Path) -> None:
    path, unread = tmp_path / "samples.csv", Unread()
    path.write_text(
        "kind,intended,latency_ms,status,instance,retry_after,key,order_id\n"
        "get,100.5,5,200,product-1,,,\n"
        "gets,100.5,5,200,product-1,,,\n"
        "get,nan,5,200,product-1,,,\n"
        'get,100.5,5,200,"product-1,,,\n'
        "get,100.6,5,503,product-1,1,,\n"
        "order,100.7,5,201,product-1,,key,7"
    )
    assert [sample.outcome for sample in report.read_samples(path, unread)] == [
        Outcome.RIGHT,
        Outcome.REFUSED,
    ]
    assert unread.counts.total() == 4
    with pytest.raises(CsvError, match="missing id, customer_id"):
        report.read_orders(path, unread)


@pytest.mark.parametrize(
    ("sample", "outcome"),
    [
        (Sample("get", 1, 1, 200), Outcome.RIGHT),
        (Sample("get", 1, 1, 404), Outcome.WRONG),
        (Sample("get", 1, 1, 503), Outcome.WRONG),
        (Sample("get", 1, 1, 503, retry_after="1"), Outcome.REFUSED),
        (Sample("get", 1, 1, 0), Outcome.NONE),
        (Sample("order", 1, 1, 201), Outcome.GARBLED),
        (Sample("order", 1, 1, 201, order_id="7"), Outcome.RIGHT),
        (Sample("mistake", 1, 1, 400), Outcome.RIGHT),
    ],
)
def test_each_request_is_counted_in_one_class(sample: Sample, outcome: Outcome) -> None:
    assert sample.outcome is outcome
    assert sample.good is (outcome is Outcome.RIGHT)
    assert report.outcomes_of([sample, good("name", 1)]).startswith("2 requests were sent: ")
    assert str(outcome) in report.outcomes_of([sample])


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b'{"order_id": 7}', "7"),
        (b'{"order_id": "a-7"}', "a-7"),
        (b'{"order_', ""),
        (b"[" * 100_000, ""),
        (b"\xff", ""),
        (b"[]", ""),
        (b"7", ""),
        (b'{"order_id": null}', ""),
        (b'{"order_id": []}', ""),
        (b'{"order_id": true}', ""),
    ],
)
def test_an_order_without_a_number_that_can_be_read_is_not_acknowledged(body: bytes, number: str) -> None:
    assert order_id_of(body) == number


# --- the load -----------------------------------------------------------------------------------


class Shop(BaseHTTPRequestHandler):
    """A platform of which each order's first answer is garbled."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        self.answer(200, b"{}")

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if order["product_id"] != "2":
            self.answer(400, b"{}")
        elif order["customer_id"] in self.seen:
            self.answer(201, b'{"order_id": 7}')
        else:
            self.seen.add(order["customer_id"])
            self.answer(201, b'{"order_')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def samples_of(text: str) -> list[Sample]:
    unread = Unread()
    found = list(read_lines(io.StringIO(text), report.SAMPLE, report.sample_of, unread, "the samples"))
    assert not unread.counts
    return found


# In a process of its own: gevent and this process' threads keep apart.
STEPPED = """
import sys, time
from faults.chaos.load import Load
real, begin = time.time, time.time()
time.time = lambda: real() + (0 if real() - begin < 0.5 else float(sys.argv[2]))
load = Load(sys.argv[1], sys.stdout)
load.run(load.request_catalogue, 50, 1.5)
"""


def test_a_request_that_a_fault_cuts_off_belongs_to_this_fault_and_not_to_the_one_before() -> None:
    first = Fault("killed", "nginx-lb", 100, 101, 110)
    second = Fault("killed", "nginx-lb", 110, 111, 120)
    cut_off = Sample("get", 109.995, 8, 0)
    assert second.has(cut_off)
    assert not first.has(cut_off)
    assert first.has(good("get", 109.9))


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_step_of_the_wall_clock_changes_neither_rate_nor_latency(step: int) -> None:
    with shop() as url:
        command = [sys.executable, "-c", STEPPED, url, str(step)]
        before, begin = time.time(), time.monotonic()  # noqa: TID251  what a sample has
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
        seconds = time.monotonic() - begin
    samples = samples_of(run.stdout)
    assert len(samples) == 75
    assert seconds > 1.4
    assert all(0 <= sample.latency_ms < 30_000 for sample in samples)
    assert all(before <= sample.intended < before + 60 for sample in samples)
    intended = [sample.intended for sample in samples]  # in the order of their answers
    assert max(intended) - min(intended) == pytest.approx(1.48, abs=0.1)


ORDERS = """
import sys
from faults.chaos.load import Load
load = Load(sys.argv[1], sys.stdout)
load.place_order(__import__("time").monotonic())
load.place_invalid_order(__import__("time").monotonic())
"""


def test_a_garbled_201_leaves_a_sample_and_is_asked_again() -> None:
    with shop() as url:
        command = [sys.executable, "-c", ORDERS, url]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    garbled, repeated, mistake = samples_of(run.stdout)
    assert (garbled.status, garbled.order_id, garbled.good) == (201, "", False)
    assert (repeated.key, repeated.order_id, repeated.good) == (garbled.key, "7", True)
    assert (mistake.status, mistake.good) == (400, True)
    assert run.stderr == ""


def test_what_refuses_connections_is_a_sample_without_an_answer() -> None:
    out = io.StringIO()
    client = Load("http://127.0.0.1:9", out)
    gevent.spawn(client.request_catalogue, time.monotonic()).join()
    assert [sample.status for sample in samples_of(out.getvalue())] == [0]
    assert (client.requests, client.failures) == (1, 1)
