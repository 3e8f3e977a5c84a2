"""Who may ask the dashboard and the exporter: one rule for both, in a function and in the exporter as it answers."""

from __future__ import annotations

from typing import Any

import pytest

from lab.topology import load
from monitoring.exporter import application
from monitoring.local_only import refusal

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


@pytest.mark.parametrize(
    ("values", "status"),
    [(GOOD, None), (FOREIGN, 403), (MALFORMED, 400)],
    ids=["good", "foreign", "malformed"],
)
def test_host_and_origin_are_judged_by_the_same_rule(values: list[str], status: int | None) -> None:
    for value in values:
        by_host, by_origin = refusal(value, None), refusal("localhost:8050", f"http://{value}")
        assert (by_host and by_host.status, by_origin and by_origin.status) == (status, status), value


@pytest.mark.parametrize("origin", ["null", "https://evil.example"])
def test_a_script_of_another_site_is_refused(origin: str) -> None:
    refused = refusal("localhost", origin)
    assert refused is not None
    assert refused.status == 403


@pytest.mark.parametrize(
    "origin", ["", "localhost", "http://[::1", "http://", "://localhost", "http://localhost\x00"]
)
def test_an_origin_that_is_none_is_a_bad_request(origin: str) -> None:
    refused = refusal("localhost", origin)
    assert refused is not None
    assert refused.status == 400


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
    seen: list[str] = []

    def start(line: str, _: list[tuple[str, str]]) -> Any:
        seen.append(line)

    list(application(load("flat"))({"PATH_INFO": "/targets"} | headers, start))
    assert seen[0].startswith(status)
