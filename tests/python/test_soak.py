"""The soak's judge: a leak is found, a sawtooth, a peak and a warm-up are not."""

import csv
import math
import os
from pathlib import Path

import pytest

from faults.chaos import soak_picture
from faults.chaos.growth import growth_of
from faults.chaos.soak import MAX_DESCRIPTORS, MAX_MB, Sampler, Series, write_csv

SECONDS = [5.0 * number for number in range(121)]  # ten minutes
END = SECONDS[-1]


def series(megabytes: list[float], descriptors: list[float] | None = None) -> Series:
    return Series("a-node", "gunicorn 7", SECONDS, megabytes, descriptors or [12.0] * len(SECONDS))


def noisy(values: list[float]) -> list[float]:
    return [value + 0.03 * math.sin(7 * number) for number, value in enumerate(values)]


LEAK = noisy([45 + 0.35 * second / 60 for second in SECONDS])
FLAT = noisy([45.0 for _ in SECONDS])
SAWTOOTH = [45 + 3 * (second % 97) / 97 for second in SECONDS]
SLOW_SAWTOOTH = [45 + 2 * (second % 55) / 55 for second in SECONDS]
STEP_IN_WARM_UP = noisy([20.0 if second < 100 else 45.0 for second in SECONDS])
FIRST_CHECKPOINT = [0.9 if second < 300 else 2.5 if second < 330 else 3.2 for second in SECONDS]
STAIRS = noisy([45 + 0.7 * (second // 120) for second in SECONDS])
PEAK = noisy([45.0 if not 300 < second < 340 else 90.0 for second in SECONDS])
SHRINKS = [45 - 0.5 * second / 60 for second in SECONDS]


def test_the_leak_that_the_registry_had_is_named_with_its_process() -> None:
    assert series(LEAK).faults(END) == ["a-node: gunicorn 7 grows by 0.34 MB a minute; 0.15 are allowed"]


@pytest.mark.parametrize(
    "megabytes", [FLAT, SAWTOOTH, SLOW_SAWTOOTH, STEP_IN_WARM_UP, FIRST_CHECKPOINT, PEAK, SHRINKS]
)
def test_what_stays_after_the_warm_up_is_no_leak(megabytes: list[float]) -> None:
    assert not series(megabytes).faults(END)


def test_a_leak_under_a_sawtooth_is_found() -> None:
    leak = [value + 0.3 * second / 60 for value, second in zip(SAWTOOTH, SECONDS, strict=True)]
    assert len(series(leak).faults(END)) == 1


def test_a_leak_in_steps_is_found() -> None:
    assert len(series(STAIRS).faults(END)) == 1


def test_a_leak_of_descriptors_is_found_and_a_pool_that_grows_once_is_none() -> None:
    leak = [12.0 + second // 60 for second in SECONDS]
    assert series(FLAT, leak).faults(END) == [
        "a-node: gunicorn 7 grows by 1.00 descriptors a minute; 0.5 are allowed"
    ]
    pool = [12.0 if second < 400 else 15.0 for second in SECONDS]
    assert not series(FLAT, pool).faults(END)


def test_the_bounds_are_what_decides() -> None:
    for allowed in (0.9, 1.1):
        grows = [45 + allowed * MAX_MB * second / 60 for second in SECONDS]
        assert bool(series(grows).faults(END)) is (allowed > 1)
        opens = [12 + allowed * MAX_DESCRIPTORS * second / 60 for second in SECONDS]
        assert bool(series(FLAT, opens).faults(END)) is (allowed > 1)


def test_a_short_run_is_not_judged() -> None:
    assert growth_of(SECONDS[:60], LEAK[:60]) is None
    assert growth_of(SECONDS[:73], LEAK[:73]) is not None


def test_a_process_that_ends_is_named_and_a_server_for_one_client_is_not() -> None:
    ended = Series("a-node", "gunicorn 7", SECONDS[:50], FLAT[:50], [1.0] * 50)
    assert ended.faults(END) == ["a-node: gunicorn 7 ended after 245 s"]
    ended.name = "postgres: orders orders 8"
    assert not ended.faults(END)


def test_a_sample_of_a_real_process_its_csv_and_its_picture(tmp_path: Path) -> None:
    sampler = Sampler({}, os.getpid())
    for second in (0.0, 5.0):
        sampler.sample(second)
    (one,) = sampler.series
    assert one.megabytes[-1] > 1
    assert one.descriptors[-1] >= 3
    write_csv(sampler.series, tmp_path / "soak.csv")
    with (tmp_path / "soak.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["second"] for row in rows] == ["0.0", "5.0"]
    soak_picture.draw([one, series(LEAK)], END, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
