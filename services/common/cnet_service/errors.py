"""Errors that clients get as JSON: {"error": TEXT}, and for bad input the field's name."""

import json
import logging
import re
from collections.abc import Mapping
from typing import NoReturn

from flask import Flask, Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

MAX_BODY_BYTES = 64 * 1024

log = logging.getLogger("service")


class UnavailableError(Exception):
    """A dependency does not answer: 503 with Retry-After. The client gets the text."""


class InvalidError(Exception):
    """The client's input is wrong: 400 with the field's name."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


def raise_invalid(failure: ValidationError) -> NoReturn:
    """Raise InvalidError with the first wrong field."""
    raise InvalidError(*describe_failure(failure)) from None


def describe_failure(failure: ValidationError) -> tuple[str, str]:
    """Return the name of the first wrong field, and the problem; an unknown field comes first.

    A misspelt name is unknown and leaves another field missing: the name that was sent helps more.
    """
    errors = failure.errors(include_url=False, include_input=False)
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    field = ".".join(map(str, first["loc"]))[:100] or "body"
    match first["type"]:
        case "missing":
            return field, "is missing"
        case "extra_forbidden":
            return field, "is not a field of this request"
        case "value_error":
            return field, str(first["ctx"]["error"])
    return field, re.sub(r"^\w+ should ", "must ", first["msg"])


def error_response(
    status: int, text: str, headers: Mapping[str, str] | None = None, **fields: object
) -> Response:
    """Return a JSON error: {"error": text, ...}."""
    body = json.dumps({"error": text, **fields}) + "\n"
    return Response(body, status, dict(headers or {}), mimetype="application/json")


def add_error_handlers(app: Flask) -> None:
    """Answer every failure with JSON, without details that only a developer should see."""

    @app.errorhandler(InvalidError)
    def invalid(failure: InvalidError) -> Response:
        return error_response(400, str(failure), field=failure.field)

    @app.errorhandler(UnavailableError)
    def unavailable(failure: UnavailableError) -> Response:
        return error_response(503, str(failure), {"Retry-After": "1"})

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_failure: RequestEntityTooLarge) -> Response:
        return error_response(413, f"body: must be at most {MAX_BODY_BYTES} bytes", field="body")

    @app.errorhandler(HTTPException)
    def http_error(failure: HTTPException) -> Response:
        kept = {key: value for key, value in failure.get_headers() if key in ("Allow", "Retry-After")}
        return error_response(failure.code or 500, failure.description or failure.name, kept)

    @app.errorhandler(Exception)
    def unexpected(failure: Exception) -> Response:
        log.error("unexpected failure", exc_info=failure)
        return error_response(500, "Internal error; the log has the request id")
