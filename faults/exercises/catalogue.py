"""The catalogue of faults: faults/catalogue/NAME/.

fault.toml      what the fault is; the fields of class Fault
break.sh        the commands that break the lab
repairs.sh      functions: right_... repairs it, wrong_... only seems to; the first right_... undoes break.sh exactly
explanation.md  what the kernel did, and the commands that show it; read after the repair

Texts and commands use the variables of targets.py ($NODE, $PORT ...), which the seed chooses.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from lab.topology import ROOT

CATALOGUE = ROOT / "faults" / "catalogue"
AREAS = ("link", "address", "route", "bridge", "host", "nat", "filter", "names", "program", "intermittent")
MAX_LEVEL = 5
_MIN_REPAIRS, _HINTS = 2, 3
_FUNCTION = re.compile(r"^((?:right|wrong)_\w+)\(\)", re.MULTILINE)


class CatalogueError(Exception):
    """A fault that is not valid; the text names its file."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What is wrong, in the words of `make diagnose`: a finding has the same kind, object and place."""

    kind: str
    object: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. `title` and `symptom` say what a user sees and never name the cause."""

    name: str  # of the folder
    title: str
    level: int  # 1 (seen at first sight) to 5
    area: str  # one of AREAS
    mechanism: str  # the part of the kernel, or of a program, that the exercise teaches
    lesson: str  # the name of a page in docs/lessons
    symptom: str
    cause: Cause
    hints: Sequence[str]  # from vague to direct
    topologies: Sequence[str] = ("flat",)
    node: Sequence[str] = ()  # programs; the seed chooses a node that runs one of them: $NODE
    peer: Sequence[str] = ()  # likewise: $PEER
    beyond_the_lab: bool = False  # whether it also changes what is not the lab's: then it needs a sandbox
    status: str = ""  # what `make status` says of it, a regular expression; empty: not tried
    up_heals: bool = (
        False  # whether `make up` repairs it; else the commands that status names, if it names any
    )
    needs: Mapping[str, str] = field(default_factory=dict)  # further variables, from others

    @property
    def slug(self) -> str:
        """The name of the exercise: its title in small letters. The folder's name would reveal the cause."""
        return slug_of(self.title)

    @property
    def folder(self) -> Path:
        """The folder of the fault."""
        return CATALOGUE / self.name

    @property
    def repairs(self) -> list[str]:
        """Return the functions of repairs.sh that repair the lab."""
        return self._functions("right_")

    @property
    def wrong_repairs(self) -> list[str]:
        """Return the functions of repairs.sh that only seem to."""
        return self._functions("wrong_")

    def _functions(self, prefix: str) -> list[str]:
        found = _FUNCTION.findall((self.folder / "repairs.sh").read_text(encoding="utf-8"))
        return [name for name in found if name.startswith(prefix)]


def load_catalogue() -> list[Fault]:
    """Return all faults, by level and name. Raises CatalogueError."""
    faults = [read_fault(path.parent.name) for path in CATALOGUE.glob("*/fault.toml")]
    by_slug = {fault.slug: fault.name for fault in faults}
    for fault in faults:
        if by_slug[fault.slug] != fault.name:
            raise CatalogueError(f"{fault.folder}/fault.toml: title: {by_slug[fault.slug]} has the same")
    return sorted(faults, key=lambda fault: (fault.level, fault.name))


def slug_of(title: str) -> str:
    """Return a title as a name: Large answers never arrive -> large-answers-never-arrive."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def find_fault(name: str) -> Fault:
    """Return the fault with this folder, title or slug. Raises CatalogueError."""
    for fault in load_catalogue():
        if name == fault.name or slug_of(name) == fault.slug:
            return fault
    raise CatalogueError(f"there is no exercise {name}; `make exercises` lists them")


def read_fault(name: str) -> Fault:
    """Read and check one folder. Raises CatalogueError."""
    path = CATALOGUE / name / "fault.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        fault = Fault(name=name, cause=Cause(**content.pop("cause")), **content)
        problem = next(_problems(fault), "")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CatalogueError(f"{path}: {error}") from error
    if problem:
        raise CatalogueError(f"{path}: {problem}")
    return fault


def _problems(fault: Fault) -> Iterator[str]:
    if fault.level not in range(1, MAX_LEVEL + 1):
        yield f"level: {fault.level} is not 1 to {MAX_LEVEL}"
    if fault.area not in AREAS:
        yield f"area: {fault.area} is none of {', '.join(AREAS)}"
    if len(fault.hints) != _HINTS:
        yield f"hints: {len(fault.hints)}, not {_HINTS}"
    try:
        re.compile(fault.status)
    except re.error as error:
        yield f"status: {error}"
    if not (ROOT / "docs" / "lessons" / f"{fault.lesson}.md").is_file():
        yield f"lesson: docs/lessons has no {fault.lesson}.md"
    for file in ("break.sh", "repairs.sh", "explanation.md"):
        if not (fault.folder / file).is_file():
            yield f"there is no {file} beside it"
            return
    if len(fault.repairs) < _MIN_REPAIRS or len(fault.wrong_repairs) < _MIN_REPAIRS:
        yield f"repairs.sh: at least {_MIN_REPAIRS} functions right_... and {_MIN_REPAIRS} wrong_... are needed"


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """Replace the variables in a text. Raises CatalogueError for one that is unknown."""
    try:
        return Template(text).substitute(variables)
    except (KeyError, ValueError) as error:
        raise CatalogueError(f"no such variable: {error}: {text}") from error


def function_in_words(function: str) -> str:
    """Return the name of a repair as a sentence: right_set_the_mtu -> set the mtu."""
    return function.partition("_")[2].replace("_", " ")
