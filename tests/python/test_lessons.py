"""The lessons' commands: how they are read and compared, and what can be said of them without a lab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lessons import ROOT, Command, Lesson, LessonError, difference, judge, lessons, read_lesson

LESSONS = {lesson.page: lesson for lesson in lessons()}
RUN_BY_BATS = re.findall(
    r"^ *lessons_from '([^']+)'", (ROOT / "tests/bats/lessons.bats").read_text(), re.MULTILINE
)
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_lesson_names_its_start_and_is_run_from_it_or_says_why_not() -> None:
    assert len(LESSONS) > 15
    assert {page for page, lesson in LESSONS.items() if not lesson.start} == set()
    assert {lesson.start for lesson in LESSONS.values() if not lesson.not_run} == set(RUN_BY_BATS)


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=LESSONS.keys())
def test_every_target_and_script_that_a_lesson_types_is_there(lesson: Lesson) -> None:
    for command in lesson.commands:
        assert set(re.findall(r"\bmake ([a-z][a-z-]*)", command.text)) <= TARGETS
        for script, argument in re.findall(
            r"((?:scripts|security|monitoring|docker|bench)/\w+\.sh)(?: (\w+))?", command.text
        ):
            manual = (ROOT / script).read_text()
            assert f"{script} {argument}".strip() in manual, command.place


def read(tmp_path: Path, text: str) -> Lesson:
    page = tmp_path / "page.md"
    page.write_text(text)
    return read_lesson(page)


def test_commands_are_read_with_what_is_shown_after_them(tmp_path: Path) -> None:
    lesson = read(
        tmp_path,
        "# T\n\nStart: `sudo make up`. Tests do not run these commands: they want\nDocker.\n\n"
        "```\n$ no console\n```\n```console\n$ one \\\n    two  # why\nshown\n\n$ three\n```\n",
    )
    assert (lesson.start, lesson.not_run) == ("sudo make up", "they want Docker")
    assert [(command.line, command.text, command.shown) for command in lesson.commands] == [
        (10, "one \\\n    two  # why", ("shown", "")),
        (14, "three", ()),
    ]
    assert lesson.commands[0].comment == " why"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["pid 12  3.5 ms"], ["pid 7 41 ms"]),
        (["at 2026-11-23T05:46:29.5Z"], ["at 2027-01-01T00:00:00Z"]),
        (["a 10.0.0.1/16 b  # a remark"], ["a   10.0.0.1/16 b"]),
        (["src=... dst", "...", "end"], ["src=1 dst", "x", "end", "end"]),
        (["...", "x", "..."], ["x"]),
        (["Killed"], ["bash: line 20: 17675 Killed       sudo something"]),
        (["one"], ["one", "make: *** [Makefile:1: x] Error 1"]),
    ],
)
def test_equal_but_for_numbers_times_and_what_is_left_out(shown: list[str], printed: list[str]) -> None:
    assert difference(shown, printed) == ""


@pytest.mark.parametrize(
    ("shown", "printed", "why"),
    [
        (["a 10.0.0.1 b"], ["a 10.0.0.2 b"], "not printed: a 10.0.0.1 b"),
        (["02:42:0a:00:00:32"], ["02:42:0a:00:00:33"], "not printed: 02:42:0a:00:00:32"),
        (["at fd00::10/64 b"], ["at fd00::20/64 b"], "not printed: at fd00::10/64 b"),
        (["one"], ["one", "two"], "not shown: two"),
        (["one", "...", "three"], ["one", "two"], "not printed: three"),
        (["x"], [], "not printed: x"),
    ],
)
def test_everything_else_is_a_difference(shown: list[str], printed: list[str], why: str) -> None:
    assert difference(shown, printed) == why


def test_a_command_that_shows_nothing_must_succeed() -> None:
    judge(Command("page.md", 1, "true", ()), "anything", 0)
    with pytest.raises(LessonError, match=r"page\.md:1: \$ false\n  exit status 1"):
        judge(Command("page.md", 1, "false", ()), "", 1)
