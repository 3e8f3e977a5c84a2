"""The server of the page's terminal. Runs in a sandbox with a lab and a dashboard (tests/bats/terminal.bats)."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from simple_websocket import ConnectionClosed  # type: ignore[import-untyped] # it has no types
from terminals import BASE, HOST, TOKEN, URL, WEBSOCKET, connect, shell_in, shells, wait_until

pytestmark = pytest.mark.skipif(not URL, reason="needs a dashboard: tests/bats/terminal.bats")


SHELL = "/terminal/shell/host"


def answer_to(headers: dict[str, str], method: str = "GET", path: str = SHELL) -> tuple[int, str]:
    """Return the status and the text of an answer; the text of an upgrade is empty."""
    connection = http.client.HTTPConnection(HOST, timeout=5)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    text = "" if answer.status == 101 else answer.read().decode()
    connection.close()
    return answer.status, text


def without(header: str) -> dict[str, str]:
    return {name: value for name, value in WEBSOCKET.items() if name != header}


REFUSED = {
    "no origin": (without("Origin"), "no header Origin"),
    "another site": (WEBSOCKET | {"Origin": "http://evil.example"}, "another site"),
    "another port of localhost": (WEBSOCKET | {"Origin": "http://127.0.0.1:8080"}, "another origin"),
    "another scheme": (WEBSOCKET | {"Origin": BASE.replace("http", "https")}, "another origin"),
    "another name of loopback": (WEBSOCKET | {"Origin": "http://localhost:8050"}, "another origin"),
    "a sandboxed frame": (WEBSOCKET | {"Origin": "null"}, "another site"),
    "a name that was bound to 127.0.0.1": (WEBSOCKET | {"Host": "evil.example:8050"}, "Host names another site"),
    "no token": (WEBSOCKET | {"Sec-WebSocket-Protocol": "cnet-terminal"}, "no token"),
    "no protocols": (without("Sec-WebSocket-Protocol"), "no token"),
    "a wrong token": (WEBSOCKET | {"Sec-WebSocket-Protocol": f"cnet-terminal, token.{TOKEN[:-1]}"}, "another start"),
    "an empty token": (WEBSOCKET | {"Sec-WebSocket-Protocol": "cnet-terminal, token."}, "no token"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_shell_is_refused_before_the_upgrade(name: str) -> None:
    headers, words = REFUSED[name]
    status, text = answer_to(headers)
    assert status == 403
    assert words in text
    assert text.count("\n") == 1
    assert shells() == []


def test_a_shell_is_given_to_the_page_itself_with_the_token() -> None:
    assert answer_to(WEBSOCKET) == (101, "")


def test_the_list_of_places_needs_origin_and_token_as_the_shell_does() -> None:
    path, bearer = "/terminal/places", f"Bearer {TOKEN}"
    status, text = answer_to({"Origin": BASE, "Authorization": bearer}, "POST", path)
    assert status == 200
    assert json.loads(text)["places"][0] == "host"
    assert "redis-cache" in json.loads(text)["places"]
    for headers in ({"Authorization": bearer}, {"Origin": BASE}, {"Origin": BASE, "Authorization": "Bearer x"},
                    {"Origin": "http://localhost:8080", "Authorization": bearer}):  # fmt: skip
        assert answer_to(headers, "POST", path)[0] == 403


# --- the shell ----------------------------------------------------------------------------------------------


def reason_of_close(place: str) -> str:
    """Return why the server closes a connection right after the upgrade (RFC 6455, 5.5.1)."""
    with socket.create_connection((urlsplit(BASE).hostname, urlsplit(BASE).port), timeout=5) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": HOST} | WEBSOCKET).items())
        connection.sendall(f"GET /terminal/shell/{place} HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        close = re.compile(rb"\r\n\r\n\x88(.)..(.*)", re.DOTALL)
        while not (frame := close.search(answer)) or len(frame[2]) + 2 < frame[1][0]:
            answer += connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return frame[2].decode()


def test_a_shell_is_in_the_node_that_was_named() -> None:
    with shell_in("redis-cache") as shell:
        shell.read_until(r"\[redis-cache\] .* # ")
        shell.type("ip netns identify; tty; echo $TERM\n")
        assert "xterm-256color" in shell.read_until(r"\nredis-cache\n/dev/pts/.*\n.*color\n")


def test_a_place_that_is_not_in_the_table_is_refused() -> None:
    assert reason_of_close("product-9") == "There is no node product-9."


def test_the_size_follows_the_page_and_letters_are_whole() -> None:
    with shell_in() as shell:
        shell.client.send(json.dumps({"rows": 33, "columns": 111}))
        shell.type("stty size; printf '\\xe2'; sleep 0.3; printf '\\x82\\xac\\n'\n")
        shell.read_until("33 111\n\u20ac\n")


def test_ctrl_c_ends_a_flood_and_the_shell_goes_on() -> None:
    with shell_in() as shell:
        shell.type("yes\n")
        shell.read_until("(y\n){5000}")
        shell.type("\x03")
        shell.type("echo $((40 + 2))\n")
        shell.read_until("\n42\n")


def memory() -> int:
    """Return the dashboard's resident memory, in KiB."""
    worker = subprocess.run(
        ["pgrep", "-P", Path("/run/cnet/dashboard.pid").read_text().strip()], capture_output=True, text=True, check=True
    ).stdout.split()[0]  # fmt: skip
    status = Path(f"/proc/{worker}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def test_a_page_that_takes_nothing_stops_a_flood_in_little_memory() -> None:
    with shell_in() as shell:
        shell.type("cat /dev/urandom\n")
        while len(shell.printed) < 60_000:
            shell.printed += shell.client.receive(timeout=5)
        before, got = memory(), len(shell.printed)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            message = shell.client.receive(timeout=0.2)
            got += len(message or b"")
        assert got < 100_000
        assert memory() - before < 5_000


def test_a_flood_of_megabytes_takes_no_memory() -> None:
    with shell_in() as shell:
        before = memory()
        shell.type("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo en''ded\n")
        got, message, last = 0, b"", b""
        while b"\nended" not in last:
            message = shell.client.receive(timeout=5)
            got, last = got + len(message), (last + message)[-20_000:]
            shell.client.send(json.dumps({"taken": len(message)}))
        assert got > 20_000_000
        assert memory() - before < 8_000


def test_a_paste_larger_than_the_limit_ends_the_shell_and_a_smaller_one_does_not() -> None:
    with shell_in() as shell:
        shell.type("stty raw -echo; sleep 100\n")
        time.sleep(0.5)
        for _ in range(60):
            shell.type("x" * 16_384)
        time.sleep(0.5)
        assert len(shells()) == 2
        for _ in range(10):
            shell.type("x" * 16_384)
        wait_until(lambda: shells() == [])


def runs(command: str) -> bool:
    found = subprocess.run(["pgrep", "-fx", command], stdout=subprocess.DEVNULL, check=False)
    return found.returncode == 0


def test_a_closed_page_ends_all_that_the_shell_started_also_what_ignores_hangups() -> None:
    with shell_in() as shell:
        shell.type("nohup sleep 1001 &>/dev/null & (trap '' HUP TERM; sleep 1002) & sleep 1003\n")
        sleeps = ("sleep 1001", "sleep 1002", "sleep 1003")
        wait_until(lambda: all(map(runs, sleeps)))
        shell.client.close()
        wait_until(lambda: shells() == [] and not any(map(runs, sleeps)), 10)


def test_a_message_that_no_number_fits_ends_the_shell() -> None:
    with shell_in() as shell:
        shell.type("echo here\n")
        shell.read_until("here")
        shell.client.send('{"taken": 1e999}')
        wait_until(lambda: shells() == [])


def test_no_other_page_may_show_this_one_in_a_frame() -> None:
    connection = http.client.HTTPConnection(HOST, timeout=5)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Security-Policy"]) == (200, "frame-ancestors 'none'")
    connection.close()


def test_exit_ends_the_terminal_with_its_status() -> None:
    with shell_in() as shell:
        shell.type("sleep 1000 & exit 7\n")
        with pytest.raises(ConnectionClosed):
            shell.read_until("never")
        assert shell.ended == 7


def test_a_fifth_terminal_is_refused_until_another_one_is_closed() -> None:
    time.sleep(2)  # until the shells of the tests before are forgotten
    with ExitStack() as at_end:  # the client's threads keep a process alive
        clients = [connect("host") for _ in range(4)]
        at_end.callback(lambda: [client.close() for client in clients])
        wait_until(lambda: len(shells()) == 4)
        assert reason_of_close("host") == "4 terminals are open, which is the limit: close one."
        clients.pop().close()
        time.sleep(2)
        clients.append(connect("host"))
        wait_until(lambda: len(shells()) == 4)
    wait_until(lambda: shells() == [])
