"""Decide whether a request may change something: it must come from the page and have the token of the printed URL.

Another site's page can send requests to loopback and open WebSockets; the browser adds the Origin, and another site
does not know the token. monitoring/local_only.py has checked before that Host is a loopback name.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from flask import Request, Response

TOKEN_FILE = "CNET_DASHBOARD_TOKEN"  # noqa: S105 - the variable with the file's path; other users cannot read the file
# The only header of a WebSocket that a script in a page can set is Sec-WebSocket-Protocol.
PROTOCOL, _TOKEN_PREFIX = "cnet-terminal", "token."


def read_token() -> str:
    """Return the token that monitoring/dashboard.sh made for this start; "" if the terminal is off."""
    path = os.environ.pop(TOKEN_FILE, "")
    return Path(path).read_text(encoding="ascii").strip() if path else ""


def refuse_unless_allowed(request: Request, token: str) -> Response | None:
    """Return the answer 403 with a line that says why; None if the request is allowed."""
    why = _refusal(request, token)
    return Response(why + "\n", 403, mimetype="text/plain") if why else None


def _refusal(request: Request, token: str) -> str:
    """Return the line that refuses a request; "" if it is allowed."""
    origin, own = request.headers.get("Origin"), f"{request.environ['wsgi.url_scheme']}://{request.host}"
    if origin is None:
        return "Refused: the request has no header Origin, so it does not come from this page."
    if origin != own:
        return f"Refused: the request comes from another origin; only {own} may use this."
    given = _token_of(request)
    if not given:
        return "Refused: the request has no token; open the URL that the dashboard printed, with #token=."
    if not hmac.compare_digest(given.encode(), token.encode()):
        return "Refused: the token is from another start of the dashboard; open the URL that its last start printed."
    return ""


def _token_of(request: Request) -> str:
    if request.headers.get("Upgrade"):
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        tokens = [word.strip() for word in offered if word.strip().startswith(_TOKEN_PREFIX)]
        return tokens[0].removeprefix(_TOKEN_PREFIX) if tokens else ""
    return request.headers.get("Authorization", "").removeprefix("Bearer").strip()
