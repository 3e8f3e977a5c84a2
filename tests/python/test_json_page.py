"""docs/reference/json.md has each verb of make: with its script, and with a schema or the reason why there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lessons import ROOT

PAGE = (ROOT / "docs/reference/json.md").read_text()
SCHEMAS = sorted((ROOT / "docs/reference/json").glob("*.json"))
TARGETS = dict(
    re.findall(r"^([a-z-]+):.*## .*\n\t@(\S+(?: [a-z]+)?)", (ROOT / "Makefile").read_text(), re.MULTILINE)
)
ROWS = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)` \| ([^|]+) \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)


def test_the_page_has_each_target_once_in_the_order_of_the_makefile() -> None:
    assert [verb for verb, *_ in ROWS] == [target for target in TARGETS if target != "help"]


def test_the_page_names_the_script_that_make_calls() -> None:
    assert {verb: script for verb, script, _ in ROWS} == {verb: TARGETS[verb] for verb, *_ in ROWS}


@pytest.mark.parametrize(("verb", "how"), [(verb, how) for verb, _, how in ROWS])
def test_a_verb_has_a_schema_or_a_reason(verb: str, how: str) -> None:
    assert how == f"[{verb}](json/{verb}.json)" or re.match(r"no: \S", how), how


def test_each_schema_is_on_the_page() -> None:
    assert sorted(path.stem for path in SCHEMAS) == sorted(
        verb for verb, _, how in ROWS if how.startswith("[")
    )


def objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects_in(value)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_a_schema_describes_each_field_and_allows_no_other(path: Path) -> None:
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"make {path.stem} JSON=1"
    for each in objects_in(schema):
        assert each["additionalProperties"] is False
        assert each["required"] == list(each["properties"])
        assert [name for name, field in each["properties"].items() if not field.get("description")] == []
