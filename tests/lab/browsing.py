"""A browser for the tests of pages. Each page is watched: its scripts do not fail, and it asks no other host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_REFUSED = "Failed to load resource"  # what the browser says of an answer 4xx or 5xx


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Yield a function that opens a page: (URL, options of its context; refusals=True: answers 4xx, 5xx are fine)."""
    errors: list[str] = []
    pages: list[Page] = []

    def open_page(url: str, *, refusals: bool = False, **options: Any) -> Page:
        page = browser.new_context(**options).new_page()
        pages.append(page)

        def note(message: ConsoleMessage) -> None:
            if message.type == "error" and not (refusals and message.text.startswith(_REFUSED)):
                errors.append(message.text)

        def from_here(request: Request) -> None:
            if not request.url.startswith((url.partition("#")[0], "data:", "blob:")):
                errors.append(f"asked of somebody else: {request.url}")

        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", from_here)
        page.goto(url)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert errors == []


@pytest.fixture
def shots() -> Path:
    """Return the folder for screenshots."""
    folder = Path(os.environ.get("SHOTS", "/run/shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
