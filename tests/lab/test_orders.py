"""Orders survive any schedule of kills. Runs in a sandbox with a lab that is up (tests/bats/orders.bats)."""

import io
import os
import subprocess
import time

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults.chaos.analysis import compare_orders
from faults.chaos.load import Load
from faults.chaos.report import SAMPLE, sample_of
from lab.csv_files import read_lines
from lab.topology import ROOT, load, table_path
from lab.unread import Unread

EXAMPLES = int(os.environ.get("EXAMPLES", "5"))
TOPOLOGY = load(table_path())
NAMESPACES = {node.name: node.namespace for node in TOPOLOGY.nodes if node.runs}
STORES = ("postgres-db", "order-service", "api-gateway", "nginx-lb")

pytestmark = pytest.mark.skipif("LAB_URL" not in os.environ, reason="needs a lab: tests/bats/orders.bats")

kills = st.lists(
    st.tuples(
        st.floats(0, 0.6),  # seconds after the one before
        st.sampled_from([*NAMESPACES, *STORES, *STORES]),  # those that an order passes, more often
        st.sampled_from(["KILL", "KILL", "TERM"]),
    ),
    min_size=1,
    max_size=8,
)


def kill(node: str, signal: str) -> None:
    pids = subprocess.run(
        ["ip", "netns", "pids", NAMESPACES[node]], capture_output=True, text=True, check=True
    ).stdout.split()
    for pid in pids:
        subprocess.run(["kill", f"-{signal}", pid], check=False, stderr=subprocess.DEVNULL)


def stored() -> list[tuple[str, str]]:
    """Return (id, customer_id) of all orders, asked of PostgreSQL itself when it is back."""
    command = [
        *(str(ROOT / "scripts/contain.sh"), "exec", "postgres-db"),
        *("psql", "-XAt", "-F,", "-h", "/state", "-d", "orders"),
        *("-c", "SELECT id, customer_id FROM orders"),
    ]
    for _ in range(100):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode == 0:
            return [tuple(line.split(",")) for line in done.stdout.split()]  # type: ignore[misc]  # two columns
        time.sleep(0.2)
    raise AssertionError(f"PostgreSQL does not come back: {done.stderr}")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(kills)
def test_every_acknowledged_order_is_there_exactly_once(schedule: list[tuple[float, str, str]]) -> None:
    out = io.StringIO()
    client = Load(os.environ["LAB_URL"], out)
    orders = gevent.spawn(client.run, client.place_order, 25.0, 2.5)
    for seconds, node, signal in schedule:
        gevent.sleep(seconds)
        kill(node, signal)
    orders.join()
    samples = list(read_lines(io.StringIO(out.getvalue()), SAMPLE, sample_of, Unread(), "the samples"))
    ledger = compare_orders(samples, stored())
    assert ledger.acknowledged == len({sample.key for sample in samples}) == 62, (
        "some were never acknowledged"
    )
    assert ledger.good, ledger
