"""The soak's judge: a leak is found, a sawtooth, a peak and a warm-up are not."""

import math
import os
from pathlib import Path

import pandas as pd
import pytest

from faults.chaos import soak_picture
from faults.chaos.growth import MAX_DESCRIPTORS, MAX_MB, growth_of, problems_of
from faults.chaos.soak import Sampler

SECONDS = [5.0 * number for number in range(121)]  # ten minutes
END = SECONDS[-1]


TITLE = "a-node: gunicorn 7"


def samples(megabytes: list[float], descriptors: list[float] | None = None) -> pd.DataFrame:
    index = SECONDS[: len(megabytes)]
    return pd.DataFrame({"pss_mb": megabytes, "descriptors": descriptors or 12}, index=index)


def problems(megabytes: list[float], descriptors: list[float] | None = None) -> list[str]:
    return list(problems_of(TITLE, samples(megabytes, descriptors), END))


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
    assert problems(LEAK) == ["a-node: gunicorn 7 grows by 0.34 MB a minute; 0.15 are allowed"]


@pytest.mark.parametrize(
    "megabytes", [FLAT, SAWTOOTH, SLOW_SAWTOOTH, STEP_IN_WARM_UP, FIRST_CHECKPOINT, PEAK, SHRINKS]
)
def test_what_stays_after_the_warm_up_is_no_leak(megabytes: list[float]) -> None:
    assert not problems(megabytes)


def test_a_leak_under_a_sawtooth_is_found() -> None:
    leak = [value + 0.3 * second / 60 for value, second in zip(SAWTOOTH, SECONDS, strict=True)]
    assert len(problems(leak)) == 1


def test_a_leak_in_steps_is_found() -> None:
    assert len(problems(STAIRS)) == 1


def test_a_leak_of_descriptors_is_found_and_a_pool_that_grows_once_is_none() -> None:
    leak = [12.0 + second // 60 for second in SECONDS]
    assert problems(FLAT, leak) == ["a-node: gunicorn 7 grows by 1.00 descriptors a minute; 0.5 are allowed"]
    pool = [12.0 if second < 400 else 15.0 for second in SECONDS]
    assert not problems(FLAT, pool)


def test_the_bounds_are_what_decides() -> None:
    for allowed in (0.9, 1.1):
        grows = [45 + allowed * MAX_MB * second / 60 for second in SECONDS]
        assert bool(problems(grows)) is (allowed > 1)
        opens = [12 + allowed * MAX_DESCRIPTORS * second / 60 for second in SECONDS]
        assert bool(problems(FLAT, opens)) is (allowed > 1)


def test_a_short_run_is_not_judged() -> None:
    assert growth_of(samples(LEAK[:60])["pss_mb"]) is None
    assert growth_of(samples(LEAK[:73])["pss_mb"]) is not None


def test_a_process_that_ends_is_named_and_a_server_for_one_client_is_not() -> None:
    ended = samples(FLAT[:50])
    assert list(problems_of(TITLE, ended, END)) == ["a-node: gunicorn 7 ended after 245 s"]
    assert not list(problems_of("a-node: postgres: orders orders 8", ended, END))


def test_a_sample_of_a_real_process_and_its_picture(tmp_path: Path) -> None:
    sampler = Sampler({}, os.getpid())
    for second in (0.0, 5.0):
        sampler.sample(second)
    ((title, its),) = sampler.processes().items()
    assert title.startswith("host: ")
    assert its["pss_mb"].iloc[-1] > 1
    assert its["descriptors"].iloc[-1] >= 3
    assert its.index.tolist() == [0.0, 5.0]
    soak_picture.draw({title: its, TITLE: samples(LEAK)}, END, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
