"""The dashboard in a real browser. Runs in a sandbox with a lab and a dashboard (tests/bats/dashboard.bats)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dashboards import MAP, URL, check_boxes, click_on_map, pids
from playwright.sync_api import Page, expect

from lab.namespace import inside

pytest_plugins = ["tests.lab.browsing", "dashboards"]  # the fixtures
pytestmark = pytest.mark.skipif(not URL, reason="needs a dashboard: tests/bats/dashboard.bats")


def knock(namespace: str, address: str, port: int) -> None:
    with inside(namespace), socket.socket() as client:
        client.settimeout(0.2)
        client.connect_ex((address, port))


def has(page: Page, element: str, name: str) -> bool:
    return bool(page.evaluate(f"([id, name]) => {MAP}.$id(id).hasClass(name)", [element, name]))


def test_a_service_that_stops_turns_red_within_three_seconds_and_back(page: Page) -> None:
    expect(page.locator("#headline")).to_contain_text("9 services up")
    assert has(page, "product-2", "up")
    stopped = pids("product2")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        expect(page.locator("#headline")).to_contain_text("DOWN: product-2", timeout=3_000)
        page.wait_for_function(f"() => {MAP}.$id('product-2').hasClass('down')", timeout=1_000)
        assert time.monotonic() - begin < 3.5
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    expect(page.locator("#headline")).to_contain_text("9 services up", timeout=5_000)


def test_a_service_that_fails_starts_the_diagnosis_which_names_the_cause(page: Page) -> None:
    port = ["ip", "link", "set", "veth-redis-br"]
    page.get_by_role("button", name="Find the cause").click()
    expect(page.locator("#diagnosis")).to_contain_text("No findings", timeout=10_000)
    subprocess.run([*port, "down"], check=True)
    try:
        expect(page.locator("#diagnosis")).to_contain_text("veth-redis-br", timeout=12_000)
        expect(page.locator("#diagnosis")).to_contain_text("Repair: ")
    finally:
        subprocess.run([*port, "up"], check=True)
    expect(page.locator("#headline")).to_contain_text("9 services up", timeout=5_000)


def test_a_blocked_flow_appears_with_its_policy_line_and_a_click_opens_its_story(
    page: Page, shots: Path
) -> None:
    expect(page.locator("#drops")).not_to_contain_text("database-closed")
    knock("redis-cache", "10.0.0.60", 5432)
    expect(page.locator("#drops")).to_contain_text("database-closed", timeout=3_000)
    expect(page.locator("#drops")).to_contain_text("redis-cache \u2192 postgres-db")
    page.get_by_label("last minute").check()
    edge = "redis-cache|postgres-db|database-closed"
    page.wait_for_function(f"id => {MAP}.$id(id).hasClass('dropped')", arg=edge, timeout=3_000)
    page.wait_for_timeout(300)
    click_on_map(page, edge)
    expect(page.locator("#story")).to_contain_text("dropped by the policy", timeout=10_000)
    expect(page.locator("#story")).to_contain_text("CNET-DROP-database-closed")
    expect(page.locator("#details")).to_contain_text("only the order service may use the database")
    page.screenshot(path=shots / "light.png", full_page=True)


def test_requests_are_seen_on_the_map_and_in_the_balance(page: Page) -> None:
    for _ in range(30):
        subprocess.run(["curl", "-s", "-o", "/dev/null", "http://localhost:8080/api/products"], check=True)
    expect(page.locator("#balance")).to_contain_text("product-3", timeout=3_000)
    label = page.evaluate(f"() => {MAP}.$id('nginx-lb|api-gateway').data('label')")
    assert "/s" in label


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (390, 844)])
def test_no_label_of_the_map_lies_under_or_over_another_thing(
    dashboard: Callable[..., Page], shots: Path, size: tuple[int, int]
) -> None:
    page = dashboard(viewport={"width": size[0], "height": size[1]})
    for _ in range(9):
        subprocess.run(["curl", "-s", "-o", "/dev/null", "http://localhost:8080/api/products"], check=True)
    page.wait_for_function(f"() => {MAP}.edges('.way').length > 6")
    page.wait_for_timeout(1500)
    page.screenshot(path=shots / f"map-{size[0]}.png", full_page=True)
    check_boxes(page)


def test_heartbeats_are_shown_on_demand(page: Page) -> None:
    assert page.evaluate(f"() => {MAP}.edges('.control').length") == 0
    page.get_by_label("heartbeats").check()
    page.wait_for_function(f"() => {MAP}.edges('.control').length > 3", timeout=3_000)


def test_the_chart_shows_the_ten_minutes_that_its_title_names(page: Page) -> None:
    page.wait_for_selector("#history .js-plotly-plot .xtick")
    first, last = page.evaluate(
        "() => document.querySelector('#history .js-plotly-plot')._fullLayout.xaxis.range.map(Date.parse)"
    )
    assert last - first == 600_000


def test_it_is_used_by_keyboard_alone(page: Page) -> None:
    page.locator("#place").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("option", name="nginx-lb").first).to_be_visible()
    page.keyboard.type("postgres")
    for other in ("nginx-lb", "api-gateway"):  # the second has a "p", too
        expect(page.get_by_role("option", name=other).first).not_to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#details")).to_contain_text("10.0.0.60/16", timeout=5_000)
    expect(page.locator("#details")).to_contain_text("the order service stores orders")
    assert page.evaluate("() => document.activeElement.closest('.side') !== null")
    page.locator("#close").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#details h2")).to_have_text("All services")
    assert page.evaluate("() => document.activeElement.id") == "close"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dark", {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}),
        (
            "phone-dark",
            {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "color_scheme": "dark"},
        ),
    ],
)
def test_it_fits_in_both_themes_and_on_a_phone(
    dashboard: Callable[..., Page], shots: Path, name: str, options: dict[str, Any]
) -> None:
    page = dashboard(**options)
    page.wait_for_timeout(1500)
    too_wide = page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.screenshot(path=shots / f"{name}.png", full_page=True)
    assert not too_wide
    assert (paper == "rgb(16, 23, 30)") == ("dark" in name)
