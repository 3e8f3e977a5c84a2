"""The terminal of the page: a shell on the host or in a node's namespace. Without a token there is no such route."""

from __future__ import annotations

import os
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from dash import Dash, Input
from flask import Blueprint, Response, request
from flask_sock import Sock  # type: ignore[import-untyped] # it has no types
from simple_websocket import Server  # type: ignore[import-untyped] # likewise

from lab.topology import Topology
from monitoring.dashboard.access import PROTOCOL, refuse_unless_allowed
from monitoring.dashboard.exercise_panel import SCRIPT as EXERCISE_SCRIPT
from monitoring.dashboard.exercise_panel import exercise_folder, exercise_routes
from monitoring.dashboard.shells import Shell
from monitoring.dashboard.terminal_session import Session
from monitoring.names import HOST

MAX_TERMINALS = 4  # each takes a thread of gunicorn; monitoring/dashboard.sh adds as many
_SCRIPTS = ["/dock/xterm/xterm.js", "/dock/xterm/addon-fit.js", "/dock/terminal.js", "/dock/dock.js"]
STYLES = ["/dock/xterm/xterm.css", "/dock/dock.css"]
_REFUSED = 4000  # the code of a WebSocket's close: the page shows the reason
_SOCKET = {"subprotocols": [PROTOCOL], "ping_interval": 25, "max_message_size": 1 << 16}
_ROOT = Path(__file__).resolve().parents[2]
# The dashboard's own variables are not for a shell: `make down` ends what has CNET_WATCHES.
_ENVIRONMENT = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "SUDO_USER", "EDITOR", "VISUAL")


def scripts() -> list[str]:
    """Return the scripts of the page."""
    return [*_SCRIPTS, EXERCISE_SCRIPT] if exercise_folder() else _SCRIPTS


def add_terminal(app: Dash, topology: Topology, token: str) -> None:
    """Add the routes of the terminal, and the choice of a node on the map."""
    routes = Blueprint("dock", __name__, static_folder="dock", static_url_path="/dock")
    guarded = Blueprint("terminal", __name__, url_prefix="/terminal")
    places = [HOST, *(node.name for node in topology.nodes)]
    free = BoundedSemaphore(MAX_TERMINALS)

    @guarded.before_request
    def refuse() -> Response | None:
        return refuse_unless_allowed(request, token)

    @guarded.post("/places")
    def list_places() -> dict[str, Any]:
        return {"places": places}

    @Sock().route("/shell/<place>", bp=guarded)  # type: ignore[untyped-decorator]
    def shell(page: Server, place: str) -> None:
        if place not in places:
            page.close(_REFUSED, f"There is no node {place[:40]}.")
        elif not free.acquire(blocking=False):
            page.close(_REFUSED, f"{MAX_TERMINALS} terminals are open, which is the limit: close one.")
        else:
            try:
                _run(page, topology, place)
            finally:
                free.release()

    app.server.config["SOCK_SERVER_OPTIONS"] = _SOCKET
    app.server.register_blueprint(routes)
    app.server.register_blueprint(guarded)
    folder = exercise_folder()
    if folder:
        app.server.register_blueprint(exercise_routes(folder, token))
    app.clientside_callback(  # type: ignore[no-untyped-call] # dash has no type for it
        "function(chosen) { window.dock.choose(chosen); }", Input("chosen", "data")
    )


def _run(page: Server, topology: Topology, place: str) -> None:
    try:
        command, environment = _shell(topology, place)
        shell = Shell(command, environment, _ROOT)
    except OSError as error:
        page.close(_REFUSED, f"The shell cannot be started: {error.strerror}"[:120])
        return
    Session(page, shell).run()


def _shell(topology: Topology, place: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that is a shell at a place, and its environment."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment = kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    node = topology.node(place)
    if node:
        return [str(_ROOT / "scripts" / "lab.sh"), "shell", node.namespace], environment
    folder = exercise_folder()
    if folder:  # its settings have the prompt and the commands
        return ["bash", "--rcfile", str(folder / "rc")], environment
    return ["bash", "--norc"], environment | {"PS1": f"[{place}] \\w # "}
