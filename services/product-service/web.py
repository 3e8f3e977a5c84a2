"""What every service shares: JSON errors, request ids, one log line a request, metrics, /health.

The same file lies in each service's folder, for each stands alone; a test holds the copies equal.
"""

import atexit
import functools
import json
import logging
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from description import describe
from flask import Flask, Response, g, request
from metrics import exposition, observe_request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

MAX_BODY_BYTES = 64 * 1024
LINES_AT_ONCE = 100
FLUSH_SECONDS = 0.5
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))

log = logging.getLogger("service")

# What /ready asks: a dependency's name and a call that raises or answers False when it is away.
Checks = Mapping[str, Callable[[], object]]
# What the service does without when it must: a name and a call that returns its trouble, empty when it is well.
Helpers = Mapping[str, Callable[[], str]]


class Unavailable(Exception):
    """A dependency is away: 503 with Retry-After. The text is for the client."""


class Invalid(Exception):
    """The client's input is wrong: 400 with the field's name."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


def create_web_app(
    name: str, instance: str, checks: Checks | None = None, helpers: Helpers | None = None
) -> Flask:
    """Return a Flask application that has what every service has; `name` and `instance` go into logs."""
    set_up_logging(name, instance)
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = (
        MAX_BODY_BYTES + 1
    )  # one more, to notice that there is more: see read_body
    app.url_map.merge_slashes = False
    add_errors(app)
    add_request_log(app, name, instance)
    add_own_endpoints(app, name, checks or {}, helpers or {})
    add_description(app)
    return app


@functools.lru_cache(1)
def second(seconds: int) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, without a time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class BufferedHandler(logging.StreamHandler[TextIO]):
    """Writes many lines at once, at the latest after half a second; a warning at once, with all before it.

    A write for each line wakes its reader each time, which costs as much as a tenth of the request.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        threading.Thread(target=self._flush_for_ever, name="log", daemon=True).start()
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's line; write all when it matters or when there are many."""
        self._lines.append(self.format(record))
        if record.levelno >= logging.WARNING or len(self._lines) >= LINES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        lines, self._lines = self._lines, []
        if lines and not self.stream.closed:
            self.stream.write("\n".join(lines) + "\n")
            self.stream.flush()

    def _flush_for_ever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            with self.lock or threading.RLock():
                self.flush()


def set_up_logging(name: str, instance: str) -> None:
    """Write each record as one line of JSON to standard output."""

    class JsonFormatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            fields = {
                "time": f"{second(int(record.created))}.{int(record.msecs):03d}Z",
                "level": record.levelname.lower(),
                "service": name,
                "instance": instance,
                "message": record.getMessage(),
                **getattr(record, "fields", {}),
            }
            if record.exc_info:
                fields["exception"] = self.formatException(record.exc_info)
            return json.dumps(fields)

    # What no line has is not looked up (the logging HOWTO of Python, "Optimization"); gunicorn's lines have the pid.
    logging.logThreads = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = BufferedHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(os.environ.get("LOG_LEVEL", "INFO").upper())


def error(status: int, text: str, headers: Mapping[str, str] | None = None, **fields: object) -> Response:
    """Return a JSON error: {"error": text, ...}."""
    body = json.dumps({"error": text, **fields}) + "\n"
    return Response(body, status, dict(headers or {}), mimetype="application/json")


def add_errors(app: Flask) -> None:
    """Answer every failure with JSON, and none with what only a developer should see."""

    @app.errorhandler(Invalid)
    def invalid(failure: Invalid) -> Response:
        return error(400, str(failure), field=failure.field)

    @app.errorhandler(Unavailable)
    def unavailable(failure: Unavailable) -> Response:
        return error(503, str(failure), {"Retry-After": "1"})

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_failure: RequestEntityTooLarge) -> Response:
        return error(413, f"body: must be at most {MAX_BODY_BYTES} bytes", field="body")

    @app.errorhandler(HTTPException)
    def http_error(failure: HTTPException) -> Response:
        kept = {key: value for key, value in failure.get_headers() if key in ("Allow", "Retry-After")}
        return error(failure.code or 500, failure.description or failure.name, kept)

    @app.errorhandler(Exception)
    def unexpected(failure: Exception) -> Response:
        log.error("unexpected failure", exc_info=failure)
        return error(500, "Internal error; the log has the request id")


def add_request_log(app: Flask, name: str, instance: str) -> None:
    """Give each request an id, and afterwards a log line, a measurement and the id as a header."""

    @app.before_request
    def begin() -> None:
        g.begin = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        read_body()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.begin
        response.headers["X-Request-ID"] = g.request_id
        if "X-Instance" not in response.headers:
            response.headers["X-Instance"] = instance
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in METHODS else "other"
        observe_request(name, method, route, response.status_code, seconds)
        if route not in ("/health", "/metrics") and not g.get("quiet"):
            log.info(g.get("note", "request"), extra={"fields": request_fields(response, seconds)})
        return response


def request_fields(response: Response, seconds: float) -> dict[str, object]:
    """Return what the log says of an answered request."""
    return {
        "request_id": g.request_id,
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "ms": round(seconds * 1000, 2),
        **g.get("fields", {}),
    }


def add_own_endpoints(app: Flask, name: str, checks: Checks, helpers: Helpers) -> None:
    """Serve /health (alive), /ready (dependencies answer) and /metrics (for Prometheus)."""

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"service": name, "status": "healthy"}

    @app.get("/ready")
    def ready() -> Response | dict[str, object]:
        away = [dependency for dependency, check in checks.items() if not answers(check)]
        if away:
            return error(503, f"not ready: {', '.join(away)}", {"Retry-After": "1"}, dependencies=away)
        troubles = {helper: trouble for helper, ask in helpers.items() if (trouble := ask())}
        return {"service": name, "status": "ready", **({"degraded": troubles} if troubles else {})}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(exposition(), content_type=CONTENT_TYPE_LATEST)


def add_description(app: Flask) -> None:
    """Serve /openapi.json: the service's own document, and what all services have in common."""
    document = describe(json.loads(Path(__file__).with_name("openapi.json").read_text()))

    @app.get("/openapi.json")
    def openapi() -> dict[str, object]:
        return document


def answers(check: Callable[[], object]) -> bool:
    """Return whether a dependency is there."""
    try:
        return check() is not False
    except Unavailable as failure:
        log.warning("a dependency does not answer: %s", failure)
        return False
    except Exception:
        log.warning("a dependency does not answer", exc_info=True)
        return False


def read_body() -> None:
    """Read the request's whole body, so that each failure to read it is the client's error (4xx)."""
    declared = request.content_length
    if not declared and "HTTP_TRANSFER_ENCODING" not in request.environ:
        return
    try:
        body = request.get_data()
    except HTTPException:
        raise
    except Exception as failure:  # gunicorn has several of its own for what is not HTTP
        raise BadRequest(f"body: cannot be read: {failure}") from failure
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BadRequest(f"body: ends after {len(body)} of {declared} bytes")


def json_object() -> dict[str, object]:
    """Return the request's body as a JSON object, or raise Invalid."""
    if not request.is_json:
        raise Invalid("body", "must be JSON, with Content-Type: application/json")
    try:
        text = request.get_data().decode()  # JSON is UTF-8 (RFC 8259, section 8.1); json.loads would guess
        body = json.loads(text, parse_constant=refuse_number, object_pairs_hook=read_pairs)
    except (ValueError, RecursionError):
        raise Invalid("body", "is not valid JSON") from None
    if not isinstance(body, dict):
        raise Invalid("body", "must be a JSON object")
    return body


def read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object of JSON; refuse one with a key twice, of which another reader may take the other value."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise Invalid(key[:100], "is given twice")
        found[key] = value
    return found


def refuse_number(literal: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have (RFC 8259, section 6)."""
    raise ValueError(literal)
