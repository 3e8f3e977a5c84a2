"""The panel of an exercise: its commands, asked as the exercise's shell asks them (docs/reference/exercises.md).

CNET_EXERCISE names the exercise's folder; a program outside of the sandbox serves the socket there. The routes need
the token, like the terminal's.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request
from markdown_it import MarkdownIt

from monitoring.dashboard.access import refuse_unless_allowed

FOLDER = "CNET_EXERCISE"  # the variable
SCRIPT = "/dock/exercise.js"
_COMMANDS = ("symptom", "check", "hint", "reset", "give-up", "explain")
_SECONDS = 120  # a check takes a few, and the exercise answers one command at a time
_ENDED = {"message": "The exercise has ended."}


def exercise_folder() -> Path | None:
    """Return the folder of the exercise in whose sandbox this is."""
    folder = os.environ.get(FOLDER)
    return Path(folder) if folder else None


def exercise_routes(folder: Path, token: str) -> Blueprint:
    """Return the routes of the panel."""
    routes = Blueprint("exercise", __name__, url_prefix="/exercise")

    @routes.before_request
    def refuse() -> Response | None:
        return refuse_unless_allowed(request, token)

    @routes.post("/<command>")
    def answer(command: str) -> dict[str, Any] | Response:
        if command not in _COMMANDS:
            return Response("An exercise has no such command.\n", 404, mimetype="text/plain")
        return with_html(ask(folder / "socket", command))

    return routes


def ask(path: Path, command: str) -> dict[str, Any]:
    """Return the exercise's answer to a command; {"message"} if it has ended."""
    wanted = {"command": command, "arguments": ["--json"], "width": 120, "terminal": False, "colour": False}
    text = ""
    try:
        with socket.socket(socket.AF_UNIX) as exercise:
            exercise.settimeout(_SECONDS)
            exercise.connect(str(path))
            exercise.sendall(json.dumps(wanted).encode() + b"\n")
            with exercise.makefile("rb") as lines:
                for line in lines:
                    text += json.loads(line).get("text", "")
        answer: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return {"message": text.strip()} if text else _ENDED  # a failed command answers with a line
    return answer


def with_html(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with its explanation as HTML; HTML in the Markdown is shown as text."""
    if "explanation" not in answer:
        return answer
    return answer | {"explanation": MarkdownIt("commonmark", {"html": False}).render(answer["explanation"])}
