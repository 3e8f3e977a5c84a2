"""The file of attempts, and the server that the commands of an exercise's shell ask."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from test_exercises import ATTEMPT, EXAMPLE

from faults.exercises.catalogue import find_fault
from faults.exercises.place import clean_environment, shell_settings
from faults.exercises.progress import ProgressError, attempts_file, read_attempts, store_attempt
from faults.exercises.server import Client, Server

# --- the file of attempts -------------------------------------------------------------------------------


def test_attempts_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "new" / "exercises.json"
    assert read_attempts(file) == []
    store_attempt(file, ATTEMPT)
    store_attempt(file, replace(ATTEMPT, seed=8))
    assert read_attempts(file) == [ATTEMPT, replace(ATTEMPT, seed=8)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "attempts": []}',
        '{"version": 1}',
        '{"version": 1, "attempts": [{"exercise": "x"}]}',
        json.dumps({"version": 1, "attempts": [vars(ATTEMPT) | {"score": "45"}]}),
        json.dumps({"version": 1, "attempts": [vars(ATTEMPT) | {"outcome": "won"}]}),
        json.dumps({"version": 1, "attempts": [vars(ATTEMPT)]})[:-9],
        "\udcff",
    ],
)
def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    file = tmp_path / "exercises.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    for action in (lambda: read_attempts(file), lambda: store_attempt(file, ATTEMPT)):
        with pytest.raises(ProgressError) as error:
            action()
        assert str(error.value).startswith(f"{file} is damaged: ")
        assert f"mv {file} {file}.damaged" in str(error.value)
        assert "\n" not in str(error.value)
    assert file.read_bytes() == text.encode(errors="surrogateescape")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exercises.json", "exercises.lock"]


def test_the_file_is_in_the_home_of_the_user_who_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("SUDO_USER", "nobody")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert attempts_file() == Path("/nonexistent/.local/state/container-networking-lab/exercises.json")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # the specification: ignore one that is not absolute
    assert attempts_file().is_relative_to("/nonexistent")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert attempts_file() == Path("/var/state/container-networking-lab/exercises.json")


# --- the shell and its server ---------------------------------------------------------------------------


def test_the_shell_gets_nothing_of_the_environment_that_may_name_the_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NAME", "MAKEFLAGS", "MAKEOVERRIDES", "NODE", "TOPOLOGY"):
        monkeypatch.setenv(name, EXAMPLE)
    assert EXAMPLE not in clean_environment().values()
    assert EXAMPLE not in shell_settings(find_fault(EXAMPLE))


def ask(path: Path, request: object) -> list[dict[str, object]]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
        client.shutdown(socket.SHUT_WR)
        with client.makefile() as lines:
            return [json.loads(line) for line in lines]


def test_the_server_answers_after_nonsense_after_a_failure_and_after_a_client_that_left(
    tmp_path: Path,
) -> None:
    def answer(command: str, client: Client) -> int:
        if command == "fail":
            raise ValueError("broken")
        client.send(text=f"{command} {client.json}\n")
        return 3

    path = tmp_path / "socket"
    Server(path, answer)
    request = {"command": "check", "arguments": ["--json"], "width": 80, "terminal": False, "colour": False}
    assert ask(path, b"\xff\n") == []
    assert ask(path, {"command": "check"}) == []
    assert ask(path, request | {"command": "fail"})[0]["text"] == "fail failed: ValueError: broken\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    unknown = ask(path, request | {"arguments": ["--all"]})
    assert unknown == [{"text": "check: unknown option --all; the only one is --json\n"}, {"status": 2}]
    assert ask(path, request) == [{"text": "check True\n"}, {"status": 3}]
    assert path.stat().st_mode & 0o777 == 0o600
