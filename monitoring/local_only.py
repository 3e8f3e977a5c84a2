"""Who may ask a page that is bound to loopback: whoever calls it by a loopback name, from a page that is called so.

A page of another site may have its name resolve to 127.0.0.1 (DNS rebinding): the browser then asks here, and says in
Host whom it thinks it asks. A script of another site says where it comes from in Origin.
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
    """Judge the headers Host and Origin; None when the request may be answered."""
    for header, value, pattern in (("Host", host, _HOST), ("Origin", origin, _ORIGIN)):
        if value is None:
            continue
        found = pattern.fullmatch(value)
        if found is None:
            return Refusal(400, f"The header {header} is not valid.\n")
        if (found["name"] or "").lower() not in _NAMES:
            return Refusal(403, f"This page answers on localhost only; {header} names another site.\n")
    return None
