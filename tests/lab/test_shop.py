"""The shop in a real browser, through the published port. Runs in a sandbox with a lab (tests/bats/shop.bats)."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, Route, expect

URL = os.environ.get("SHOP_URL", "")

pytest_plugins = ["tests.lab.browsing"]  # the fixtures
pytestmark = pytest.mark.skipif(not URL, reason="needs a lab: tests/bats/shop.bats")


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    return opened(URL, refusals=True, viewport={"width": 1280, "height": 800})


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def fill_in(page: Page, quantity: str, name: str) -> None:
    page.get_by_label("Product").select_option("Mouse")
    page.get_by_label("Quantity").fill(quantity)
    page.get_by_label("Your name").fill(name)


def order(page: Page) -> None:
    page.get_by_role("button", name="Place the order").click()


def test_the_catalogue_shows_price_and_stock(page: Page) -> None:
    card = page.locator("#catalogue li", has_text="Keyboard")
    expect(card).to_contain_text("79.99")
    expect(card).to_contain_text("150 in stock")
    expect(page.locator("#catalogue li")).to_have_count(3)


def test_each_answer_names_its_instance_and_they_take_turns(page: Page) -> None:
    for count in range(1, 7):
        expect(page.locator("#answers li")).to_have_count(count)
        page.get_by_role("button", name="Ask again").click()
    expect(page.locator("#answers li")).to_have_count(7)
    counts = Counter(mark.get_attribute("title") for mark in page.locator("#answers li").all())
    assert set(counts) == {"product-1", "product-2", "product-3"}
    assert max(counts.values()) - min(counts.values()) <= 2  # each worker of the gateway has its own turn


def test_an_order_is_stored_and_read_back_with_the_sum_as_javascript_makes_it(page: Page) -> None:
    page.get_by_label("Product").select_option("Keyboard")
    fill = page.get_by_label("Quantity")
    fill.fill("3")  # 3 * 79.99 is 239.96999999999997
    page.get_by_label("Your name").fill("Zo\u00eb <b>O'Hara</b>")
    expect(page.locator("#total")).to_have_text("239.97")
    order(page)
    receipt = page.locator("#receipt")
    expect(receipt).to_contain_text("3 \u00d7 Keyboard")
    expect(receipt).to_contain_text("239.97")
    expect(receipt).to_contain_text("Zo\u00eb <b>O'Hara</b>")
    number = receipt.locator("dd").first.inner_text()
    page.get_by_label("Order number").fill(number)
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#found")).to_contain_text("3 \u00d7 Keyboard")


@pytest.mark.parametrize(
    ("quantity", "name", "problem"),
    [
        ("0", "Ann", "a whole number, at least 1"),
        ("1.5", "Ann", "a whole number, at least 1"),
        ("", "Ann", "a whole number, at least 1"),
        ("1", "  ", "enter your name"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_sent(
    page: Page, quantity: str, name: str, problem: str
) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    fill_in(page, quantity, name)
    order(page)
    expect(page.locator("#order-problem")).to_contain_text(problem)
    expect(page.locator("[aria-invalid=true]")).to_be_focused()
    assert "POST" not in sent


def test_what_the_shop_refuses_is_told_in_a_customers_words(page: Page) -> None:
    fill_in(page, "2000000", "Ann")  # more than one order may have
    order(page)
    expect(page.locator("#order-problem")).to_have_text(re.compile("does not accept"))
    expect(page.get_by_label("Quantity")).to_be_focused()
    page.get_by_label("Order number").fill("2147483647")
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#find-problem")).to_have_text("There is no such order.")


def test_an_order_that_got_no_answer_is_sent_again_and_stored_once(page: Page) -> None:
    fill_in(page, "2", "Ben")
    numbers = []

    def lose_the_answer(route: Route) -> None:
        asked = route.request
        answer = requests.post(asked.url, asked.post_data, headers=asked.headers, timeout=5)
        numbers.append(answer.json()["order_id"])
        route.abort()

    page.route("**/api/orders", lose_the_answer)
    order(page)
    expect(page.locator("#order-problem")).to_contain_text("Sending it again does not order twice.")
    page.unroute("**/api/orders")
    order(page)
    expect(page.locator("#receipt dd").first).to_have_text(str(numbers[0]))


def test_without_a_database_the_page_says_so_and_the_catalogue_stays(page: Page) -> None:
    port = ("ip", "link", "set", "veth-pg-br")
    run(*port, "down")
    try:
        fill_in(page, "1", "Cleo")
        order(page)
        expect(page.locator("#order-problem")).to_contain_text("try again in a moment", timeout=12_000)
        page.get_by_role("button", name="Ask again").click()
        expect(page.locator("#answers li")).to_have_count(2)
    finally:
        run(*port, "up")
    order(page)
    expect(page.locator("#receipt")).to_contain_text("1 \u00d7 Mouse", timeout=15_000)


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    expect(page.locator("#catalogue li")).to_have_count(3)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the skip link
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("() => document.activeElement.name || document.activeElement.textContent.trim()")
        )
    assert reached[:4] == ["product", "quantity", "customer", "Place the order"]
    assert reached[4:6] == ["number", "Show it"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (390, 844)])
def test_it_fits_every_screen_in_both_themes(
    opened: Callable[..., Page], shots: Path, size: tuple[int, int], theme: str
) -> None:
    width, height = size
    page = opened(URL, viewport={"width": width, "height": height}, color_scheme=theme)
    expect(page.locator("#catalogue li")).to_have_count(3)
    fill_in(page, "2", "Dora")
    order(page)
    expect(page.locator("#receipt")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.screenshot(path=shots / f"shop-{width}x{height}-{theme}.png", full_page=True)
