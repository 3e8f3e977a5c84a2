"""Small parts of the page that several panels use: a table, a packet's path, findings, what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from dash import html

from monitoring.dashboard.details import MISSING, SURPLUS, Rows
from monitoring.dashboard.events import Event, Turn
from monitoring.dashboard.incidents import Incident

_MAX_INCIDENTS = 5
_BAD_WORDS = (MISSING, SURPLUS)
_TURNS = {Turn.WORSE: "bad", Turn.BETTER: "good", Turn.SAME: ""}


def table(rows: Rows) -> html.Div:
    """Return a small table; the first cell of a table without headings is the heading of its row."""
    if not rows.cells:
        return html.Div(html.P(rows.empty, className="faint"), className="table")
    if not any(rows.headings):
        body = [html.Tr([html.Th(first, scope="row"), *map(_cell, rest)]) for first, *rest in rows.cells]
        return html.Div(html.Table(html.Tbody(body)), className="table")
    head = html.Thead(html.Tr([html.Th(heading, scope="col") for heading in rows.headings]))
    body = [html.Tr([_cell(cell) for cell in row]) for row in rows.cells]
    return html.Div(html.Table([head, html.Tbody(body)]), className="table")


def _cell(text: str) -> html.Td:
    return html.Td(text, className="bad" if text.startswith(_BAD_WORDS) else "")


def findings(found: Sequence[dict[str, Any]]) -> html.Ol:
    """Return findings of `make diagnose`: cause, evidence, what it breaks, repair."""
    return html.Ol([html.Li(_finding(finding)) for finding in found], className="findings")


def _finding(finding: dict[str, Any]) -> list[Any]:
    seen = [
        html.Div([html.Code(evidence["command"]), f" \u2192 {evidence['line']}"])
        for evidence in finding["evidence"]
    ]
    repair = [html.Div(["Repair: ", html.Code(command)]) for command in finding["repair"]]
    return [
        html.Strong(finding["cause"], className="bad"),
        html.Div(f"Breaks: {finding['breaks']}"),
        *seen,
        *repair,
    ]


def packet_path(explanation: dict[str, Any]) -> list[Any]:
    """Return a packet's path hop by hop, its verdict and how to fix it."""
    if "error" in explanation:
        return [html.P(explanation["error"], className="bad")]
    flow, outcome = explanation["flow"], explanation["outcome"]
    port = f"/{flow['port']}" if flow["port"] else ""
    title = f"{flow['source']} \u2192 {flow['destination']} {flow['protocol']}{port}: {outcome['kind']}"
    hops = [
        html.Li(
            [
                html.Strong(hop["where"]),
                f"  {hop['what']}",
                html.Code(hop["shown_by"]) if hop["shown_by"] else "",
            ]
        )
        for hop in explanation["hops"]
    ]
    ending = [html.P([html.Strong("Why: "), f"{outcome['policy_id'] or ''} {outcome['why']}".strip()])]
    if outcome["fix"]:
        ending.append(html.P([html.Strong("To change it: "), outcome["fix"]]))
    good = outcome["kind"] == "allowed"
    return [
        html.Div(
            [html.P(html.Strong(title), className="good" if good else "bad"), html.Ol(hops), *ending],
            id="story",
            className="story",
        )
    ]


def happened(incidents: Iterable[tuple[Incident, str]]) -> Any:
    """Return the latest incidents: what happened to a service, step by step, and to customers' requests meanwhile."""
    shown = list(incidents)[:_MAX_INCIDENTS]
    if not shown:
        return html.P("Nothing failed in the last ten minutes.", className="faint")
    return [_incident(incident, requests, is_latest=incident is shown[0][0]) for incident, requests in shown]


def _incident(incident: Incident, requests: str, *, is_latest: bool) -> html.Details:
    """Return an incident; only the latest one shows its steps until it is opened."""
    over = f"over after {incident.end - incident.begin:.1f} s" if incident.is_over else "not over yet"
    title = html.Strong(f"{incident.node}, {_clock(incident.begin)[:8]}: {over}")
    good = requests.startswith("No request failed")
    verdict = html.Span(requests, className="verdict good" if good else "verdict")
    steps = html.Ol(list(map(_step, incident.events)))
    return html.Details([html.Summary([title, verdict]), steps], className="incident", open=is_latest)


def _step(event: Event) -> html.Li:
    said = html.Span(event.text, className=_TURNS[event.turn])
    return html.Li([html.Time(_clock(event.time)), " ", html.Strong(event.reporter), ": ", said])


def _clock(seconds: float) -> str:
    """Format seconds since 1970 as the time of day, to a tenth of a second."""
    return f"{datetime.fromtimestamp(seconds):%H:%M:%S.%f}"[:10]
