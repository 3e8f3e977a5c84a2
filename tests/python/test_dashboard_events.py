"""What happened on the dashboard: events from the lines that the programs log, and the incidents that they make."""

from __future__ import annotations

import json
from datetime import datetime

from monitoring.dashboard import events
from monitoring.dashboard.events import Event, Request, Turn
from monitoring.dashboard.incidents import describe_requests, find_incidents

NAMES = {"10.0.0.31": "product-2"}


def logged(message: str, **fields: object) -> str:
    return json.dumps({"time": "2026-11-28T17:04:13.355Z", "message": message} | fields)


def event(seconds: float, turn: Turn, reporter: str = events.SUPERVISOR, node: str = "product-2") -> Event:
    return Event(1000 + seconds, node, reporter, turn, turn.name)


def test_the_supervisor_says_how_a_program_ended_and_that_it_started_it() -> None:
    (ended,) = events.of_supervisor(
        "2026-11-28 17:04:13,103 WARN exited: product-2 (terminated by SIGKILL; not expected)"
    )
    assert ended == Event(
        datetime(2026, 11, 28, 17, 4, 13, 103000).timestamp(), "product-2", events.SUPERVISOR, Turn.WORSE,
        "its program ended: terminated by SIGKILL",
    )  # fmt: skip
    (begun,) = events.of_supervisor("2026-11-28 17:04:13,186 INFO spawned: 'product-2' with pid 1429")
    assert (begun.node, begun.turn, begun.text) == ("product-2", Turn.BETTER, "started it (pid 1429)")
    assert (
        list(events.of_supervisor("2026-11-28 17:03:59,742 INFO success: a entered RUNNING state, b")) == []
    )


def test_the_registry_says_which_instance_is_critical_and_which_passes() -> None:
    found = [
        next(iter(events.of_registry(logged(f"product-service: product-2 {words}"))))
        for words in ("is critical", "is passing", "registered", "deregistered")
    ]
    assert [one.node for one in found] == ["product-2"] * 4
    assert [one.turn for one in found] == [Turn.WORSE, Turn.BETTER, Turn.BETTER, Turn.WORSE]
    assert list(events.of_registry(logged("request", path="/register", status=200))) == []


def test_the_gateway_says_what_it_did_about_an_instance() -> None:
    out = logged("product-2 is out of rotation: critical in the registry", event="out", upstream="product-2")
    back = logged("product-2 is back in rotation: it answers", event="back", upstream="product-2")
    again = logged("product-service at http://10.0.0.31:5000 does not answer: connection refused")
    found = [one for line in (out, back, again) for one in events.of_gateway(line, NAMES)]
    assert [(one.node, one.turn) for one in found if isinstance(one, Event)] == [
        ("product-2", Turn.WORSE),
        ("product-2", Turn.BETTER),
        ("product-2", Turn.SAME),
    ]


def test_a_request_has_its_instance_and_a_failed_one_has_none() -> None:
    routed = logged(
        "Routing request to: http://10.0.0.31:5000", upstream="product-2", path="/api", status=200
    )
    failed = logged(
        "Routing request to: http://10.0.0.31:5000", upstream="product-2", path="/api", status=503
    )
    assert [one.instance for one in events.of_gateway(routed, NAMES) if isinstance(one, Request)] == [
        "product-2"
    ]
    assert list(events.of_gateway(failed, NAMES)) == []
    assert [one.instance for one in events.of_nginx(logged("", path="/api/products", status=502))] == [""]
    assert list(events.of_nginx(logged("", path="/api/products", status=404))) == []


def test_lines_of_another_form_are_no_events() -> None:
    lines = [
        "",
        "limits: control group",
        "{",
        "[]",
        '{"time": "soon", "message": "x"}',
        '{"time": 5}',
        "[" * 9999,
    ]
    for line in lines:
        assert [*events.of_registry(line), *events.of_gateway(line, NAMES), *events.of_supervisor(line)] == []


def test_an_incident_has_all_events_of_a_service_until_each_reporter_says_that_it_is_better() -> None:
    (incident,) = find_incidents(
        [
            event(0, Turn.BETTER),  # it only started: no incident
            event(20, Turn.WORSE),
            event(20.1, Turn.BETTER),
            event(20.2, Turn.WORSE, events.GATEWAY),
            event(20.3, Turn.WORSE, events.GATEWAY),  # the other worker of the gateway
            event(60, Turn.BETTER, events.GATEWAY),
        ]
    )
    assert [round(one.time - 1000, 1) for one in incident.events] == [20, 20.1, 20.2, 60]
    assert incident.is_over


def test_an_instance_that_registers_again_is_back_also_if_the_gateway_does_not_say_so() -> None:
    worse = [event(0, Turn.WORSE, reporter) for reporter in (events.REGISTRY, events.GATEWAY)]
    (incident,) = find_incidents([*worse, event(3, Turn.BETTER, events.REGISTRY)])
    assert incident.is_over


def test_an_incident_is_over_when_each_says_so_and_the_latest_event_comes_first() -> None:
    found = find_incidents(
        [
            event(0, Turn.WORSE, node="redis-cache"),
            event(1, Turn.WORSE),
            event(2, Turn.BETTER, node="redis-cache"),
        ]
    )
    assert [(one.node, one.is_over) for one in found] == [("redis-cache", True), ("product-2", False)]


def test_after_it_recovered_a_later_failure_is_another_incident() -> None:
    found = find_incidents([event(0, Turn.WORSE), event(1, Turn.BETTER), event(30, Turn.WORSE)])
    assert [len(one.events) for one in found] == [1, 2]


def test_the_requests_of_an_incident_say_whether_any_failed_and_who_answered() -> None:
    retried = Event(1000.5, "product-2", events.GATEWAY, Turn.SAME, "does not answer")
    (incident,) = find_incidents([event(0.5, Turn.WORSE), retried, event(2, Turn.BETTER)])
    before, during = Request(1000.1, "product-2"), [Request(1001.0, "product-1"), Request(1002, "product-3")]
    words = describe_requests(incident, [before, *during], now=1010)
    assert words.startswith("No request failed. Answered meanwhile: product-1 (1), product-3 (1).")
    assert words.endswith("Sent again to another instance: 1.")
    failed = describe_requests(incident, [*during, Request(1000, "")], now=1010)  # nginx logs whole seconds
    assert failed.startswith("1 of 3 requests failed.")
    assert describe_requests(incident, [before], now=1010) == "No request reached the shop meanwhile."
    assert (
        describe_requests(incident, [Request(1005, "product-1")], now=1010)
        == "Its requests are no longer known."
    )
