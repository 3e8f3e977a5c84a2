"""Who may ask the dashboard and the exporter: one rule for both, in a function and in the exporter as it answers."""

from __future__ import annotations

from typing import Any

import pytest

from lab.topology import load
from monitoring.exporter import application
from monitoring.local_only import local_only

GOOD = ["localhost", "localhost:8050", "LOCALHOST:1", "127.0.0.1:8050", "[::1]:8050"]
FOREIGN = ["evil.example", "evil.example:8050", "localhost.evil.example", "192.0.2.1", "[2001:db8::1]:80"]
MALFORMED = [
    "",
    " ",
    "localhost:",
    "localhost:x",
    "local host",
    "evil@localhost",
    "localhost/",
    "[::1",
    "a,b",
    "\u00e9",
]


def status_of(application: Any, headers: dict[str, str]) -> str:
    """Return the status of the answer to a request with these headers."""
    seen: list[str] = []
    list(application({"PATH_INFO": "/targets"} | headers, lambda line, _: seen.append(line)))
    return seen[0][:3]


def judged(host: str, origin: str | None) -> str:
    """Return the status that a request of these headers gets from a page that answers every request."""

    def page(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    return status_of(
        local_only(page), {"HTTP_HOST": host} | ({} if origin is None else {"HTTP_ORIGIN": origin})
    )


@pytest.mark.parametrize(
    ("values", "status"),
    [(GOOD, "200"), (FOREIGN, "403"), (MALFORMED, "400")],
    ids=["good", "foreign", "malformed"],
)
def test_host_and_origin_are_judged_by_the_same_rule(values: list[str], status: str) -> None:
    for value in values:
        assert judged(value, None) == judged("localhost:8050", f"http://{value}") == status, value


@pytest.mark.parametrize("origin", ["null", "https://evil.example"])
def test_a_script_of_another_site_is_refused(origin: str) -> None:
    assert judged("localhost", origin) == "403"


@pytest.mark.parametrize(
    "origin", ["", "localhost", "http://[::1", "http://", "://localhost", "http://localhost\x00"]
)
def test_an_origin_that_is_none_is_a_bad_request(origin: str) -> None:
    assert judged("localhost", origin) == "400"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_HOST": "localhost:9105"}, "200"),
        ({"HTTP_HOST": "localhost:9105", "HTTP_ORIGIN": "http://localhost:9105"}, "200"),
        ({"HTTP_HOST": "evil.example"}, "403"),
        ({"HTTP_HOST": "localhost", "HTTP_ORIGIN": "http://evil.example"}, "403"),
        ({"HTTP_HOST": "localhost", "HTTP_ORIGIN": "http://[::1"}, "400"),
        ({"HTTP_HOST": ""}, "400"),
        ({}, "400"),
    ],
)
def test_the_exporter_checks_the_host_as_the_dashboard_does(headers: dict[str, str], status: str) -> None:
    assert status_of(application(load("flat")), headers) == status
