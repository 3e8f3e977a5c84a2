"""The dashboard's page: a map of services and their traffic, drops in red, details of the chosen service or flow.

Bound to loopback, and answers only requests with a loopback name in Host (monitoring/local_only.py).
"""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, ctx, html, no_update
from flask import Flask

from lab.topology import load
from monitoring.dashboard import details, page, style
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
    app = Dash("monitoring.dashboard", title="Container networking lab", update_title="")
    app.server.wsgi_app = local_only(app.server.wsgi_app)
    app.layout = page.layout(model)
    _add_live(app, model)
    _add_diagnosis(app, model)
    _add_details(app, model)
    _follow_browser(app, "theme", "(prefers-color-scheme: dark)", "dark", "light")
    _follow_browser(app, "width", "(max-width: 800px)", "narrow", "wide")

    @app.callback(Output("map", "stylesheet"), Input("theme", "data"))
    def theme(name: str) -> list[style.Element]:
        return style.style_sheet(name)

    return app


def _follow_browser(app: Dash, store: str, query: str, if_so: str, if_not: str) -> None:
    """Keep the result of a media query in a store."""
    app.clientside_callback(  # type: ignore[no-untyped-call] # dash has no type for it
        "function(_, now) {"
        f"  const found = window.matchMedia('{query}').matches ? '{if_so}' : '{if_not}';"
        "  return found === now ? window.dash_clientside.no_update : found;"
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
        Output("history", "children"),
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
        scene = model.scene(page.RANGES[wanted])
        pair = (chosen[0], chosen[1]) if chosen and len(chosen) == 2 else None  # noqa: PLR2004 - a way
        options, new_layout = page.way_options(scene), page.map_layout(width)
        return (
            style.elements(scene, narrow=width == "narrow", checks=bool(checks)),
            no_update if layout == new_layout else new_layout,
            page.headline(scene), page.table(details.drop_rows("", scene.drops)), page.balance(scene),
            page.history(model.history(pair), pair), no_update if options == ways else options,
        )  # fmt: skip


# --- the diagnosis ---------------------------------------------------------------------------------


def _add_diagnosis(app: Dash, model: Model) -> None:
    @app.callback(Output("failing", "data"), Input("tick", "n_intervals"), State("failing", "data"))
    def note_failing(_: int, failing: list[str]) -> Any:
        now = page.failing(model.health.last.values())
        return no_update if now == failing else now

    @app.callback(
        Output("diagnosis", "children"),
        Input("ask", "n_clicks"),
        Input("failing", "data"),
        prevent_initial_call=True,
    )
    def find_causes(_: int, failing: list[str]) -> Any:
        if ctx.triggered_id == "failing" and not failing:
            return html.P("All services are up again.", className="faint")
        return page.diagnosis(details.diagnose())


# --- the chosen service or flow -----------------------------------------------------------------------------


def _add_details(app: Dash, model: Model) -> None:
    @app.callback(
        Output("chosen", "data"),
        Output("details", "children"),
        Input("map", "tapNodeData"),
        Input("map", "tapEdgeData"),
        Input("place", "value"),
        Input("way", "value"),
        State("range", "value"),
        prevent_initial_call=True,
    )
    def choose(node: Any, edge: Any, place: str | None, way: str | None, wanted: str) -> tuple[Any, Any]:
        given: dict[str, list[str] | None] = {
            "map.tapNodeData": [node["id"]] if node else None,
            "map.tapEdgeData": [edge["source"], edge["target"]] if edge else None,
            "place.value": [place] if place else None,
            "way.value": way.split("|") if way else None,
        }
        chosen = given[ctx.triggered[0]["prop_id"]]
        if not chosen or not set(chosen) <= {place.name for place in model.scene(1).places}:
            return None, html.P("Choose a service or a flow.", className="faint")
        scene = model.scene(max(page.RANGES[wanted], 60))
        tables = map(page.table, details.tables(model, scene, chosen))
        if len(chosen) == 1:
            return chosen, list(tables)
        source, destination = chosen
        flow = next(details.flows_to_explain(model, scene, source, destination), None)
        path = page.packet_path(details.explain(flow)) if flow else []
        return chosen, [html.H2(f"{source} \u2194 {destination}"), *path, *tables]
