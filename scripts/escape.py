"""Text from elsewhere, such as names, log lines and rules, escaped for the language that it is written into.

Each function is for one language, and the only place that knows how it escapes. What a terminal would obey and what
changes the order of letters is shown as "?" everywhere.
"""

from __future__ import annotations

import re
from html import escape

# C0 without tab and newline, DEL and C1; then the signs that set the direction of text (UAX #9), and lone surrogates.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_FORMULA = re.compile(r"['\s]*[-=+@\uff1d\uff0b\uff0d\uff20]")  # and their wide forms; behind apostrophes too
_MOST_OF_WORD, _MOST_OF_TEXT, _MOST_OF_LABEL = 255, 2000, 60  # the longest name of DNS has 253
_LONG_WORD = re.compile(rf"\S{{{_MOST_OF_WORD + 1},}}")
_MARKDOWN = re.compile(r"[\\`*\[\]<|]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")
_MARKDOWN_BLOCK = re.compile(r"^(#+|[-+>]|\d+[.)])(?=\s)")


def shortened(text: str, most: int) -> str:
    """Cut a text to so many characters, an ellipsis being the last."""
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def on_one_line(text: str) -> str:
    """Put blanks for newlines and tabs, and "?" for what a terminal would obey."""
    return for_terminal(text.replace("\n", " ").replace("\t", " "))


def for_terminal(text: str) -> str:
    """Take away what a terminal would obey: no colour, title or cursor is changed by a name. Newlines stay."""
    return _OBEYED.sub("?", text)


def for_csv(cell: object) -> object:
    """Give a text on one line, an apostrophe before what would be a formula; numbers and a lone dash stay."""
    if not isinstance(cell, str):
        return cell
    text = on_one_line(cell)
    is_formula = _FORMULA.match(cell) is not None and text != "-" and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def from_csv(cell: str) -> str:
    """Give the text that for_csv wrote, without its apostrophe."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def for_picture(text: str) -> str:
    """Give a label of one line; a dollar needs no escape, because scripts/figures.py turns mathematics off."""
    return shortened(on_one_line(text), _MOST_OF_LABEL)


def for_pdf(text: str, most: int = _MOST_OF_TEXT) -> str:
    """Give the markup of reportlab's paragraphs for a text; what no page could hold ends with an ellipsis."""
    short = _LONG_WORD.sub(lambda word: shortened(word[0], _MOST_OF_WORD), on_one_line(text))
    printable = shortened(short, most).replace("\u2192", "->").encode("cp1252", "replace")
    return escape(printable.decode("cp1252"), quote=False)  # of which reportlab's own fonts have the letters


def for_markdown(text: str) -> str:
    """Give the Markdown that shows a text as it is, in a paragraph or in a table's cell."""
    escaped = _MARKDOWN.sub(
        lambda sign: {"<": "&lt;", "&": "&amp;"}.get(sign[0], f"\\{sign[0]}"), on_one_line(text)
    )
    return _MARKDOWN_BLOCK.sub(lambda mark: f"{mark[0][:-1]}\\{mark[0][-1]}", escaped)


def code_for_markdown(text: str) -> str:
    """Give a text as code, for a table's cell or a paragraph: the marks around it are more than any in it."""
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return marks + blank + on_one_line(text).replace("|", "\\|") + blank + marks


def for_graphviz(text: str) -> str:
    """Give the HTML of a graphviz label for a text."""
    return escape(shortened(on_one_line(text), _MOST_OF_LABEL)) or " "


def quoted_for_graphviz(text: str) -> str:
    """Give a text as a quoted identifier of graphviz."""
    return '"' + shortened(on_one_line(text), _MOST_OF_WORD).replace("\\", "\\\\").replace('"', '\\"') + '"'
