"""The JSON document of a benchmark, with the machine's facts; docs/reference/json/ has the schemas."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.common.intervals import Interval

Object = dict[str, Any]


def print_document(rounds: int, rows: Iterable[Mapping[str, Any]], **more: object) -> None:
    """Print one JSON document: whether QUICK=1 was set, the rounds, the machine, the rows, and `more`."""
    begin = {"quick": bool(os.environ.get("QUICK")), "rounds": int(rounds), "machine": machine()}
    print(json.dumps({**begin, "rows": list(rows), **more}, indent=1, allow_nan=False))


def machine() -> Object:
    """Return the facts of this machine that a measurement depends on; unknown ones are None."""
    return {
        "cpus": os.cpu_count(),
        "cpu_model": _value_of("/proc/cpuinfo", "model name"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _value_of(path: str, name: str) -> str | None:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def number(value: float, digits: int = 6) -> float | None:
    """Return a rounded number; None for what JSON has no number for, NaN and infinity."""
    return round(float(value), digits) if math.isfinite(value) else None


def spread_as_json(values: Iterable[float], digits: int = 6) -> Object:
    """Return the median, the least and the greatest of the rounds' values, and each of them; None without values."""
    known = pd.Series(values, dtype=float).dropna()
    ends = (known.median(), known.min(), known.max()) if len(known) else (math.nan,) * 3
    median, least, most = (number(value, digits) for value in ends)
    return {"median": median, "least": least, "most": most, "values": [number(one, digits) for one in known]}


def interval_as_json(interval: Interval) -> Object:
    """Return an estimate with its confidence interval."""
    return {
        "value": number(interval.value),
        "low": number(interval.low),
        "high": number(interval.high),
        "confidence": number(interval.confidence),
    }
