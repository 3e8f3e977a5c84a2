"""The terminal in a browser. Runs in a sandbox with a lab and a dashboard (tests/bats/terminal.bats)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from dashboards import click_on_map
from playwright.sync_api import Locator, Page, expect
from terminals import BASE, TOKEN, URL, shells, wait_until

pytest_plugins = ["tests.lab.browsing"]  # the fixtures
pytestmark = pytest.mark.skipif(not URL, reason="needs a dashboard: tests/bats/terminal.bats")


@pytest.fixture
def page(opened: Callable[..., Page]) -> Iterator[Page]:
    """Yield the page as the printed URL opens it."""
    page = opened(URL, viewport={"width": 1280, "height": 800})
    expect(page.locator("#terminal-place option")).to_have_count(10, timeout=20_000)
    yield page
    page.close()
    wait_until(lambda: shells() == [])


def open_terminal(page: Page, place: str) -> None:
    page.get_by_label("Shell on").select_option(place)
    page.get_by_role("button", name=f"Terminal in {place}", exact=True).click()
    expect(page.get_by_role("textbox", name=f"Terminal: {place}")).to_be_focused()
    expect(screen(page)).to_contain_text("] /")  # the prompt


def screen(page: Page) -> Locator:
    return page.locator(".dock-pane:visible .xterm-rows")


def test_a_command_typed_in_the_page_runs_in_the_node_that_was_chosen(page: Page, shots: Path) -> None:
    open_terminal(page, "redis-cache")
    page.keyboard.type("ip -br addr; ls --color=always services\n")
    expect(screen(page)).to_contain_text("10.0.0.50/16")
    page.screenshot(path=shots / "terminal-1280.png")
    page.keyboard.type("exit 3\n")
    expect(page.locator(".dock-ended")).to_contain_text("The shell has ended (exit status 3).")
    again = page.get_by_role("button", name="New terminal in redis-cache")
    expect(again).to_be_focused()
    page.screenshot(path=shots / "ended.png")
    again.click()
    expect(screen(page)).to_contain_text("[redis-cache]")


def test_the_token_leaves_the_address_bar_and_outlives_a_reload(page: Page) -> None:
    assert page.url == f"{BASE}/"
    page.reload()
    open_terminal(page, "host")
    assert TOKEN not in page.content()


def test_a_node_chosen_on_the_map_gets_a_terminal(page: Page) -> None:
    click_on_map(page, "postgres-db")
    page.get_by_role("button", name="Terminal here: postgres-db").click()
    expect(screen(page)).to_contain_text("[postgres-db]")


def test_the_keyboard_leaves_the_terminal_and_tab_completes_in_it(page: Page) -> None:
    open_terminal(page, "host")
    page.keyboard.type("echo in-the-shell; cat READM")
    page.keyboard.press("Tab")
    expect(screen(page)).to_contain_text("README.md")
    page.keyboard.press("Shift+Tab")
    page.wait_for_timeout(200)
    expect(page.get_by_role("textbox", name="Terminal: host")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("() => document.activeElement.closest('.xterm') === null")
    page.keyboard.press("Tab")
    expect(page.get_by_role("textbox", name="Terminal: host")).to_be_focused()


def test_two_terminals_are_two_tabs_and_a_closed_one_ends_its_shell(page: Page) -> None:
    open_terminal(page, "host")
    open_terminal(page, "product-2")
    assert len(shells()) == 2
    page.get_by_role("tab", name="host").click()
    expect(screen(page)).to_contain_text("[host]")
    page.get_by_role("button", name="Close the terminal in host").click()
    wait_until(lambda: len(shells()) == 1)
    expect(screen(page)).to_contain_text("[product2]")


def test_a_page_without_the_token_says_where_it_is(opened: Callable[..., Page]) -> None:
    page = opened(BASE, refusals=True)
    expect(page.locator(".dock-note")).to_contain_text("open the URL that the dashboard printed")
    expect(page.locator("#terminal-open")).to_be_disabled()
    page.evaluate("token => { location.hash = 'token=' + token; }", TOKEN)
    expect(page.locator("#terminal-open")).to_be_enabled()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (390, 844)])
def test_the_terminal_fits_in_each_size_and_theme(
    opened: Callable[..., Page], shots: Path, size: tuple[int, int], theme: Literal["light", "dark"]
) -> None:
    page = opened(URL, viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    open_terminal(page, "api-gateway")
    page.keyboard.type("ip -c route; ls --color=always; stty size\n")
    expect(screen(page)).to_contain_text("default via")
    page.wait_for_timeout(1500)
    page.screenshot(path=shots / f"terminal-{size[0]}-{theme}.png")
    assert not page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
    dock, rows = page.locator("#dock").bounding_box(), screen(page).bounding_box()
    assert dock
    assert rows
    assert dock["y"] + dock["height"] <= size[1] + 1
    assert rows["x"] + rows["width"] <= size[0]
    background = "() => getComputedStyle(document.querySelector('.xterm-scrollable-element')).backgroundColor"
    paper = page.evaluate(background)
    assert paper == ("rgb(24, 34, 44)" if theme == "dark" else "rgb(255, 255, 255)")
    page.close()
    wait_until(lambda: shells() == [])
