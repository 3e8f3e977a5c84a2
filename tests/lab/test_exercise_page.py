"""An exercise in the dashboard's page, in a browser, beside an exercise that runs (tests/bats/exercise_page.bats)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import requests
from playwright.sync_api import Page, expect

URL = os.environ.get("EXERCISE_URL", "")
PORT = os.environ.get("EXERCISE_PORT", "")  # the end of the veth pair that is broken

pytest_plugins = ["tests.lab.browsing"]  # the fixtures
pytestmark = pytest.mark.skipif(not URL, reason="needs an exercise: tests/bats/exercise_page.bats")

SIZES = [(1280, 800), (1920, 1080), (390, 844)]


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    page = opened(URL, viewport={"width": 1280, "height": 800})
    expect(page.locator("#exercise-symptom")).to_contain_text("large answer", timeout=20_000)
    return page


def type_on_host(page: Page, command: str) -> None:
    if not page.get_by_role("tab", name="host").count():
        page.get_by_role("button", name="Terminal in host").click()
    page.get_by_role("textbox", name="Terminal: host").focus()
    expect(page.locator(".dock-pane:visible .xterm-rows")).to_contain_text("[exercise ")
    page.keyboard.type(command + "\n")


def check(page: Page) -> None:
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#exercise-status")).to_contain_text("trying what must work")
    expect(page.locator(".exercise-verdict")).to_be_visible(timeout=30_000)


def test_the_commands_are_refused_without_the_token_or_from_another_origin() -> None:
    base, _, token = URL.partition("/#token=")
    good = {"Origin": base, "Authorization": f"Bearer {token}"}
    for headers, status in (
        ({"Origin": base}, 403),
        ({"Authorization": good["Authorization"]}, 403),
        (good | {"Authorization": "Bearer x"}, 403),
        (good | {"Origin": "http://localhost:8080"}, 403),
        (good | {"Origin": "http://evil.example"}, 403),
        (good | {"Host": "evil.example"}, 403),
        (good, 200),
    ):
        answer = requests.post(f"{base}/exercise/symptom", headers=headers, timeout=10)
        assert answer.status_code == status, headers
    assert requests.post(f"{base}/exercise/exit", headers=good, timeout=10).status_code == 404
    assert answer.json()["outcome"] is None


def test_the_symptom_a_hint_a_wrong_state_and_a_reset(page: Page, shots: Path) -> None:
    expect(page.locator("#exercise h2")).to_have_text("Large answers never arrive")
    expect(page.locator("#exercise-score")).to_have_text("Level 3 \u00b7 60 of 60 points left")
    check(page)
    expect(page.locator(".exercise-verdict")).to_have_text(
        re.compile(r"Not repaired: \d+ of \d+ tests fail\.")
    )
    expect(page.locator("[data-grade='still broken']")).to_contain_text("full-size packets")
    page.get_by_role("button", name="Hint (costs 15)").click()
    expect(page.locator("#exercise-hints li")).to_have_count(1)
    expect(page.locator("#exercise-score")).to_have_text("Level 3 \u00b7 45 of 60 points left")
    page.screenshot(path=shots / "exercise-hint.png")
    type_on_host(page, "iptables -I FORWARD -j DROP; clear; echo do''ne")
    expect(page.locator(".dock-pane:visible .xterm-rows")).to_contain_text("done")
    check(page)
    expect(page.locator("[data-grade='broken since']")).to_contain_text("pings from")
    page.screenshot(path=shots / "exercise-broken-since.png")
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#exercise-status")).to_contain_text("your changes are undone", timeout=30_000)
    type_on_host(page, "clear; iptables -C FORWARD -j DROP 2>&1 | wc -l; hint")
    expect(page.locator("#exercise-hints li")).to_have_count(
        2, timeout=8_000
    )  # as it was asked for in the terminal


def test_the_diagnosis_is_closed_during_the_exercise(page: Page) -> None:
    page.get_by_role("button", name="Hide").click()
    page.get_by_role("button", name="Find the cause").click()
    expect(page.locator("#diagnosis")).to_contain_text("Not during the exercise", timeout=15_000)
    expect(page.locator("#diagnosis .bad")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_panel_fits_in_each_size_and_theme(
    opened: Callable[..., Page], shots: Path, size: tuple[int, int], theme: Literal["light", "dark"]
) -> None:
    page = opened(URL, viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    expect(page.locator("#exercise-hints li")).to_have_count(2)
    type_on_host(page, "clear; ip -br addr show uplink")
    expect(page.locator(".dock-pane:visible .xterm-rows")).to_contain_text("203.0.113.1/24")
    page.wait_for_timeout(1500)
    page.screenshot(path=shots / f"exercise-{size[0]}-{theme}.png")
    assert not page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
    panel = page.locator("#exercise").bounding_box()
    assert panel
    assert panel["x"] + panel["width"] <= size[0]
    expect(page.get_by_role("button", name="Check")).to_be_in_viewport()


def test_giving_up_asks_first(page: Page) -> None:
    page.get_by_role("button", name="Give up").click()
    expect(page.get_by_role("button", name="No, go on")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#exercise-status")).to_be_empty()
    expect(page.locator("#exercise-explanation")).to_be_empty()


def test_the_repair_typed_in_the_page_turns_the_check_green_and_opens_the_explanation(
    page: Page, shots: Path
) -> None:
    type_on_host(page, f"ip link set {PORT} mtu 1500")
    check(page)
    expect(page.locator(".exercise-verdict")).to_have_text(re.compile("Repaired: everything works"))
    expect(page.locator("[data-grade='repaired']")).to_contain_text("full-size packets")
    expect(page.locator("#exercise-score")).to_have_text("Level 3 \u00b7 solved: 30 of 60 points")
    expect(page.locator("#exercise-explanation code").first).to_be_visible()
    expect(page.locator("#exercise-explanation")).to_contain_text("is_skb_forwardable")
    page.screenshot(path=shots / "exercise-solved.png")
    page.get_by_role("button", name="Hide").click()
    page.get_by_role("button", name="Find the cause").click()
    expect(page.locator("#diagnosis .good, #diagnosis .findings")).to_be_visible(timeout=15_000)
