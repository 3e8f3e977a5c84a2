"""Sizes that a reader can take in at once; exceptions.tsv has today's exceptions, which must shrink."""

from __future__ import annotations

import ast

from house import bash_files, hold, lines_of, python_files, tree_of

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def beyond(limit: int, sizes: dict[str, int]) -> dict[str, int]:
    return {where: size for where, size in sizes.items() if size > limit}


def definitions(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> dict[str, int]:
    """Return the lines of each definition, by file and name."""
    return {
        f"{path}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, kind) and isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_python_files_have_at_most_300_lines() -> None:
    sizes = {path: len(lines_of(path)) for path in python_files()}
    hold("file lines", beyond(300, sizes))


def test_functions_have_at_most_40_lines() -> None:
    hold("function lines", beyond(40, definitions(FUNCTION)))


def test_classes_have_at_most_200_lines() -> None:
    hold("class lines", beyond(200, definitions(ast.ClassDef)))


def test_bash_scripts_have_at_most_200_lines() -> None:
    sizes = {path: len(lines_of(path)) for path in bash_files() if not path.endswith(".bats")}
    hold("script lines", beyond(200, sizes))


def test_bash_lines_have_at_most_120_columns() -> None:
    long_lines = {path: sum(len(line) > 120 for line in lines_of(path)) for path in bash_files()}
    hold("long lines", beyond(0, long_lines))
