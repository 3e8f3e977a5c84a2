#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The terminal of the dashboard's page: who may use it, what a shell there does, how it ends.

load helpers

setup_file() { share_lab; }

@test "the terminal: refusals, a shell in a node, a flood, a closed page; in a browser by mouse and keyboard" {
  need_packaged chromium chromium-browser google-chrome
  in_lab '
    TERMINAL=1 monitoring/dashboard.sh up
    export TERMINAL_URL=$(monitoring/dashboard.sh status | sed "s/^answers: //")
    .venv/bin/python -m pytest tests/lab/test_terminal{,_page}.py -p no:cacheprovider
    refute grep Traceback /var/opt/cnet/log/dashboard.log
    monitoring/dashboard.sh down
  '
  succeeds
  says "37 passed"
}

@test "without TERMINAL=1 there is no such route, no script and no token" {
  in_lab '
    fails_with 2 "TERMINAL=maybe: must be 1" env TERMINAL=maybe monitoring/dashboard.sh up
    monitoring/dashboard.sh up
    [[ ! -e /run/cnet/dashboard.token && $(monitoring/dashboard.sh status) == "answers: http://localhost:8050/" ]]
    page=$(curl -s http://localhost:8050/)
    [[ $page != *dock* && $page != *xterm* ]]
    status() { curl -s -m 2 -o /dev/null -w "%{http_code}" -H "Origin: http://localhost:8050" "$@"; }
    upgrade=(-H "Connection: Upgrade" -H "Upgrade: websocket" -H "Sec-WebSocket-Version: 13"
      -H "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" -H "Sec-WebSocket-Protocol: cnet-terminal, token.x")
    [[ $(status "${upgrade[@]}" http://localhost:8050/terminal/shell/host) == 400 ]]
    [[ $(status -X POST http://localhost:8050/terminal/places) == 405 ]]
    refute grep -q "Terminal(" <(curl -s http://localhost:8050/dock/xterm/xterm.js)
    monitoring/dashboard.sh down
  '
  succeeds
}

@test "the token is new at each start, and only root can read it; when the dashboard ends, its shells end" {
  in_lab '
    url() { monitoring/dashboard.sh status | sed "s/^answers: //"; }
    first=$(TERMINAL=1 monitoring/dashboard.sh up 2>&1)
    [[ $first =~ ^http://127.0.0.1:8050/#token=[A-Za-z0-9_-]{43}$ && $(url) == "$first" ]]
    token=${first#*token=}
    [[ $(stat -c "%U %a" /run/cnet/dashboard.token) == "root 600" ]]
    refute grep -lF "$token" /proc/[0-9]*/cmdline /proc/[0-9]*/environ
    refute grep -rF "$token" /var/opt/cnet/log

    # A shell with a program that a hang-up ends, on each way in which the dashboard ends
    open_shell() {
      .venv/bin/python - "$(url)" <<"CODE" &
import sys, time
from simple_websocket import Client
_, _, token = sys.argv[1].partition("#token=")
client = Client.connect("ws://localhost:8050/terminal/shell/redis-cache",
                        subprotocols=["cnet-terminal", f"token.{token}"], headers={"Origin": "http://localhost"})
client.send(b"sleep 4321 & sleep 4321\n")
time.sleep(60)
CODE
      retry 10 sleepers_are 2
    }
    sleepers_are() { [[ $(pgrep -fc "^sleep 4321") == "$1" ]]; }
    open_shell; monitoring/dashboard.sh down; retry 3 sleepers_are 0
    [[ ! -e /run/cnet/dashboard.token ]]

    second=$(TERMINAL=1 monitoring/dashboard.sh up 2>&1)
    [[ $second == *"#token="* && $second != "$first" ]]
    open_shell; kill -9 "$(cat /run/cnet/dashboard.pid)"; retry 5 sleepers_are 0
    retry 5 refute pgrep tcpdump
    TERMINAL=1 monitoring/dashboard.sh up; open_shell
    kill -9 $(pgrep -P "$(cat /run/cnet/dashboard.pid)" gunicorn); retry 3 sleepers_are 0
    monitoring/dashboard.sh down
  '
  succeeds
}

@test "scaling from a terminal of the page ends neither, down is refused; the map follows when they are closed" {
  in_lab '
    TERMINAL=1 monitoring/dashboard.sh up
    .venv/bin/python - "$(monitoring/dashboard.sh status)" <<"CODE"
import sys, time
from simple_websocket import Client
_, _, token = sys.argv[1].partition("#token=")
client = Client.connect("ws://localhost:8050/terminal/shell/host",
                        subprotocols=["cnet-terminal", f"token.{token}"], headers={"Origin": "http://localhost"})
client.send(b"scripts/scale.sh product-service 4 &>/run/scaled; echo scaled-$?; sleep 4; echo awake-$?\n")
printed = b""
while b"awake-0" not in printed:
    printed += client.receive(timeout=30)
assert b"scaled-0" in printed
client.send(b"scripts/lab.sh down; echo refused-$?\n") # it would end this shell, and itself halfway
while b"refused-1" not in printed:
    printed += client.receive(timeout=30)
assert b"this shell is in the dashboard" in printed
client.close()
CODE
    shows() { curl -s http://localhost:8050/_dash-layout | grep "$1" >/dev/null; }
    retry 15 shows product-4
    monitoring/dashboard.sh down
    scripts/scale.sh product-service 3
  '
  succeeds
}
