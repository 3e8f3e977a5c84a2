"""Metrics for Prometheus. Their failures never fail a request; a damaged file does not count in the sums."""

import functools
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

REQUESTS = Histogram(
    "http_request_duration_seconds",
    "Time from the request's arrival in the service to its answer",
    ["service", "method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)

Metrics = TypeVar("Metrics", Counter, Histogram)

log = logging.getLogger("service")
reported: set[str] = set()  # failures that were logged


def observe_request(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request."""
    try:
        labelled(REQUESTS, service, method, route, status).observe(seconds)
    except Exception as failure:
        report("a request cannot be measured", failure)


def count(counter: Counter, *labels: str) -> None:
    """Add one to a counter with these labels."""
    try:
        labelled(counter, *labels).inc()
    except Exception as failure:
        report("an event cannot be counted", failure)


@functools.cache
def labelled(metric: Metrics, *labels: str | int) -> Metrics:
    """Return the metric with these labels; keep it, because the look-up is slow and there are few."""
    return metric.labels(*labels)


def report(what: str, failure: Exception) -> None:
    """Log a failure once, because it may repeat with each request."""
    if what not in reported:
        reported.add(what)
        log.warning("%s: %s: %s", what, type(failure).__name__, failure)


def exposition() -> bytes:
    """Return the text of /metrics: the sums of all workers, or this worker's own without a folder of files."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    try:
        if not folder:
            return generate_latest(REGISTRY)
        registry = CollectorRegistry()
        registry.register(ReadableFiles(Path(folder)))
        return generate_latest(registry)
    except Exception as failure:
        report("the metrics cannot be shown", failure)
        return b"# The metrics cannot be shown; the log has the reason.\n"


class ReadableFiles(Collector):
    """Collects the sums over all readable files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; report and skip a file that cannot be read."""
        readable = []
        for file in self._folder.glob("*.db"):
            try:
                check_file(file)
            except Exception as failure:
                report(f"the metrics file {file} is damaged and left out", failure)
            else:
                readable.append(str(file))
        return merge(readable)


def check_file(file: Path) -> None:
    """Raise an exception unless the file can be read to its end; a negative length would make reading endless."""
    last = 0
    for key, _, _, position in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
        if position <= last:
            raise ValueError("a length is negative")
        last = position
        json.loads(key)
    list(merge([str(file)]))


def merge(files: list[str]) -> Iterable[Metric]:
    """Return the sums over these files."""
    found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # of Prometheus
    return found
