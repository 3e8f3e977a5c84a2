"""Metrics of the lab for Prometheus: links, connection tracking, drops of the policy, health.

monitoring/exporter.sh serves it on loopback, and it answers only requests to a loopback name. /metrics has the
metrics, read at each scrape; /targets lists the services to scrape as well, in Prometheus' HTTP service discovery
format (https://prometheus.io/docs/prometheus/latest/http_sd/), so that no configuration holds an address.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily as Counts
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from lab.ruleset.iptables import live_rules
from lab.topology import Topology, load
from monitoring.connections.tracker import read_tracking_table
from monitoring.health.checks import SHOP, UP, check_all, targets
from monitoring.live import LiveError, lab_links, read_links
from monitoring.local_only import Application, local_only
from security.policy.drops import drop_chain

_HTTP_PROGRAMS_WITHOUT_METRICS = ("nginx", "redis", "postgres")
_DNS = 53
_STATISTICS = ("packets", "bytes", "errors", "dropped")


class LabCollector(Collector):
    """Reads the lab at each scrape."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics; of a source that cannot be read only `cnet_source_failed`."""
        failed: dict[tuple[str], int] = {}
        for name, source in (
            ("links", self._links),
            ("conntrack", self._conntrack),
            ("policy", self._drops),
            ("health", self._health),
        ):
            try:
                yield from list(source())
                failed[name,] = 0
            except (LiveError, OSError, ValueError):
                failed[name,] = 1
        yield _family(Gauge, "cnet_source_failed", "1 when a source could not be read", ("source",), failed)

    def _links(self) -> Iterator[Metric]:
        nodes = {node.bridge_interface: node.name for node in self._topology.nodes}
        links = {(link["ifname"], nodes.get(link["ifname"], "")): link for link in lab_links(read_links())}
        for direction, verb in (("rx", "received"), ("tx", "sent")):
            for what in _STATISTICS:
                values = {labels: link["stats64"][direction][what] for labels, link in links.items()}
                name, meaning = f"cnet_link_{verb}_{what}", f"{what} that a link of the lab {verb}"
                yield _family(Counts, name, meaning, ("link", "node"), values)
        up = {labels: link["operstate"] == "UP" for labels, link in links.items()}
        yield _family(Gauge, "cnet_link_up", "1 when both ends of a link are up", ("link", "node"), up)

    def _conntrack(self) -> Iterator[Metric]:
        table = read_tracking_table()
        yield _family(
            Gauge, "cnet_conntrack_entries", "Connections that the host tracks", (), {(): table.entries}
        )
        yield _family(
            Gauge, "cnet_conntrack_limit", "Most connections that it can track", (), {(): table.limit}
        )
        events = {(name,): count for name, count in sorted(table.counters.items())}
        yield _family(Counts, "cnet_conntrack_events", "As conntrack -S counts them", ("event",), events)

    def _drops(self) -> Iterator[Metric]:
        packets, volume = Counter[tuple[str]](), Counter[tuple[str]]()
        for rule in live_rules():
            if rule.target == "DROP" and rule.chain.startswith(drop_chain("")):
                policy_id = rule.chain.removeprefix(drop_chain(""))
                packets[policy_id,] += rule.packets
                volume[policy_id,] += rule.bytes
        for unit, counts in (("packets", packets), ("bytes", volume)):
            yield _family(
                Counts, f"cnet_policy_dropped_{unit}", "Dropped, by line of the policy", ("id",), counts
            )

    def _health(self) -> Iterator[Metric]:
        checks = {(check.node,): check for check in check_all(targets(self._topology), timeout=1.0)}
        shop = checks.pop((SHOP,), None)
        up = {node: check.up for node, check in checks.items()}
        ready = {node: check.state == UP for node, check in checks.items()}
        seconds = {node: check.milliseconds / 1000 for node, check in checks.items() if check.up}
        is_open = {(): shop.up} if shop else {}
        for name, meaning, labels, values in (
            ("service_up", "1 when a service answers", ("service",), up),
            ("service_ready", "1 when a service answers and all it depends on does", ("service",), ready),
            ("service_latency_seconds", "Time until it answered", ("service",), seconds),
            ("shop_open", "1 when GET /api/products answers through the published port", (), is_open),
        ):
            yield _family(Gauge, f"cnet_{name}", meaning, labels, values)


def _family(
    kind: type[Gauge | Counts], name: str, meaning: str, labels: Sequence[str], values: Mapping[Any, float]
) -> Metric:
    """Return a metric with its values, each under the values of its labels."""
    family = kind(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def scrape_targets(topology: Topology) -> list[dict[str, object]]:
    """Return each service that has metrics of its own."""
    return [
        {
            "targets": [f"{node.host}:{listener.port}"],
            "labels": {"node": node.name, "program": node.runs},
        }
        for node in topology.nodes
        if node.runs and node.runs not in _HTTP_PROGRAMS_WITHOUT_METRICS
        for listener in node.listens
        if listener.protocol == "tcp" and listener.port != _DNS
    ]


def application(topology: Topology) -> Application:
    """Return the WSGI application."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LabCollector(topology))
    metrics: Application = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/targets":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(scrape_targets(topology)).encode()]
        if environ["PATH_INFO"] not in ("/", "/metrics"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics and /targets are here\n"]
        return metrics(environ, start_response)

    return local_only(answer)


def serve() -> Application:
    """Return the application for the running lab."""
    return application(load())
