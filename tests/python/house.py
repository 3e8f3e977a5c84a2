"""The files of the repository, and today's exceptions from the rules that test_sizes and test_rooms hold them to."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXCEPTIONS = Path(__file__).with_name("exceptions.tsv")


@cache
def files(*patterns: str) -> tuple[str, ...]:
    """Return the paths of files that git knows or would add, and that are there."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(sorted({path for path in listed.splitlines() if (ROOT / path).is_file()}))


def python_files() -> tuple[str, ...]:
    return files("*.py")


def bash_files() -> tuple[str, ...]:
    return files("*.sh", "*.bash", "*.bats", ".ci/run")


def lines_of(path: str) -> list[str]:
    return (ROOT / path).read_text().splitlines()


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), path)


def read_exceptions() -> dict[tuple[str, str], int]:
    """Return by how much each rule may be broken today, by rule and place."""
    rows = (line.split("\t") for line in EXCEPTIONS.read_text().splitlines() if not line.startswith("#"))
    return {(rule, where): int(most) for rule, where, most in rows}


def hold(rule: str, found: Mapping[str, int]) -> None:
    """Fail for each thing beyond its exception, and for each exception that is no longer needed."""
    allowed = {where: most for (kind, where), most in read_exceptions().items() if kind == rule}
    beyond = [f"{rule}: {where}: {size}" for where, size in found.items() if size > allowed.get(where, 0)]
    if os.environ.get("SHRINK") and not beyond:
        shrink(rule, found)
        return
    unused = [
        f"{EXCEPTIONS.name}: remove {rule} {where}: no longer needed" for where in allowed.keys() - found
    ]
    if beyond or unused:
        pytest.fail("\n".join(sorted(beyond + unused)), pytrace=False)


def shrink(rule: str, found: Mapping[str, int]) -> None:
    """Write the exceptions of a rule as they are needed now."""
    others = {key: most for key, most in read_exceptions().items() if key[0] != rule}
    needed = {(rule, where): size for where, size in found.items()}
    rows = [f"{kind}\t{where}\t{most}\n" for (kind, where), most in sorted((others | needed).items())]
    EXCEPTIONS.write_text(EXCEPTIONS.read_text().partition("\n")[0] + "\n" + "".join(rows))
