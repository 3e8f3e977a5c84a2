"""The dashboard's page: a map of services and their traffic, drops in red, details of the chosen service or flow.

Bound to loopback, and answers only requests with a loopback name in Host (monitoring/local_only.py).
"""

from __future__ import annotations

import json
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, html, no_update
from flask import Flask, Response

from lab.topology import load
from monitoring.dashboard import charts, details, grid, page, panel, parts, style, terminal
from monitoring.dashboard.access import read_token
from monitoring.dashboard.commands import diagnose
from monitoring.dashboard.model import Model
from monitoring.local_only import local_only


def serve() -> Flask:
    """Watch the running lab, and return the page as a WSGI application."""
    model = Model(load())
    model.start()
    server: Flask = make(model).server
    return server


def make(model: Model) -> Dash:
    """Return the Dash application."""
    token = read_token()
    app = Dash(
        "monitoring.dashboard", title="Container networking lab", update_title="",
        external_scripts=terminal.scripts() if token else [], external_stylesheets=terminal.STYLES if token else [],
    )  # fmt: skip
    if token:
        terminal.add_terminal(app, model.topology, token)
    app.server.wsgi_app = local_only(app.server.wsgi_app)
    app.server.after_request(_refuse_frames)
    app.layout = page.layout(model)
    _add_live(app, model)
    _add_diagnosis(app, model)
    _add_choice(app, model)
    panel.add_panel(app, model)
    _follow_browser(app, "theme", {"dark": "(prefers-color-scheme: dark)"}, "light")
    widths = {grid.NARROW: "(max-width: 800px)", grid.LARGE: "(min-width: 1700px)"}
    _follow_browser(app, "width", widths, grid.WIDE)

    @app.callback(Output("map", "stylesheet"), Input("theme", "data"))
    def theme(name: str) -> list[style.Element]:
        return style.style_sheet(name)

    return app


def _refuse_frames(answer: Response) -> Response:
    """Let no page show this one in a frame: to a browser, another port of localhost is the same site."""
    answer.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
    return answer


def _follow_browser(app: Dash, store: str, queries: dict[str, str], otherwise: str) -> None:
    """Keep the name of the media query that matches in a store."""
    app.clientside_callback(  # type: ignore[no-untyped-call] # dash has no type for it
        "function(_, now) {"
        f"  const found = Object.entries({json.dumps(queries)}).find(([, query]) => window.matchMedia(query).matches);"
        f"  const name = found ? found[0] : '{otherwise}';"
        "  return name === now ? window.dash_clientside.no_update : name;"
        "}",
        Output(store, "data"),
        Input("tick", "n_intervals"),
        State(store, "data"),
    )


# --- the live part -------------------------------------------------------------------------------


def _add_live(app: Dash, model: Model) -> None:
    @app.callback(
        Output("map", "elements"),
        Output("map", "layout"),
        Output("headline", "children"),
        Output("drops", "children"),
        Output("balance", "children"),
        Output("history", "figure"),
        Output("way", "options"),
        Input("tick", "n_intervals"),
        Input("range", "value"),
        Input("width", "data"),
        Input("checks", "value"),
        State("chosen", "data"),
        State("way", "options"),
        State("map", "layout"),
    )
    def live(  # noqa: PLR0917 - Dash passes them by position
        _: int,
        wanted: str,
        width: str,
        checks: list[str],
        chosen: list[str] | None,
        ways: list[Any],
        layout: dict[str, Any],
    ) -> tuple[Any, ...]:
        scene = model.scene(panel.RANGES[wanted])
        options, new_layout = page.way_options(scene, chosen or ()), page.map_layout(scene, width)
        return (
            style.elements(scene, chosen or (), width=width, checks=bool(checks)),
            no_update if layout == new_layout else new_layout,
            page.headline(scene), parts.table(details.drop_rows(scene.drops)), page.balance(scene),
            charts.packets(model.history(None)), no_update if options == ways else options,
        )  # fmt: skip

    @app.callback(Output("happened", "children"), Input("tick", "n_intervals"), State("happened", "children"))
    def show_incidents(_: int, shown: Any) -> Any:
        return panel.unless_shown(parts.happened(model.story.incidents()), shown)


# --- the diagnosis ---------------------------------------------------------------------------------


def _add_diagnosis(app: Dash, model: Model) -> None:
    @app.callback(Output("failing", "data"), Input("tick", "n_intervals"), State("failing", "data"))
    def note_failing(_: int, failing: list[str]) -> Any:
        now = page.failing(model.health.last.values())
        return no_update if now == failing else now

    @app.callback(
        Output("diagnosis", "children"),
        Output("found", "data"),
        Input({"ask": ALL}, "n_clicks"),
        Input("failing", "data"),
        prevent_initial_call=True,
    )
    def find_causes(_: list[int], failing: list[str]) -> Any:
        if ctx.triggered_id == "failing" and not failing:
            return html.P("All services are up again.", className="faint"), None
        if not ctx.triggered[0]["value"]:  # a button that has appeared, not a click
            return no_update, no_update
        found = diagnose()
        return page.diagnosis(found), found


# --- the chosen service or flow -----------------------------------------------------------------------------


def _add_choice(app: Dash, model: Model) -> None:
    """Keep the map, the two lists and the panel at the same choice."""

    @app.callback(
        Output("chosen", "data"),
        Output("details", "children"),
        Output("place", "value"),
        Output("way", "value"),
        Output("way", "options", allow_duplicate=True),
        Output("map", "tapNodeData"),
        Output("map", "tapEdgeData"),
        Input("map", "tapNodeData"),
        Input("map", "tapEdgeData"),
        Input("place", "value"),
        Input("way", "value"),
        Input("close", "n_clicks"),
        State("chosen", "data"),
        prevent_initial_call=True,
    )
    def choose(
        node: Any, edge: Any, place: str | None, way: str | None, _: int, before: list[str] | None
    ) -> tuple[Any, ...]:
        given: dict[str, list[str]] = {
            "map.tapNodeData": [node["id"]] if node else [],
            "map.tapEdgeData": [edge["source"], edge["target"]] if edge else [],
            "place.value": [place] if place else [],
            "way.value": way.split("|") if way else [],
        }
        chosen = given.get(ctx.triggered[0]["prop_id"], [])  # of the button: none
        if not set(chosen) <= {place.name for place in model.scene(1).places}:
            chosen = []
        if chosen == (before or []):
            return (no_update,) * 5 + (None, None)
        if len(chosen) == page.PAIR:
            chosen = list(model.from_left(*chosen))
        options = page.way_options(model.scene(panel.RANGES["last 5 s"]), chosen)
        pair = "|".join(chosen) if len(chosen) == page.PAIR else None
        one = chosen[0] if len(chosen) == 1 else None
        return chosen, panel.skeleton(chosen), one, pair, options, None, None
