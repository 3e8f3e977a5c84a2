"""The dashboard's panel, and what it says after a kill. Runs where tests/lab/test_dashboard.py does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from dashboards import MAP, URL, click_on_map, pids
from playwright.sync_api import Locator, Page, expect

SHOP = "http://localhost:8080"

pytest_plugins = ["tests.lab.browsing", "dashboards"]  # the fixtures
pytestmark = pytest.mark.skipif(not URL, reason="needs a dashboard: tests/bats/dashboard.bats")


def part(page: Page, name: str) -> Locator:
    return page.locator(f".part-{name}")


def instance_that_answers() -> str:
    """Ask for the catalogue as a customer does; return the instance that answered."""
    command = ["curl", "-sSf", "-o", "/dev/null", "-w", "%header{x-instance}", f"{SHOP}/api/products"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def listening(namespace: str, port: int) -> Iterator[None]:
    """Have another program listen on a port of a namespace."""
    with subprocess.Popen(
        ["ip", "netns", "exec", namespace, "python3", "-m", "http.server", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        yield
        server.kill()


def test_the_panel_of_a_service_shows_what_the_kernel_and_the_log_say(page: Page, shots: Path) -> None:
    click_on_map(page, "product-2")
    expect(page.locator("#details h2")).to_have_text("product-2")
    expect(page.locator("#place")).to_contain_text("product-2")
    expect(part(page, "facts")).to_contain_text("10.0.0.31/16")
    expect(part(page, "sockets")).to_contain_text("10.0.0.31:5000/tcp")
    expect(part(page, "sockets")).to_contain_text(re.compile(r"python3? \(pid \d+"))
    expect(part(page, "sockets")).not_to_contain_text("surplus")
    expect(part(page, "connections")).to_contain_text("product-2")
    expect(part(page, "lines")).to_contain_text("catalogue for the gateway")
    expect(part(page, "health").locator(".js-plotly-plot .scatterlayer path.js-line").first).to_be_attached()
    with listening("product2", 9999):
        expect(part(page, "sockets")).to_contain_text("surplus: the table does not want it", timeout=8_000)
        page.screenshot(path=shots / "panel-of-a-service.png", full_page=True)
    expect(part(page, "sockets")).not_to_contain_text("surplus", timeout=8_000)
    for _ in range(3):
        instance_that_answers()
    expect(part(page, "logs").locator("tbody tr").first).to_contain_text("GET /products 200", timeout=8_000)


def test_the_panel_is_renewed_without_moving(page: Page) -> None:
    click_on_map(page, "api-gateway")
    expect(part(page, "logs").locator("tbody tr").first).to_be_visible(timeout=8_000)
    kept = (
        ".part-facts table",
        ".part-sockets table",
        ".part-health .js-plotly-plot",
        "#history .js-plotly-plot",
    )
    for selector in kept:
        page.locator(selector).evaluate("one => { one.mark = 1; }")
    page.evaluate("() => { document.querySelector('.side').scrollTop = 300; }")
    state = part(page, "state")
    expect(state).not_to_have_text(state.inner_text(), timeout=3_000)
    page.wait_for_timeout(4_000)
    assert [page.locator(selector).evaluate("one => one.mark") for selector in kept] == [1, 1, 1, 1]
    assert page.evaluate("() => document.querySelector('.side').scrollTop") == 300


def test_the_panel_of_a_flow_shows_rates_address_translation_and_a_packets_path(
    page: Page, shots: Path
) -> None:
    for _ in range(5):
        instance_that_answers()
    page.wait_for_function(f"() => {MAP}.$id('host|nginx-lb').nonempty()", timeout=5_000)
    click_on_map(page, "host|nginx-lb")
    expect(page.locator("#details h2")).to_have_text("host \u2194 nginx-lb")
    expect(page.locator("#way")).to_contain_text("host \u2192 nginx-lb")
    expect(part(page, "nat")).to_contain_text("host \u2192 host:8080", timeout=8_000)
    expect(part(page, "nat")).to_contain_text("nginx-lb:80 \u2192 host")
    expect(part(page, "nat")).to_contain_text("DNAT")
    expect(part(page, "path")).to_contain_text("allowed", timeout=10_000)
    expect(part(page, "rates")).to_contain_text("new connections/s")
    assert page.evaluate(f"() => {MAP}.$id('host|nginx-lb').hasClass('chosen')")
    page.screenshot(path=shots / "panel-of-a-flow.png", full_page=True)


def test_findings_about_a_service_are_in_its_panel(page: Page) -> None:
    click_on_map(page, "redis-cache")
    expect(part(page, "findings")).to_contain_text("Not diagnosed yet")
    part(page, "findings").get_by_role("button", name="Find the cause").click()
    expect(part(page, "findings")).to_contain_text("No findings about redis-cache", timeout=10_000)
    port = ["ip", "link", "set", "veth-redis-br"]
    subprocess.run([*port, "down"], check=True)
    try:
        expect(part(page, "findings")).to_contain_text("veth-redis-br", timeout=15_000)
    finally:
        subprocess.run([*port, "up"], check=True)
    expect(page.locator("#headline")).to_contain_text("9 services up", timeout=5_000)


def test_after_a_kill_the_shop_still_sells_and_the_page_says_why_nothing_failed(
    page: Page, opened: Callable[..., Page], shots: Path
) -> None:
    """Buy, see which instance answered, find it on the map, kill it, and read what happened."""
    shop = opened(SHOP)
    expect(shop.locator("body")).to_contain_text(re.compile(r"product-\d"), timeout=5_000)
    found = re.search(r"product-\d", shop.locator("body").inner_text())
    assert found
    killed = found[0]
    click_on_map(page, killed)
    expect(page.locator("#details h2")).to_have_text(killed)
    namespace = part(page, "facts").locator("tr", has_text="namespace").locator("td").inner_text()
    for pid in pids(namespace):
        with suppress(ProcessLookupError):  # a worker whose master was killed has ended by itself
            os.kill(pid, signal.SIGKILL)
    assert {instance_that_answers() for _ in range(6)} - {killed}  # curl fails for an error
    incident = page.locator(".incident", has=page.locator("summary strong", has_text=killed)).first
    expect(incident).to_contain_text("terminated by SIGKILL", timeout=5_000)
    expect(incident).to_contain_text("supervisor: started it")
    expect(incident).to_contain_text("No request failed. Answered meanwhile: product-", timeout=5_000)
    expect(incident).to_contain_text("over after", timeout=15_000)
    page.screenshot(path=shots / "what-happened.png", full_page=True)
    shop.reload()
    expect(shop.locator("body")).to_contain_text(re.compile(r"product-\d"), timeout=5_000)
