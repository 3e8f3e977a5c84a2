#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The dashboard, in a real browser; who may ask for it; what it costs.

load helpers

setup_file() { share_lab; }

@test "in a browser: the map, the panels, a blocked flow, what happened after a kill, the keyboard, both themes" {
  need_packaged chromium chromium-browser google-chrome
  in_lab '
    monitoring/dashboard.sh up
    export DASHBOARD_URL=http://localhost:8050
    .venv/bin/python -m pytest tests/lab/test_dashboard*.py -p no:cacheprovider
    monitoring/dashboard.sh down
  '
  succeeds
  says "24 passed"
}

@test "it answers on loopback to loopback names alone, refuses a taken port, and leaves nothing" {
  in_lab '
    fails_with 1 "the dashboard is not running" monitoring/dashboard.sh status
    monitoring/dashboard.sh up; monitoring/dashboard.sh status
    fails_with 1 "the dashboard is already running" monitoring/dashboard.sh up
    code() { curl -s -o /dev/null -w "%{http_code}" "$@"; }
    [[ $(code http://127.0.0.1:8050/) == 200 && $(code http://localhost:8050/) == 200 ]]
    [[ $(code -H "Host: evil.example:8050" http://127.0.0.1:8050/) == 403 ]]
    [[ $(code -H "Origin: http://evil.example" http://127.0.0.1:8050/) == 403 ]]
    [[ $(code -H "Origin: http://localhost:8050" http://localhost:8050/) == 200 ]]
    for header in "Origin: http://[::1" "Origin: nonsense" "Host;" "Host:" "Host: a b"; do
      [[ $(code -H "$header" http://127.0.0.1:8050/) == 400 ]] || { echo "$header: $(code -H "$header" http://127.0.0.1:8050/)"; exit 1; }
    done
    refute grep Traceback /var/opt/cnet/log/dashboard.log
    [[ $(code http://203.0.113.1:8050/) == 000 ]]
    pid=$(cat /run/cnet/dashboard.pid)
    monitoring/dashboard.sh down
    [[ ! -e /proc/$pid ]]; retry 5 refute pgrep tcpdump
    monitoring/dashboard.sh up; kill -9 $(cat /run/cnet/dashboard.pid) $(pgrep -P "$(cat /run/cnet/dashboard.pid)")
    retry 5 refute pgrep tcpdump; monitoring/dashboard.sh up; monitoring/dashboard.sh down
    python3 -m http.server 8050 --bind 127.0.0.1 &>/dev/null & server=$!
    retry 10 curl -so /dev/null http://127.0.0.1:8050/
    fails_with 1 "port 8050 is taken by \"python3\",pid=$server" monitoring/dashboard.sh run
  '
  succeeds
}

@test "at rest it costs less than 5 % of one core" {
  in_lab '
    monitoring/dashboard.sh up
    pids=$(pgrep -f "monitoring.dashboard.app|tcpdump -i any" | tr "\n" " ")
    ticks() { local sum=0 pid fields; for pid in $pids; do read -ra fields <"/proc/$pid/stat"; sum=$((sum + fields[13] + fields[14])); done; echo $sum; }
    sleep 3; before=$(ticks); sleep 20; after=$(ticks)
    echo "ticks in 20 s: $((after - before)) of $(($(getconf CLK_TCK) * 20))"
    ((after - before < $(getconf CLK_TCK) * 20 * 5 / 100))
    monitoring/dashboard.sh down
  '
  succeeds
}

@test "when the lab is scaled or moved, the map is of what runs" {
  in_lab '
    monitoring/dashboard.sh up
    shows() { curl -s http://localhost:8050/_dash-layout | grep "$1" >/dev/null; }
    shows product-3; refute shows product-4
    scripts/scale.sh product-service 4 &>/run/scale
    retry 15 shows product-4
    TOPOLOGY=tiers scripts/lab.sh up &>/run/up || { tail -20 /run/up; exit 1; }
    retry 15 refute shows product-3
    monitoring/dashboard.sh down
  '
  succeeds
}
