"""Check requests to a page on loopback: Host, and Origin if it is sent, must have a loopback name.

Another site may have its name resolve to 127.0.0.1 (DNS rebinding): the browser then sends its requests here, with that
name in Host. A script of another site sends its site in Origin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = ("localhost", "127.0.0.1", "[::1]")
_AUTHORITY = r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_HOST = re.compile(_AUTHORITY)
_ORIGIN = re.compile(rf"null|[A-Za-z][A-Za-z0-9+.-]*://{_AUTHORITY}")


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    text: str


def refusal(host: str, origin: str | None) -> Refusal | None:
    """Check the headers Host and Origin; return None when the request may be answered."""
    for header, value, pattern in (("Host", host, _HOST), ("Origin", origin, _ORIGIN)):
        if value is None:
            continue
        match = pattern.fullmatch(value)
        if match is None:
            return Refusal(400, f"The header {header} is not valid.\n")
        if (match["name"] or "").lower() not in _NAMES:
            return Refusal(403, f"This page answers on localhost only; {header} names another site.\n")
    return None
