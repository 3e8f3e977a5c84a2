"""Each lesson page says what it needs, ends with exercises and a question, and leads to the pages before and after."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lessons import ROOT, read_lesson

from faults.exercises.catalogue import load_catalogue

LESSONS = ROOT / "docs/lessons"
ORDER = re.findall(r"\]\(lessons/([\w-]+)\.md\) \|", (ROOT / "docs/README.md").read_text())
FAULTS = load_catalogue()
WORDS_A_MINUTE, COMMANDS_A_MINUTE = 150, 4


def page(name: str) -> str:
    return (LESSONS / f"{name}.md").read_text()


def title(name: str) -> str:
    return page(name).partition("\n")[0].removeprefix("# ")


def exercises_in(text: str) -> list[str]:
    return re.findall(r"\bmake exercise NAME=([\w-]+)", text)


def test_the_index_has_each_lesson_once_and_the_first_hour_first() -> None:
    assert sorted(ORDER) == sorted(path.stem for path in LESSONS.glob("*.md"))
    assert ORDER[:2] == ["first-hour", "it-does-not-work"]


@pytest.mark.parametrize("name", ORDER)
def test_a_page_says_at_its_top_what_it_needs(name: str) -> None:
    top = page(name).partition("\n## ")[0]
    needs = re.search(r"^Start: `[^`]+`\. You need (\d+) minutes and (\w+ terminals?\b)", top, re.MULTILINE)
    assert needs, top
    indexed = re.search(
        rf"\(lessons/{name}\.md\).*\| (\d+) \|$", (ROOT / "docs/README.md").read_text(), re.MULTILINE
    )
    assert indexed
    assert indexed[1] == needs[1]


@pytest.mark.parametrize("name", ORDER)
def test_the_minutes_are_enough_to_read_the_page_and_to_type_its_commands(name: str) -> None:
    needs = re.search(r"You need (\d+) minutes", page(name))
    assert needs
    words = len(re.sub(r"```.*?```", "", page(name), flags=re.DOTALL).split())
    commands = len(read_lesson(LESSONS / f"{name}.md").commands)
    minutes = words / WORDS_A_MINUTE + commands / COMMANDS_A_MINUTE
    assert minutes <= int(needs[1]) <= minutes + 5  # the commands themselves take a few


@pytest.mark.parametrize("name", ORDER)
def test_a_page_ends_with_exercises_and_a_question_whose_answer_is_a_commands_output(name: str) -> None:
    end = page(name).partition("\n## Try it\n")[2]
    assert "\n## " not in end
    assert 2 <= len(exercises_in(end)) <= 3
    assert re.search(
        r"\*\*Check:\*\* .*\?\s.*<details><summary>Answer</summary>\n\n```console\n\$ ", end, re.DOTALL
    )


@pytest.mark.parametrize("name", ORDER)
def test_a_page_leads_to_the_pages_before_and_after_it(name: str) -> None:
    at = ORDER.index(name)
    last = page(name).rstrip().rpartition("\n\n")[2].replace("\n", " ")
    neighbours = [
        f"{word}: [{title(other)}]({other}.md)"
        for word, other in zip(
            ("Previous", "Next"), (*ORDER[at - 1 : at], *ORDER[at + 1 : at + 2]), strict=False
        )
    ]
    if at == 0:
        neighbours = [f"Next: [{title(ORDER[1])}]({ORDER[1]}.md)"]
    assert last.startswith(" \u00b7 ".join(neighbours)), last


def test_every_exercise_that_a_page_names_is_in_the_catalogue() -> None:
    slugs = {fault.slug for fault in FAULTS}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {(path.name, slug) for path in pages for slug in exercises_in(path.read_text())}
    assert {(where, slug) for where, slug in named if slug not in slugs} == set()


def test_every_fault_names_a_lesson_page() -> None:
    assert FAULTS
    assert {fault.name for fault in FAULTS if not (LESSONS / f"{fault.lesson}.md").is_file()} == set()


def test_every_area_of_the_catalogue_is_exercised_by_a_step_of_the_method() -> None:
    method = page("it-does-not-work")
    assert {fault.area for fault in FAULTS if f"`{fault.area}`" not in method} == set()


def test_the_pages_with_pictures_have_them() -> None:
    for name in ("network", "policies", "it-does-not-work"):
        assert "](../images/hooks.svg)" in page(name)
    for path in LESSONS.glob("*.md"):
        for image in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text()):
            assert (Path(path.parent) / image).is_file(), (path.name, image)
