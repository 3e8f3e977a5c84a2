"""Check requests to a page on loopback: Host, and Origin if it is sent, must have a loopback name.

Another site may have its name resolve to 127.0.0.1 (DNS rebinding): the browser then sends its requests here, with that
name in Host. A script of another site sends its site in Origin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]  # a WSGI application

_NAMES = ("localhost", "127.0.0.1", "[::1]")
_AUTHORITY = r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_HOST = re.compile(_AUTHORITY)
_ORIGIN = re.compile(rf"null|[A-Za-z][A-Za-z0-9+.-]*://{_AUTHORITY}")


def local_only(application: Application) -> Application:
    """Return an application that answers only requests of a page on loopback."""

    def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        status, text = _refusal(environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN"))
        if not status:
            return application(environ, start_response)
        start_response(status, [("Content-Type", "text/plain")])
        return [text.encode()]

    return answer


def _refusal(host: str, origin: str | None) -> tuple[str, str]:
    """Return the HTTP status and the text that refuse a request; empty if it may be answered."""
    for header, value, pattern in (("Host", host, _HOST), ("Origin", origin, _ORIGIN)):
        if value is None:
            continue
        match = pattern.fullmatch(value)
        if match is None:
            return "400 Bad Request", f"The header {header} is not valid.\n"
        if (match["name"] or "").lower() not in _NAMES:
            return "403 Forbidden", f"This page answers on localhost only; {header} names another site.\n"
    return "", ""
