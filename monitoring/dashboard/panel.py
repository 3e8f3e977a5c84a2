"""The panel of the chosen service or flow: each part is read on its own, so that a slow one does not delay others.

Quick parts come from the watchers' memory and are read each second. Slow ones ask the kernel or read a file, for the
chosen service or flow alone. `explain` sends a packet, so it runs when a flow is chosen. A part that has not changed
is not sent again, because Dash replaces its elements: a selected text would be lost. A chart only gets a new figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dash import MATCH, Dash, Input, Output, State, html, no_update
from plotly.io.json import to_json_plotly  # type: ignore[import-untyped] # it has no types

from monitoring.dashboard import charts, details, parts
from monitoring.dashboard.commands import explain, flows_to_explain
from monitoring.dashboard.model import Model
from monitoring.dashboard.window import KEPT_SECONDS
from monitoring.live import LiveError

SLOW_MILLISECONDS = 3000
RANGES = {"last 5 s": 5, "last minute": 60, "last 10 minutes": KEPT_SECONDS}
Names = Sequence[str]
Read = Callable[[Model, Names], Any]


@dataclass(frozen=True)
class Part:
    """A part of the panel: its title, how often it is read, and what reads it.

    The speed is "quick", "slow", "once", or "chart": quick, and what it reads is a figure.
    """

    title: str
    speed: str
    read: Read


def _overview(model: Model, _: Names) -> Any:
    return parts.table(details.overview(model, model.scene(5)))


def _facts(model: Model, names: Names) -> Any:
    return parts.table(details.facts(model, names[0]))


def _state(model: Model, names: Names) -> Any:
    place = next(place for place in model.scene(5).places if place.name == names[0])
    checks = list(model.health.checks_of(names[0]))
    uptime = f"; {details.uptime(model, names[0])} of {len(checks)} checks answered" if checks else ""
    return f"{details.describe_state(place)}{uptime}; {place.packets_per_second:.1f} packets/s"


def _health(model: Model, names: Names) -> Any:
    return charts.health(model.health.checks_of(names[0]))


def _sockets(model: Model, names: Names) -> Any:
    node = model.topology.node(names[0])
    return parts.table(details.sockets(node)) if node else _is_no_node(names[0])


def _connections(model: Model, names: Names) -> Any:
    return parts.table(details.tracked(model, set(names))[0])


def _nat(model: Model, names: Names) -> Any:
    return parts.table(details.tracked(model, set(names))[1])


def _logs(model: Model, names: Names) -> Any:
    node = model.topology.node(names[0])
    if not node or not node.runs:
        return html.P("It runs no program of the lab.", className="faint")
    return parts.table(details.logged(details.log_lines(names[0])))


def _lines(model: Model, names: Names) -> Any:
    return parts.table(details.policy_lines(model, names))


def _drops(model: Model, names: Names) -> Any:
    return parts.table(details.drops_between(model.scene(KEPT_SECONDS), set(names)))


def _rates(model: Model, names: Names) -> Any:
    return parts.table(details.rates(model, (names[0], names[1]), RANGES))


def _packets(model: Model, names: Names) -> Any:
    return charts.packets(model.history((names[0], names[1])))


def _path(model: Model, names: Names) -> Any:
    flow = next(flows_to_explain(model, model.scene(60), names[0], names[1]), None)
    if not flow:
        return html.P("Neither end listens on a port.", className="faint")
    return parts.packet_path(explain(flow))


def _is_no_node(name: str) -> html.P:
    return html.P(f"{name} is not a namespace of the lab.", className="faint")


OF_SERVICE = {
    "state": Part("", "quick", _state),
    "facts": Part("", "once", _facts),
    "health": Part("Health and latency, last 10 minutes", "chart", _health),
    "sockets": Part("Listening sockets (ss)", "slow", _sockets),
    "connections": Part("Connections (conntrack)", "slow", _connections),
    "logs": Part("Last log lines, the newest first; without answered checks", "slow", _logs),
    "lines": Part("Lines of the policy", "slow", _lines),
    "drops": Part("Dropped, last 10 minutes", "quick", _drops),
}
OF_FLOW = {
    "rates": Part("Rates", "quick", _rates),
    "packets": Part("Packets a second, last 10 minutes", "chart", _packets),
    "path": Part("A packet's path (explain)", "once", _path),
    "flow-connections": Part("Connections (conntrack)", "slow", _connections),
    "nat": Part("Address translation (NAT)", "slow", _nat),
    "flow-drops": Part("Dropped, last 10 minutes", "quick", _drops),
    "flow-lines": Part("Lines of the policy", "slow", _lines),
}
OF_ALL = {"overview": Part("", "quick", _overview)}
_GROUPS = (OF_ALL, OF_SERVICE, OF_FLOW)  # by the number of chosen names


def skeleton(chosen: Names) -> list[Any]:
    """Return the panel with empty parts, which their callbacks fill: of all, of a service, or of a flow."""
    sections = [_section(name, part) for name, part in _GROUPS[len(chosen)].items()]
    if len(chosen) == 1:
        sections.insert(3, _findings_section(chosen[0]))
    return [html.H2(" \u2194 ".join(chosen) or "All services"), *sections]


def _section(name: str, part: Part) -> html.Section:
    title = [html.H3(part.title)] if part.title else []
    reading = html.P("reading \u2026", className="faint")
    content = (
        charts.graph({part.speed: name})
        if part.speed == "chart"
        else html.Div(reading, id={part.speed: name})
    )
    return html.Section([*title, content], className=f"part part-{name}")


def _findings_section(name: str) -> html.Section:
    button = html.Button("Find the cause", id={"ask": "panel"}, n_clicks=0, className="ask")
    content = html.Div(id={"findings": name})
    return html.Section([html.H3("Findings (diagnose)"), content, button], className="part part-findings")


def add_panel(app: Dash, model: Model) -> None:
    """Add the callbacks that fill the parts of the panel, each on its own."""
    clocks = {"quick": "tick", "slow": "slow", "chart": "tick"}
    for speed in (*clocks, "once"):
        prop = "figure" if speed == "chart" else "children"

        @app.callback(
            Output({speed: MATCH}, prop),
            Input({speed: MATCH}, "id"),
            *([Input(clocks[speed], "n_intervals")] if speed in clocks else []),
            State("chosen", "data"),
            State({speed: MATCH}, prop),
        )
        def read(which: dict[str, str], *rest: Any) -> Any:
            (name,), (chosen, shown) = which.values(), rest[-2:]
            part = _GROUPS[len(chosen or ())].get(name)
            if not part:  # another service or flow was chosen meanwhile
                return no_update
            return unless_shown(_read(part, model, chosen or ()), shown)

    @app.callback(
        Output({"findings": MATCH}, "children"),
        Input({"findings": MATCH}, "id"),
        Input("found", "data"),
    )
    def show_findings(which: dict[str, str], found: dict[str, Any] | None) -> Any:
        return findings_about(model, which["findings"], found)


def unless_shown(found: Any, shown: Any) -> Any:
    """Return what was read, or no_update if the page shows the same."""
    return no_update if json.loads(to_json_plotly(found)) == shown else found


def _read(part: Part, model: Model, names: Names) -> Any:
    try:
        return part.read(model, names)
    except (LiveError, OSError) as error:
        return html.P(str(error), className="bad")


def findings_about(model: Model, name: str, found: dict[str, Any] | None) -> Any:
    """Return the findings of the last diagnosis about a place."""
    if not found:
        return html.P("Not diagnosed yet.", className="faint")
    if "error" in found:
        return html.P(found["error"], className="bad")
    node = model.topology.node(name)
    words = {name, *((node.namespace, node.interface, node.bridge_interface) if node else ())}
    about = [
        finding
        for finding in found["findings"]
        if words & {finding["place"], finding["object"], *finding["place"].split(" to ")}
    ]
    return parts.findings(about) if about else html.P(f"No findings about {name}.", className="good")
