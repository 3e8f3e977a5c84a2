"""The cost of each hop: totals and steps from known latencies, intervals, the waterfall's bars, the words."""

import csv
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from bench.common.intervals import INCONCLUSIVE, LESS, MORE, NO_DIFFERENCE, Interval
from bench.hops.appendix import label_of
from bench.hops.client import (
    KEPT,
    NEW,
    BadAnswerError,
    measure,
    read_answer,
    sender,
    used_us,
)
from bench.hops.families import pairs_of
from bench.hops.figures import CPU, conclusion
from bench.hops.report import all_steps, main, read_turns, table_of
from bench.hops.steps import (
    FIRST,
    Step,
    amount,
    floating_bars,
    resampled_totals,
    signed,
    steps_of,
)

ROOT = Path(__file__).parents[2]
HEADING = "round,hop,family,connection,requests,cpu_us_per_request,machine_us_per_request,latencies_us"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-LENGTH: 5\r\n\r\n"
ROUNDS = np.array([0.0, 0.3, -0.2, 0.1, 5.0, -0.1, 0.2, 0.0, -0.3, 0.1])  # one round was disturbed


def two(first: np.ndarray, second: np.ndarray) -> Step:
    return steps_of(["one", "other"], {"": np.array([first, second])})[""][1]


def step(low: float, high: float) -> Step:
    return Step("bridge", Interval(50, 49, 51), Interval((low + high) / 2, low, high))


class TestSteps:
    def test_a_total_is_the_median_of_the_rounds_whatever_one_of_them_suffered(self) -> None:
        first = steps_of(["one"], {"": np.array([[10.0, 11.0, 12.0, 13.0, 900.0]])})[""][0]
        assert first.total.value == 12
        assert (first.added, first.verdict) == (None, FIRST)

    def test_what_is_added_is_the_difference_of_the_totals(self) -> None:
        found = two(10 + ROUNDS, 17 + ROUNDS)
        assert found.added is not None
        assert found.added.value == pytest.approx(7)

    def test_what_disturbs_both_hops_of_a_round_does_not_blur_their_difference(self) -> None:
        paired = two(10 + 5 * ROUNDS, 11 + 5 * ROUNDS).added
        apart = two(10 + 5 * ROUNDS, 11 + 5 * ROUNDS[::-1]).added
        assert paired is not None
        assert apart is not None
        assert (paired.low, paired.high) == pytest.approx((1, 1))
        assert apart.high - apart.low > 1

    def test_a_hop_that_costs_more_than_the_scatter_makes_a_difference(self) -> None:
        assert two(10 + ROUNDS, 12 + ROUNDS[::-1]).verdict == MORE
        assert two(12 + ROUNDS, 10 + ROUNDS[::-1]).verdict == LESS

    def test_one_within_the_scatter_makes_none(self) -> None:
        assert two(10 + ROUNDS, 10 + ROUNDS[::-1]).verdict == NO_DIFFERENCE

    @pytest.mark.parametrize(
        ("low", "high", "verdict"),
        [
            (0.1, 2, MORE),
            (-2, -0.1, LESS),
            (-0.1, 2, NO_DIFFERENCE),
            (0, 2, NO_DIFFERENCE),
            (-2, 0, NO_DIFFERENCE),
            (0, 0, NO_DIFFERENCE),
            (0.04, 2, NO_DIFFERENCE),  # would be written as 0.0 to 2.0
            (-2, -0.04, NO_DIFFERENCE),
        ],
    )
    def test_an_interval_that_includes_0_is_no_difference(
        self, low: float, high: float, verdict: str
    ) -> None:
        assert step(low, high).verdict == verdict

    def test_a_wide_interval_with_0_tells_nothing(self) -> None:
        assert step(-1, 30).verdict == step(-30, 1).verdict == INCONCLUSIVE
        assert step(5, 30).verdict == MORE

    def test_of_many_hops_that_add_nothing_none_is_said_to_add_something(self) -> None:
        chance = np.random.default_rng(5)
        tables = {table: chance.normal(50, 2, (20, 12)) for table in range(4)}
        found = steps_of([str(hop) for hop in range(20)], tables)
        said = [step.verdict for steps in found.values() for step in steps]
        assert not {MORE, LESS} & set(said)
        alone = [two(*figures[at : at + 2]).verdict for figures in tables.values() for at in range(19)]
        assert {MORE, LESS} & set(alone)

    def test_an_interval_holds_the_truth_about_as_often_as_it_says(self) -> None:
        chance = np.random.default_rng(7)
        held = 0
        for _ in range(100):
            added = two(chance.normal(50, 2, 12), chance.normal(53, 2, 12)).added
            assert added is not None
            held += added.low <= 3 <= added.high
        assert held >= 88

    def test_every_hop_is_drawn_in_the_same_rounds(self) -> None:
        drawn = resampled_totals(np.array([ROUNDS, ROUNDS + 3]))
        assert drawn[1] - drawn[0] == pytest.approx(3)
        assert len(set(drawn[0])) > 5


class TestWaterfall:
    def test_each_bar_begins_where_the_one_before_it_ends(self) -> None:
        hops = steps_of(["a", "b", "c"], {"": np.array([[10.0] * 3, [14.0] * 3, [13.0] * 3])})[""]
        assert floating_bars(hops) == [(0, 10), (10, 4), (14, -1)]
        assert [hop.added.value for hop in hops if hop.added] == [4, -1]

    def test_the_words_beside_a_bar_tell_what_it_adds_and_the_total(self) -> None:
        assert label_of(step(1, 3)) == "+2.0 (+1.0 to +3.0)"
        assert label_of(step(-1, 3)) == "no difference"
        assert label_of(Step("loopback", Interval(1234, 1, 2), None)) == "1,234"


class TestWords:
    def test_a_conclusion_follows_from_the_interval(self) -> None:
        assert conclusion(step(1, 5), "new", "p50_us") == (
            "bridge: adds 3.0 us (1.0 to 5.0) to the median of a new connection"
        )
        assert conclusion(step(-5, -1), "kept", CPU) == (
            "bridge: takes 3.0 us (1.0 to 5.0) off the CPU time of a request on a kept connection"
        )
        assert conclusion(step(-1, 4), "new", "p99_us") == (
            "bridge: no difference in the 99th percentile of a new connection (-1.0 to +4.0 us)"
        )
        assert conclusion(step(-1, 30), "new", "p99_us") == (
            "bridge: inconclusive for the 99th percentile of a new connection "
            "(anything from -1.0 to +30.0 us)"
        )

    def test_amounts_are_short(self) -> None:
        assert [amount(value) for value in (0.04, 999.94, 1234.5)] == ["0.0", "999.9", "1,234"]
        assert [signed(value) for value in (2, -2, -2000, -0.04)] == ["+2.0", "-2.0", "-2,000", "+0.0"]


RAW = [
    (turn, hop, "ipv4", connection, 100, base * 2, base * 3, " ".join(f"{base + n}" for n in range(101)))
    for turn in (1, 2, 3)
    for hop, base in (("second", 30 + turn), ("first", 10 + turn))  # shuffled: not the path's order
    for connection in ("new", "kept")
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "raw.csv"
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in [[HEADING], *RAW]))
    return path


class TestReport:
    def test_figures_stand_by_hop_and_round_whatever_the_order_of_the_turns(self, raw: Path) -> None:
        turns = read_turns(raw)
        hops = ["first", "second"]
        assert table_of(turns, hops, "new", "p50_us").tolist() == [[61, 62, 63], [81, 82, 83]]
        assert table_of(turns, hops, "new", "p99_us").tolist() == [[110, 111, 112], [130, 131, 132]]
        assert table_of(turns, hops, "kept", CPU).tolist() == [[22, 24, 26], [62, 64, 66]]

    def test_the_table_and_the_picture_are_written_and_conclusions_printed(
        self, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hops = ["first", "second", "nginx", "gateway", "product"]
        with raw.open("a") as stream:
            for row in RAW[:2] + RAW[4:6] + RAW[8:10]:
                for hop in hops[2:]:
                    stream.write(",".join(map(str, (row[0], hop, *row[2:]))) + "\n")
        (tmp_path / "reports").mkdir()
        main(raw, tmp_path / "reports", hops)
        with (tmp_path / "reports/bench_hops.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        assert [(row["hop"], row["connection"]) for row in rows[:2]] == [("first", "new"), ("second", "new")]
        assert len(rows) == 10
        assert [
            rows[1][name] for name in ("p50_us", "p50_us_added", "p50_us_added_low", "p50_us_verdict")
        ] == [
            "82.0",
            "20.0",
            "20.0",
            "more",
        ]
        assert rows[2]["p50_us_verdict"] == "no difference"
        for name in ("bench_hops.png", "bench_hops_all.png"):
            assert (tmp_path / "reports" / name).read_bytes().startswith(b"\x89PNG")
        said = capsys.readouterr().out
        assert "second: adds 20.0 us (20.0 to 20.0) to the median of a new connection" in said
        assert "busy for 1.50 times" in said

    def test_the_steps_of_both_kinds_and_all_figures_are_there(self, raw: Path) -> None:
        assert len(all_steps(read_turns(raw), ["first", "second"])) == 6

    def test_what_ipv6_adds_is_the_difference_of_the_same_turns(
        self, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with raw.open("a") as stream:
            for turn, hop, _, connection, *rest in RAW:
                if hop == "second":
                    later = " ".join(f"{int(latency) + 7}" for latency in str(rest[-1]).split())
                    stream.write(
                        ",".join(map(str, (turn, hop, "ipv6", connection, *rest[:-1], later))) + "\n"
                    )
        turns = read_turns(raw)
        pairs = pairs_of(turns, ["first", "second"])
        assert {hop for hop, _, _ in pairs} == {"second"}  # the first was measured in one family
        pair = pairs["second", "new", "p50_us"]
        assert (pair.ipv4.value, pair.ipv6.value, pair.added.value, pair.verdict) == (82, 89, 7, MORE)
        assert pair.conclusion == "second, IPv6: adds 7.0 us (7.0 to 7.0) to the median of a new connection"
        assert pairs["second", "kept", CPU].verdict == NO_DIFFERENCE
        with raw.open("a") as stream:
            for row in RAW[:2] + RAW[4:6] + RAW[8:10]:
                for hop in ("nginx", "gateway", "product"):
                    stream.write(",".join(map(str, (row[0], hop, *row[2:]))) + "\n")
        main(raw, tmp_path, ["first", "second", "nginx", "gateway", "product"])
        assert "+7.0 (+7.0 to +7.0)" in capsys.readouterr().out
        assert (
            "second,new,p50_us,82.0,89.0,7.0,7.0,7.0,more,"
            in (tmp_path / "bench_hops_families.csv").read_text()
        )
        assert (tmp_path / "bench_hops_families.png").read_bytes().startswith(b"\x89PNG")

    def test_the_ladder_ends_with_as_many_programs_as_the_picture_takes(self) -> None:
        script = (ROOT / "bench/hops/run.sh").read_text()
        assert f"echo {HEADING} >" in script
        found = {
            name: re.search(rf"^{name}=\(([^)]*)\)", script, re.MULTILINE) for name in ("HOPS", "PROGRAMS")
        }
        hops, programs = ((match[1] if match else "").split() for match in found.values())
        assert hops[-3:] == programs
        assert len(hops) == 13


def served(answer: bytes) -> tuple[str, int]:
    """A server that answers each request with the same, one connection at a time."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(4096):
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    address: tuple[str, int] = listener.getsockname()
    return address


class TestRequests:
    def answer(self, parts: list[bytes]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for part in parts:
                theirs.sendall(part)
            theirs.shutdown(socket.SHUT_WR)
            read_answer(ours)

    def test_an_answer_is_read_to_its_end_even_in_pieces(self) -> None:
        self.answer([ANSWER[:30], ANSWER[30:], b"hel", b"lo"])

    @pytest.mark.timeout(20)
    def test_one_that_breaks_off_is_refused(self) -> None:
        with pytest.raises(BadAnswerError, match="ended in an answer"):
            self.answer([ANSWER, b"hel"])

    def test_one_that_is_no_200_is_refused(self) -> None:
        with pytest.raises(BadAnswerError, match="503"):
            self.answer([ANSWER.replace(b"200 OK", b"503 No"), b"hello"])

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("kind", [NEW, KEPT])
    def test_each_request_is_timed_and_its_cpu_counted(self, kind: str) -> None:
        processes, _, latencies = measure(sender(served(ANSWER + b"hello"), kind), 30)
        assert len(latencies) == 30
        assert min(latencies) > 1000
        assert processes > 1

    def test_a_task_that_has_ended_takes_nothing_off_and_a_new_one_counts(self) -> None:
        assert used_us({"client": 1000, "ended": 9000}, {"client": 4000, "new": 2000}) == 5
