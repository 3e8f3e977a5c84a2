"""The dashboard in the browser for the tests of its page; see tests/lab/browsing.py."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from playwright.sync_api import Page

URL = os.environ.get("DASHBOARD_URL", "")
MAP = "document.querySelector('#map')._cyreg.cy"


@pytest.fixture
def dashboard(opened: Callable[..., Page]) -> Callable[..., Page]:
    """Return a function that opens the dashboard and waits until its map has its flows and is fitted to its place."""

    def open_dashboard(**options: Any) -> Page:
        page: Page = opened(URL, **options)
        page.wait_for_function(f"() => ({FITTED})() && {MAP}.edges().length > 3", timeout=20_000)
        return page

    return open_dashboard


@pytest.fixture
def page(dashboard: Callable[..., Page]) -> Page:
    return dashboard(viewport={"width": 1280, "height": 800})


def pids(namespace: str) -> list[int]:
    listed = subprocess.run(
        ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True
    ).stdout
    return [int(pid) for pid in listed.split()]


def click_on_map(page: Page, element: str) -> None:
    """Click with the mouse on a node, or on the middle of an edge, once the map is fitted to its place."""
    page.wait_for_function(FITTED)
    find = "one => one.isNode() ? one.renderedPosition() : one.renderedMidpoint()"
    at: dict[str, float] = {}
    while at != (now := page.evaluate(f"id => ({find})({MAP}.$id(id))", element)):
        at = now
        page.wait_for_timeout(300)
    corner = page.locator("#map").bounding_box()
    assert corner
    page.mouse.click(corner["x"] + at["x"], corner["y"] + at["y"])


FITTED = """() => {
  const cy = document.querySelector('#map')?._cyreg?.cy;
  return cy?.nodes().nonempty() && cy.nodes().every(one => {
    const {x1, x2, y1, y2} = one.renderedBoundingBox({includeLabels: false});
    return x1 >= 0 && x2 <= cy.width() && y1 >= 0 && y2 <= cy.height();
  });
}"""
BOXES = """() => {
  const cy = document.querySelector('#map')._cyreg.cy;
  const box = ({x1, x2, y1, y2}) => [x1, x2, y1, y2];
  const alone = {includeOverlays: false, includeNodes: false, includeEdges: false};
  const nodes = cy.nodes().map(one => [one.id(), box(one.renderedBoundingBox({includeLabels: false}))]);
  const labels = cy.edges('.way').map(one => [one.id(), box(one.renderedBoundingBox(alone))]);
  const texts = cy.nodes().map(one => [one.id(), box(one.renderedBoundingBox(alone))]);
  return {nodes, labels, texts, size: cy.nodes()[0].numericStyle('font-size') * cy.zoom(), width: cy.width(),
    height: cy.height()};
}"""


def overlap(one: list[float], other: list[float]) -> bool:
    """Return whether two boxes (x1, x2, y1, y2) share more than a pixel."""
    return (
        min(one[1], other[1]) - max(one[0], other[0]) > 1
        and min(one[3], other[3]) - max(one[2], other[2]) > 1
    )


def check_boxes(page: Page) -> None:
    """Check that no node or label lies over another, each text fits into its node, and names can be read."""
    boxes = page.evaluate(BOXES)
    things = [*boxes["nodes"], *boxes["labels"]]
    assert [
        (one, other) for (one, box), (other, second) in combinations(things, 2) if overlap(box, second)
    ] == []
    inside = dict(boxes["nodes"])
    assert [name for name, box in boxes["texts"] if box[1] - box[0] > inside[name][1] - inside[name][0]] == []
    assert boxes["size"] >= 10
    assert all(
        box[0] >= 0 and box[1] <= boxes["width"] and box[2] >= 0 and box[3] <= boxes["height"]
        for _, box in things
    )
