"""The base application of every service: JSON errors, request ids, a log line per request, metrics, /health."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST

from cnet_service.body import read_body
from cnet_service.description import DescribedApp
from cnet_service.errors import MAX_BODY_BYTES, UnavailableError, add_error_handlers, error_response
from cnet_service.logs import set_up_logging
from cnet_service.metrics import exposition, observe_request
from cnet_service.models import State, Unavailable

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))

log = logging.getLogger("service")

# Required dependencies by name, for /ready: a call that raises or returns False if the dependency does not answer.
Checks = Mapping[str, Callable[[], object]]
# Optional dependencies by name, for /ready: a call that returns the problem, "" if there is none.
Helpers = Mapping[str, Callable[[], str]]


def create_service_app(
    name: str, instance: str, description: str, checks: Checks | None = None, helpers: Helpers | None = None
) -> DescribedApp:
    """Return a Flask application with the common endpoints and handlers; logs show `name` and `instance`."""
    set_up_logging(name, instance)
    app = DescribedApp(name, description)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1  # so that read_body refuses the body
    app.url_map.merge_slashes = False
    add_error_handlers(app)
    add_request_log(app, name, instance)
    add_common_endpoints(app, name, checks or {}, helpers or {})
    return app


def add_request_log(app: Flask, name: str, instance: str) -> None:
    """Set an id for each request; after it write a log line, a measurement and the header X-Request-ID."""

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
    """Return the fields of an answered request's log line."""
    return {
        "request_id": g.request_id,
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "ms": round(seconds * 1000, 2),
        **g.get("fields", {}),
    }


def add_common_endpoints(app: DescribedApp, name: str, checks: Checks, helpers: Helpers) -> None:
    """Serve /health, /ready, /metrics and /openapi.json."""

    @app.get("/health", summary="The service runs", responses={200: State})
    def health() -> dict[str, str]:
        return {"service": name, "status": "healthy"}

    @app.get("/ready", summary="Its dependencies answer", responses={200: State, 503: Unavailable})
    def ready() -> Response | dict[str, object]:
        failed = [dependency for dependency, check in checks.items() if not is_available(check)]
        if failed:
            text = f"not ready: {', '.join(failed)}"
            return error_response(503, text, {"Retry-After": "1"}, dependencies=failed)
        degraded = {helper: problem for helper, check in helpers.items() if (problem := check())}
        return {"service": name, "status": "ready", **({"degraded": degraded} if degraded else {})}

    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/metrics", summary="Metrics for Prometheus", responses={200: text})
    def metrics() -> Response:
        return Response(exposition(), content_type=CONTENT_TYPE_LATEST)

    document = {"content": {"application/json": {"schema": {"type": "object"}}}}

    @app.get("/openapi.json", summary="This document", responses={200: document})
    def openapi() -> dict[str, object]:
        return app.document


def is_available(check: Callable[[], object]) -> bool:
    """Return whether a dependency answers its check."""
    try:
        return check() is not False
    except UnavailableError as failure:
        log.warning("a dependency does not answer: %s", failure)
        return False
    except Exception:
        log.warning("a dependency does not answer", exc_info=True)
        return False
