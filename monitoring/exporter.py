"""Metrics of the lab for Prometheus: links, connection tracking, drops of the policy, health.

    python -m monitoring.exporter [--port 9105]

Bound to loopback, and answers only requests to a loopback name. /metrics has the metrics, read at each scrape;
/targets lists the services to scrape as well, in Prometheus' HTTP service discovery format
(https://prometheus.io/docs/prometheus/latest/http_sd/), so that no configuration holds an address.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from lab.messages import print_message
from lab.ruleset.iptables import live_rules
from lab.topology import Topology, TopologyError, load
from monitoring.connections.tracker import read_tracking_table
from monitoring.health.checks import SHOP, UP, check_all, targets
from monitoring.live import LiveError, lab_links, need_root, read_links
from monitoring.local_only import refusal
from security.policy.compiler import drop_chain

PORT = 9105
_HTTP_PROGRAMS_WITHOUT_METRICS = ("nginx", "redis", "postgres")
_DNS = 53
_STATISTICS = ("packets", "bytes", "errors", "dropped")


class LabCollector(Collector):
    """Reads the lab at each scrape."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics; of a source that cannot be read only `cnet_source_failed`."""
        failed = GaugeMetricFamily(
            "cnet_source_failed", "1 when a source could not be read", labels=["source"]
        )
        sources: dict[str, Callable[[], Iterator[Metric]]] = {
            "links": self._links, "conntrack": self._conntrack, "policy": self._drops, "health": self._health,
        }  # fmt: skip
        for name, source in sources.items():
            try:
                yield from list(source())
                failed.add_metric([name], 0)
            except (LiveError, OSError, ValueError):
                failed.add_metric([name], 1)
        yield failed

    def _links(self) -> Iterator[Metric]:
        nodes = {node.bridge_interface: node.name for node in self._topology.nodes}
        counters = {
            (direction, what): CounterMetricFamily(
                f"cnet_link_{verb}_{what}", f"{what} that a link of the lab {verb}", labels=["link", "node"]
            )
            for direction, verb in (("rx", "received"), ("tx", "sent"))
            for what in _STATISTICS
        }
        up = GaugeMetricFamily("cnet_link_up", "1 when both ends of a link are up", labels=["link", "node"])
        for link in lab_links(read_links()):
            labels = [link["ifname"], nodes.get(link["ifname"], "")]
            up.add_metric(labels, int(link["operstate"] == "UP"))
            for (direction, what), counter in counters.items():
                counter.add_metric(labels, link["stats64"][direction][what])
        yield from counters.values()
        yield up

    def _conntrack(self) -> Iterator[Metric]:
        table = read_tracking_table()
        yield GaugeMetricFamily(
            "cnet_conntrack_entries", "Connections that the host tracks", value=table.entries
        )
        yield GaugeMetricFamily(
            "cnet_conntrack_limit", "Most connections that it can track", value=table.limit
        )
        events = CounterMetricFamily("cnet_conntrack_events", "As conntrack -S counts them", labels=["event"])
        for name, count in sorted(table.counters.items()):
            events.add_metric([name], count)
        yield events

    def _drops(self) -> Iterator[Metric]:
        packets = CounterMetricFamily(
            "cnet_policy_dropped_packets", "Dropped, by line of the policy", labels=["id"]
        )
        volume = CounterMetricFamily(
            "cnet_policy_dropped_bytes", "Dropped, by line of the policy", labels=["id"]
        )
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        for rule in live_rules():
            if rule.target == "DROP" and rule.chain.startswith(drop_chain("")):
                sums[rule.chain.removeprefix(drop_chain(""))].update(packets=rule.packets, bytes=rule.bytes)
        for policy_id, counts in sorted(sums.items()):
            packets.add_metric([policy_id], counts["packets"])
            volume.add_metric([policy_id], counts["bytes"])
        yield from (packets, volume)

    def _health(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("cnet_service_up", "1 when a service answers", labels=["service"])
        ready = GaugeMetricFamily(
            "cnet_service_ready", "1 when a service answers and all it depends on does", labels=["service"]
        )
        seconds = GaugeMetricFamily(
            "cnet_service_latency_seconds", "Time until it answered", labels=["service"]
        )
        shop = GaugeMetricFamily(
            "cnet_shop_open", "1 when GET /api/products answers through the published port", labels=[]
        )
        for check in check_all(targets(self._topology), timeout=1.0):
            if check.node == SHOP:
                shop.add_metric([], int(check.up))
                continue
            up.add_metric([check.node], int(check.up))
            ready.add_metric([check.node], int(check.state == UP))
            if check.up:
                seconds.add_metric([check.node], check.milliseconds / 1000)
        yield from (up, ready, seconds, shop)


def scrape_targets(topology: Topology) -> list[dict[str, object]]:
    """Return each service that has metrics of its own."""
    return [
        {
            "targets": [f"{node.address.ip}:{listener.port}"],
            "labels": {"node": node.name, "program": node.runs},
        }
        for node in topology.nodes
        if node.runs and node.runs not in _HTTP_PROGRAMS_WITHOUT_METRICS
        for listener in node.listens
        if listener.protocol == "tcp" and listener.port != _DNS
    ]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Log no scrape."""


def application(topology: Topology) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LabCollector(topology))
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, str], start_response: Callable[..., object]) -> Iterable[bytes]:
        refused = refusal(environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN"))
        if refused:
            start_response(f"{refused.status} Refused", [("Content-Type", "text/plain")])
            return [refused.text.encode()]
        if environ["PATH_INFO"] == "/targets":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(scrape_targets(topology)).encode()]
        if environ["PATH_INFO"] not in ("/", "/metrics"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics and /targets are here\n"]
        return metrics(environ, start_response)  # type: ignore[no-any-return] # WSGI has loose types

    return answer


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl+C; return 1 on an error."""
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.exporter", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args(arguments)
    try:
        need_root()
        server = make_server("127.0.0.1", options.port, application(load()), ThreadingWSGIServer, _Quiet)
    except (LiveError, TopologyError, OSError) as error:
        print_message("exporter", f"port {options.port}: {error}")
        return 1
    print(f"http://localhost:{options.port}/metrics", file=sys.stderr)
    with suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
