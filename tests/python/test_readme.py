"""The README and the lessons: each target of make is there, and nothing they lead to is missing."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
MIN_WORDS, MAX_RATIO = 4, 3.1  # words that describe a picture; a wider one has no readable text on a page
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_page_of_commands_has_every_target_of_make() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    assert len(TARGETS) > 40
    missing = {name for name in TARGETS if not re.search(rf"make {name}\b|`{name}`", page)}
    assert missing <= {"help"}  # which is what make alone does


def test_the_readme_is_read_in_a_minute() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


def test_the_index_leads_to_every_page_of_the_documentation() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_of_make_that_is_not_there(page: Path) -> None:
    named = re.findall(r"(?:`|\$ |sudo )make ([a-z][a-z-]*)", page.read_text())
    assert set(named) <= set(TARGETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_picture_is_there_and_said_in_words(page: Path) -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())
    assert [name for words, name in pictures if len(words.split()) < MIN_WORDS] == []
    assert [name for _, name in pictures if not (page.parent / name).is_file()] == []


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs/images").glob("*.png")))
def test_a_picture_is_no_ribbon_and_is_shown(name: str) -> None:
    width, height = struct.unpack(">II", (ROOT / "docs/images" / name).read_bytes()[16:24])
    assert 1 / 1.6 < width / height < MAX_RATIO
    stem = name.removesuffix(".png")
    assert any(re.search(rf"images/{stem}\.(png|svg)", page.read_text()) for page in PAGES)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name
)
def test_no_command_picks_processes_of_the_whole_machine_by_their_name(page: Path) -> None:
    """A reader's own Redis has the same name as the lab's: lessons take pids from `ip netns pids`."""
    assert re.findall(r"\b(?:pkill|pgrep|killall|pidof)\b", page.read_text()) == []
