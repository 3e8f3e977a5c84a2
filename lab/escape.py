"""Escape text from elsewhere (names, log lines, rules) for the language that it is written into: one function for each.

All of them replace control characters, which a terminal executes, and marks that change the direction of text by "?".
"""

from __future__ import annotations

import re
from html import escape

# C0 without tab and newline, DEL and C1; then the marks that set the direction of text (UAX #9), and lone surrogates.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_FORMULA = re.compile(r"['\s]*[-=+@\uff1d\uff0b\uff0d\uff20]")  # also fullwidth signs
_MAX_WORD, _MAX_TEXT, _MAX_LABEL = 255, 2000, 60  # characters; a DNS name has at most 253
_LONG_WORD = re.compile(rf"\S{{{_MAX_WORD + 1},}}")
_MARKDOWN = re.compile(r"[\\`*\[\]<|]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")
_MARKDOWN_BLOCK = re.compile(r"^(#+|[-+>]|\d+[.)])(?=\s)")


def shortened(text: str, max_length: int) -> str:
    """Cut a text to `max_length` characters, of which the last is an ellipsis if it was cut."""
    return text if len(text) <= max_length else text[: max_length - 1] + "\u2026"


def on_one_line(text: str) -> str:
    """Replace newlines and tabs by blanks, and control characters by "?"."""
    return for_terminal(text.replace("\n", " ").replace("\t", " "))


def for_terminal(text: str) -> str:
    """Replace control characters by "?", so that no text sets colours, title or cursor; newlines and tabs stay."""
    return _OBEYED.sub("?", text)


def for_csv(cell: object) -> object:
    """Return a text on one line, with an apostrophe before a formula; numbers, a lone dash and other types stay."""
    if not isinstance(cell, str):
        return cell
    text = on_one_line(cell)
    is_formula = _FORMULA.match(cell) is not None and text != "-" and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def from_csv(cell: str) -> str:
    """Return a text without the apostrophe of for_csv."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def for_picture(text: str) -> str:
    """Return a short label on one line; a dollar needs no escape, because lab/figures.py turns mathtext off."""
    return shortened(on_one_line(text), _MAX_LABEL)


def for_pdf(text: str, max_length: int = _MAX_TEXT) -> str:
    """Return the markup of a reportlab paragraph: at most `max_length` characters, and no word too long for a page."""
    short = _LONG_WORD.sub(lambda word: shortened(word[0], _MAX_WORD), on_one_line(text))
    # The letters of cp1252 are those that the standard fonts of a PDF have.
    printable = shortened(short, max_length).replace("\u2192", "->").encode("cp1252", "replace")
    return escape(printable.decode("cp1252"), quote=False)


def for_markdown(text: str) -> str:
    """Return the Markdown of a text, for a paragraph or a cell of a table."""
    escaped = _MARKDOWN.sub(
        lambda sign: {"<": "&lt;", "&": "&amp;"}.get(sign[0], f"\\{sign[0]}"), on_one_line(text)
    )
    return _MARKDOWN_BLOCK.sub(lambda mark: f"{mark[0][:-1]}\\{mark[0][-1]}", escaped)


def code_for_markdown(text: str) -> str:
    """Return the Markdown of a text as code, between more backticks than any run in it."""
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return marks + blank + on_one_line(text).replace("|", "\\|") + blank + marks


def for_html(text: str) -> str:
    """Return the HTML of a text, for an element or an attribute in quotes."""
    return escape(on_one_line(text))


def for_graphviz(text: str) -> str:
    """Return a text as HTML for a label of graphviz."""
    return escape(shortened(on_one_line(text), _MAX_LABEL)) or " "


def quoted_for_graphviz(text: str) -> str:
    """Return a text as a quoted identifier of graphviz."""
    return '"' + shortened(on_one_line(text), _MAX_WORD).replace("\\", "\\\\").replace('"', '\\"') + '"'
