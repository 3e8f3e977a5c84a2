"""Who may use whom, as CONTRIBUTING has it, for Python imports and bash calls alike; and no circle of imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import pytest
from house import ROOT, bash_files, hold, lines_of, python_files, tree_of

ARROWS = re.search(r"\*\*Who may use whom\*\*[^`]*`([^`]+)`", (ROOT / "CONTRIBUTING.md").read_text())
assert ARROWS is not None
LEVELS = [re.findall(r"[\w/]+", level) for level in ARROWS[1].split("->")]
LEVEL = {room: number for number, rooms in enumerate(reversed(LEVELS)) for room in rooms}

# What bash calls: a path from the root, a file beside the script, a module.
CALLS = re.compile(
    r"""\$\{?ROOT\}?"?/(?P<path>[\w./-]+)
      | (?:dirname\ "\$\{BASH_SOURCE(?:\[0\])?\}"\)"?|\$\{BASH_SOURCE(?:\[0\])?%/\*\})/(?P<beside>[\w./-]+)
      | python3?"?\ -m\ (?P<module>[a-z_]+(?:\.[a-z_]+)*)
    """,
    re.VERBOSE,
)


def room_of(path: str) -> str:
    first, *rest = path.split("/")
    return "scripts/lib" if first == "scripts" and rest[:1] == ["lib"] else first


def normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def called_in(path: str, line: str) -> Iterator[str]:
    for call in CALLS.finditer(line.partition(" # ")[0]):
        if re.match(r"\S*\.tsv\b", line[call.end() :]):
            continue  # a table is data, wherever it lies
        if call["path"]:
            yield call["path"]
        elif call["beside"]:
            yield normal(PurePosixPath(path).parent / call["beside"])
        else:
            yield call["module"].replace(".", "/")


def bash_uses() -> Iterator[tuple[str, str]]:
    for path in bash_files():
        for line in lines_of(path):
            if not line.lstrip().startswith("#"):
                yield from ((path, called) for called in called_in(path, line))


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_in(node: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported anywhere below, but for those that only types need."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (name.name for name in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
            yield from (f"{child.module}.{name.name}" for name in child.names)
        elif not only_for_types(child):
            yield from imported_in(child)


def imports() -> dict[str, set[str]]:
    """Return for each file what it imports of this repository's, as paths without .py."""
    names = {path.removesuffix(".py").removesuffix("/__init__") for path in python_files()}
    return {
        path: {name.replace(".", "/") for name in imported_in(tree_of(path))} & names
        for path in python_files()
    }


def is_against_the_arrows(user: str, used: str) -> bool:
    room, other = room_of(user), room_of(used)
    if room == "services":
        return other in LEVEL
    return room in LEVEL and other in LEVEL and LEVEL[other] > LEVEL[room]


def test_contributing_names_every_room() -> None:
    assert {
        "scripts",
        "tests",
        "bench",
        "docker",
        "monitoring",
        "security",
        "lab",
        "topology",
    } <= LEVEL.keys()


def test_python_and_bash_use_only_rooms_below_theirs() -> None:
    uses = {*bash_uses(), *((user, used) for user, all_used in imports().items() for used in all_used)}
    against = {f"{user} -> {used}": 1 for user, used in uses if is_against_the_arrows(user, used)}
    hold("use", against)


def test_no_imports_go_in_a_circle() -> None:
    graph = {user.removesuffix(".py").removesuffix("/__init__"): used for user, used in imports().items()}
    left = {user: sorted(graph[user] - {user}) for user in sorted(graph)}
    circles = {}
    while circle := first_circle(left):
        left[circle[0]].remove(circle[1])  # the circle is found once; its other imports may be in another
        circles[" -> ".join(circle)] = 1
    hold("circle", circles)


def first_circle(graph: dict[str, list[str]]) -> list[str]:
    """Return the modules of a circle, from its first by name to that one again; nothing if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring = error.args[1][:0:-1]  # graphlib lists each module before one that imports it
        first = ring.index(min(ring))
        return [*ring[first:], *ring[:first], ring[first]]
    return []


@pytest.mark.parametrize(
    ("line", "called"),
    [
        ('source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"', "scripts/lib/common.sh"),
        ('"$ROOT/security/policy.sh" up >/dev/null', "security/policy.sh"),
        ('(cd "$ROOT" && "$VENV/bin/python" -m security.mutants)', "security/mutants"),
        ('source "${BASH_SOURCE[0]%/*}/facts.sh"', "bench/facts.sh"),
    ],
)
def test_a_call_of_bash_is_seen(line: str, called: str) -> None:
    assert list(called_in("bench/network.sh", line)) == [called]


def test_a_use_against_the_arrows_is_seen() -> None:
    assert is_against_the_arrows("lab/topology.py", "security/policy")
    assert is_against_the_arrows("scripts/lib/common.sh", "scripts/lab.sh")
    assert is_against_the_arrows("services/order-service/app.py", "lab/topology")
    assert not is_against_the_arrows("security/policy.sh", "scripts/lib/common.sh")
    assert not is_against_the_arrows("bench/network.sh", "scripts/network.sh")
