"""Validate what a verb printed: python tests/lab/validate_json.py VERB [lines] < OUTPUT

The output is one document of the schema docs/reference/json/VERB.json, or with `lines` one on each line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[2] / "docs/reference/json"


def refuse(text: str) -> object:
    """Raise ValueError for NaN and Infinity, which are not JSON."""
    raise ValueError(f"{text} is not JSON")


def faults(verb: str, text: str) -> list[str]:
    """Return what is not as in the verb's schema. Raises ValueError if the text is not one JSON document."""
    schema = json.loads((SCHEMAS / f"{verb}.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [
        f"{verb}: {fault.json_path}: {fault.message[:200]}"
        for fault in validator.iter_errors(json.loads(text, parse_constant=refuse))
    ]


def main(verb: str, options: Sequence[str]) -> int:
    """Print what is wrong; return 1 if anything is."""
    output = sys.stdin.read()
    try:
        found = [
            fault
            for text in (output.splitlines() if "lines" in options else [output])
            for fault in faults(verb, text)
        ]
    except ValueError as error:
        found = [f"{verb}: {error}: {output[:200]!r}"]
    if "\x1b" in output:
        found.append(f"{verb}: the output has escape sequences")
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
