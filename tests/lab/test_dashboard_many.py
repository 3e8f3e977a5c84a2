"""The dashboard's map of 30 nodes in a browser: the page of a large table, whose lab does not run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dashboards import FITTED, MAP, check_boxes
from playwright.sync_api import Page
from werkzeug.serving import make_server

from lab.topology import ROOT, load
from monitoring.dashboard.app import make
from monitoring.dashboard.model import Model
from monitoring.health.checks import Check

pytest_plugins = ["tests.lab.browsing", "dashboards"]  # the fixtures
_NODES = 30


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    flat = (ROOT / "topology" / "flat.tsv").read_text()
    known = flat.count("\nnode\t")
    lines = [
        f"node\tproduct-{number}\tproduct{number}\t10.0.1.{number}/16\tveth-p{number}\tveth-p{number}-br\tbr-app"
        "\t5000/tcp\t-\tproduct-service\n"
        for number in range(4, 4 + _NODES - known)
    ]
    table = tmp_path_factory.mktemp("table") / "many.tsv"
    table.write_text(flat + "".join(lines))
    model = Model(load(table))
    now = time.time()  # noqa: TID251  as checks have it
    why = "no answer in time"
    model.health.last = {
        node.name: Check(
            node.name, now, node.name != "product-7", 1000.0, why if node.name == "product-7" else ""
        )
        for node in model.topology.nodes
    }
    server = make_server("127.0.0.1", 0, make(model).server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (390, 844)])
def test_the_names_of_thirty_nodes_can_be_read(
    url: str, opened: Callable[..., Page], shots: Path, size: tuple[int, int], theme: str
) -> None:
    page = opened(url, viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    page.wait_for_function(f"() => ({FITTED})() && {MAP}.nodes().length == {_NODES + 2}")
    page.wait_for_timeout(2500)
    page.screenshot(path=shots / f"thirty-{size[0]}-{theme}.png", full_page=True)
    check_boxes(page)
    assert page.evaluate(f"() => {MAP}.$id('product-7').hasClass('down')")
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
