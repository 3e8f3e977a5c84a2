"""Reading a request's body: complete, at most 64 KiB, and JSON that all parsers read in the same way."""

import json

from flask import request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from cnet_service.errors import MAX_BODY_BYTES, InvalidError


def read_body() -> None:
    """Read the request's whole body, so that each failure to read it is the client's error (4xx)."""
    declared = request.content_length
    if not declared and "HTTP_TRANSFER_ENCODING" not in request.environ:
        return
    try:
        body = request.get_data()
    except HTTPException:
        raise
    except Exception as failure:  # gunicorn raises several exceptions of its own for invalid HTTP
        raise BadRequest(f"body: cannot be read: {failure}") from failure
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BadRequest(f"body: ends after {len(body)} of {declared} bytes")


def read_json_object() -> dict[str, object]:
    """Return the request's body as a JSON object, or raise InvalidError."""
    if not request.is_json:
        raise InvalidError("body", "must be JSON, with Content-Type: application/json")
    try:
        text = request.get_data().decode()  # JSON is UTF-8 (RFC 8259, section 8.1); json.loads would guess
        body = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=read_pairs)
    except (ValueError, RecursionError):
        raise InvalidError("body", "is not valid JSON") from None
    if not isinstance(body, dict):
        raise InvalidError("body", "must be a JSON object")
    return body


def read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object; refuse a repeated key, because another reader may take the other value."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidError(key[:100], "is given twice")
        found[key] = value
    return found


def refuse_constant(literal: str) -> None:
    """Refuse NaN and Infinity, which Python reads although JSON has no such numbers (RFC 8259, section 6)."""
    raise ValueError(literal)
