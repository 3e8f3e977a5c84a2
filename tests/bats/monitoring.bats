#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Monitoring of a lab that runs: what is captured is what was sent, and what is told is so.

load helpers

setup_file() { share_lab; }

FUNCTIONS='export REPORTS=/run/reports
    python() { .venv/bin/python -m "$@"; }
'

@test "make monitor leaves the tables, pictures and reports, with exactly the packets of the requests that were sent" {
  in_lab "$FUNCTIONS"'
    fails_with 1 "FORMAT=xml is not csv, json or parquet" env FORMAT=xml monitoring/monitor.sh run
    FORMAT=parquet DURATION=12 monitoring/monitor.sh run &>/run/monitor & monitor=$!
    retry 20 monitoring/capture.sh status >/dev/null 2>&1
    for _ in {1..25}; do ip netns exec world curl -s -o /dev/null http://203.0.113.1:8080/health; done
    wait $monitor || { cat /run/monitor; exit 1; }
    cd /run/reports
    ls -1 packets_per_service_pair.csv protocol_distribution.csv top_talkers.csv traffic_summary.csv conversations.parquet traffic_rate.parquet protocol_distribution.png top_service_pairs.png top_talkers.png traffic_analysis_report.pdf connection_report.pdf health_report.pdf captures/traffic_log_2*.pcap0
    # /health is answered by nginx itself: SYN, ACK, GET, ACK, FIN, ACK and back SYN-ACK, ACK, answer, FIN, each 25 times
    grep "^203.0.113.2,nginx-lb,150,.*,25,0,25,0,0,25," conversations.csv
    grep "^nginx-lb,203.0.113.2,100,.*,0,25,25,0,0,0," conversations.csv
    for pdf in *.pdf; do pdftotext "$pdf" - >/run/text; grep "Generated on" /run/text; grep "page 1" /run/text; grep "Executive summary" /run/text; done
    grep "0 dropped by kernel" /run/monitor
    grep -E "the lab is idle|the lab is in use" /run/monitor
  '
  succeeds
}

@test "a capture begins once, tells what it has, and ends with the counts; text and pcap of it agree" {
  in_lab "$FUNCTIONS"'
    fails_with 1 "no capture runs" monitoring/capture.sh status
    monitoring/capture.sh up; monitoring/capture.sh status
    said=$(monitoring/capture.sh up 2>&1); [[ $said == *"runs already"* ]]
    curl -s -o /dev/null http://localhost:8080/api/products
    said=$(monitoring/capture.sh down 2>&1); [[ $said == *" captured, "*" 0 dropped by kernel"* ]]
    [[ -z $(pgrep tcpdump) ]]
    said=$(monitoring/capture.sh down 2>&1); [[ $said == "no capture runs" ]]
    capture=$(monitoring/capture.sh files)
    tcpdump -nn -e -r "$capture" 2>/dev/null | python monitoring.traffic --only-csv --reports /run/text -
    python monitoring.traffic --only-csv --reports /run/pcap "$capture"
    diff -r /run/text /run/pcap; [[ $(wc -l </run/pcap/conversations.csv) -gt 10 ]]
    monitoring/capture.sh run 2 --text &>/run/said; grep "0 dropped by kernel" /run/said
    grep " IP 10.0.0." /run/reports/captures/traffic_log_*.txt >/dev/null
    for duration in soon 0 08 -1 100000; do
      monitoring/capture.sh run "$duration" &>/run/said && exit 1
      grep "\"$duration\" is neither --text nor a number of seconds from 1 to 99999" /run/said
      fails_with 1 "DURATION=$duration is not a number of seconds from 1 to 99999" env DURATION="$duration" monitoring/monitor.sh run
    done
  '
  succeeds
}

@test "Ctrl+C ends a capture, and a killed one does not stand in the way" {
  sandboxed '
    scripts/network.sh up >/dev/null
    export REPORTS=/run/reports
    timeout --signal=INT 3 monitoring/capture.sh run &>/run/said && exit 1
    retry 10 grep "dropped by kernel" /run/said; ended() { [[ -z $(pgrep tcpdump) ]]; }; retry 5 ended
    timeout --signal=INT 3 monitoring/monitor.sh run &>/run/said && exit 1
    none_left() { [[ -z $(pgrep tcpdump || ps -eo args --no-headers | grep "^/[^ ]*python -m monitoring") ]]; }
    retry 10 none_left
    monitoring/capture.sh up; kill -9 $(pgrep tcpdump)
    fails_with 1 "no capture runs" monitoring/capture.sh status
    monitoring/capture.sh up; monitoring/capture.sh status; monitoring/capture.sh down
  '
  succeeds
}

@test "a capture on a full disk says how many packets could not be written, and exits with 1" {
  sandboxed '
    scripts/network.sh up >/dev/null
    export REPORTS=/run/reports
    mkdir /run/reports; mount -t tmpfs -o size=64k,mode=755 tmpfs /run/reports
    monitoring/capture.sh up
    ip netns exec redis-cache ping -c 1000 -i 0.001 -q 10.0.0.1 >/dev/null
    monitoring/capture.sh down &>/run/said && exit 1
    grep -E "tcpdump could not write [1-9][0-9]* of 20[0-9][0-9] packets: 0 of disk space is free in /run/reports/captures" /run/said
    monitoring/capture.sh up; kill -9 $(pgrep tcpdump)
    monitoring/capture.sh down &>/run/said && exit 1
    grep "tcpdump ended without its counts" /run/said
  '
  succeeds
}

@test "a report that fails is named, exit status 1, and an old one is neither left nor announced" {
  sandboxed '
    scripts/network.sh up >/dev/null
    export REPORTS=/run/reports DURATION=3
    mkdir /run/reports; touch /run/reports/{connection,health}_report.{pdf,md} /run/reports/connections.csv
    monitoring/monitor.sh run &>/run/monitor & monitor=$!
    retry 20 pgrep -f "as_comman[d] monitoring.health" >/dev/null; kill -9 $(pgrep -f "as_comman[d] monitoring.health")
    wait $monitor && exit 1
    grep "monitor.sh: monitoring.health failed (exit status 137): no health_report.pdf" /run/monitor
    grep -x "also: /run/reports/connection_report.pdf" /run/monitor
    [[ ! -e /run/reports/health_report.pdf && ! -e /run/reports/health_report.md && -s /run/reports/connection_report.pdf ]]
    mkdir /run/bin; printf "#!/bin/sh\nexit 1\n" >/run/bin/conntrack; chmod +x /run/bin/conntrack
    PATH=/run/bin:$PATH monitoring/monitor.sh run &>/run/monitor && exit 1
    grep "monitor.sh: monitoring.connections failed (exit status 1): no connection_report.pdf" /run/monitor
    grep -x "also: /run/reports/health_report.pdf" /run/monitor
    [[ ! -e /run/reports/connection_report.pdf && ! -e /run/reports/connections.csv ]]
  '
  succeeds
}

@test "kill of make monitor ends all that it started; the capture ends before the reports are made" {
  in_lab "$FUNCTIONS"'
    mine() { pgrep -f "as_comman[d] monitoring" || pgrep tcpdump; }
    none_left() { [[ -z $(mine) ]]; }
    for signal in TERM KILL; do
      DURATION=60 monitoring/monitor.sh run &>/run/monitor & monitor=$!
      retry 20 pgrep -f "as_comman[d] monitoring.visit" >/dev/null; retry 20 pgrep -f "as_comman[d] monitoring.health" >/dev/null
      kill -$signal $monitor; wait $monitor && exit 1
      retry 5 none_left || { ps -eo pid,args; exit 1; }
    done
    mkdir /run/bin # a report that takes long
    printf "#!/bin/sh\nsleep 4\nexec $(command -v conntrack) \"\$@\"\n" >/run/bin/conntrack; chmod +x /run/bin/conntrack
    PATH=/run/bin:$PATH DURATION=4 monitoring/monitor.sh run &>/run/monitor || { cat /run/monitor; exit 1; }
    tcpdump -tt -nr $(monitoring/capture.sh files) 2>/dev/null | awk "{ last = \$1; first = first ? first : \$1 } END { print last - first; exit !(last - first > 3 && last - first < 8) }"
  '
  succeeds
}

@test "a capture is for root alone and dies with who began it; down ends whatever watches the lab, and nobody else" {
  sandboxed '
    scripts/network.sh up >/dev/null
    export REPORTS=/run/reports
    install -d -m 755 /run/reports/captures; echo old >/run/reports/captures/traffic_log_old.pcap0
    tcpdump -i lo -w /dev/null 2>/dev/null & foreign=$!
    ours() { pgrep tcpdump | grep -vx "$foreign"; }
    began() { monitoring/capture.sh status &>/dev/null; }
    setsid monitoring/capture.sh run &>/run/said & capture=$!
    retry 20 began
    [[ $(stat -c %a /run/reports/captures /run/cnet/capture | sort -u) == 700 && $(stat -c %a /run/reports) == 755 ]]
    [[ $(stat -c %a /run/reports/captures/* /run/cnet/capture/* | sort -u) == 600 ]]
    retry 5 flock --nonblock /run/cnet/lock true # held while tcpdump starts; the lab may be changed meanwhile
    kill -9 $capture; retry 5 refute ours
    DURATION=60 setsid monitoring/monitor.sh run &>/run/said & monitor=$!
    retry 20 began; kill -9 -- -$monitor; retry 5 refute ours
    monitoring/capture.sh up --text &>/run/said # tcpdump is another user now, which undoes its tie to a parent
    [[ $(stat -c %a /run/reports/captures/* | sort -u) == 600 ]]
    scripts/report.sh health --every 1 &>/run/health & health=$!
    monitoring/exporter.sh run &>/run/exporter & monitoring/dashboard.sh up &>/run/dashboard
    retry 20 curl -so /dev/null http://localhost:9105/targets; retry 20 grep DOWN /run/health >/dev/null
    kill -9 $health $(cat /run/cnet/dashboard.pid)
    scripts/lab.sh clean &>/run/said || { cat /run/said; exit 1; }
    refute ours; kill -0 $foreign
    refute pgrep -f "bin/(python -m monitoring|gunicorn --bind)"
    [[ ! -e /run/cnet ]]
  '
  succeeds
}

@test "in tiers each packet is counted once, where it began, and being watched changes nothing" {
  sandboxed 'export TOPOLOGY=tiers
    bring_up
  '"$FUNCTIONS"'
    monitoring/capture.sh up
    security/prove.sh | grep "differences: 0"
    monitoring/capture.sh down; sleep 1; monitoring/capture.sh up
    for _ in {1..10}; do ip netns exec world curl -s -o /dev/null http://203.0.113.1:8080/health; done
    frontend() { nsenter --net=/run/netns/frontend-ns "$@"; }
    for _ in {1..7}; do frontend curl -s -o /dev/null --interface 172.20.0.10 http://172.21.0.10:5000/health; done
    monitoring/capture.sh down
    python monitoring.traffic --only-csv --reports /run/r $(monitoring/capture.sh files)
    grep "^203.0.113.2,nginx-lb,60,.*,10,0,10,0,0,10," /run/r/conversations.csv
    grep "^api-gateway,product-1,.*,0,7," /run/r/conversations.csv || { cat /run/r/conversations.csv; exit 1; }
  '
  succeeds
}

@test "health tells who is down, in a table, as lines, as JSON and by its exit status, and one delays no other" {
  in_lab "$FUNCTIONS"'
    python monitoring.health --once >/run/lines; [[ $(grep -c "  UP  " /run/lines) == 9 ]]; grep "OPEN  *the shop" /run/lines
    stopped=$(ip netns pids product2; ip netns pids redis-cache)
    kill -STOP $stopped
    begin=$EPOCHSECONDS
    python monitoring.health --once >/run/lines && exit 1
    ((EPOCHSECONDS - begin < 4))
    grep "DOWN  *product-2 .*no answer in time" /run/lines; grep "DOWN  *redis-cache" /run/lines
    [[ $(grep -cE "  (UP|DEGRADED)  " /run/lines) == 7 ]] # the products may have missed their cache by now
    python monitoring.health --once --json >/run/json && exit 1
    jq -e ".healthy == false and ([.services[] | select(.up | not) | .service] == [\"product-2\", \"redis-cache\"])" /run/json
    kill -CONT $stopped
    python monitoring.health --every 0.2 --rounds 5 --csv /run/health.csv --report /run/reports >/dev/null
    [[ $(wc -l </run/health.csv) == 51 ]]
    pdftotext /run/reports/health_report.pdf /run/text; grep "were checked 45 times" /run/text
    script -qec ".venv/bin/python -m monitoring.health --every 0.2 --rounds 3" /run/screen >/dev/null; grep "uptime" /run/screen >/dev/null
  '
  succeeds
}

@test "an answer without an end delays nothing: health, the exporter and verify give it up, and tell of all others" {
  in_lab "$FUNCTIONS"'
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop product-2 product-3
    nsenter --net=/run/netns/product2 python3 tests/lab/slow_peer.py drip 10.0.0.31 5000 &
    nsenter --net=/run/netns/product3 python3 tests/lab/slow_peer.py endless 10.0.0.32 5000 &
    retry 5 listens 5000 product2; retry 5 listens 5000 product3
    monitoring/exporter.sh run & retry 10 curl -so /dev/null http://localhost:9105/targets
    begin=$EPOCHSECONDS
    timeout 10 make --no-print-directory health ONCE=1 >/run/lines && exit 1
    ((EPOCHSECONDS - begin < 5))
    grep "DOWN  *product-2 .*no answer in time" /run/lines; grep "DOWN  *product-3 .*longer than 64 KiB" /run/lines
    [[ $(grep -c "  UP  " /run/lines) == 7 ]]
    curl -fsS -m 5 http://localhost:9105/metrics >/run/metrics
    [[ $(grep -c "^cnet_service_up{.*} 1.0" /run/metrics) == 7 ]]
    for node in product-2 product-3; do grep "cnet_service_up{service=\"$node\"} 0.0" /run/metrics; done
    code() { curl -s -o /dev/null -w "%{http_code}" -m 5 "$@" http://127.0.0.1:9105/targets; }
    [[ $(code) == 200 && $(code -H "Host: localhost:9105") == 200 && $(code -H "Host: evil.example") == 403 && $(code -H "Host;") == 400 ]]
    for address in 10.0.0.31 10.0.0.32; do
      begin=$EPOCHSECONDS
      .venv/bin/python -c "from lab.verify.request import send; print(send(\"http://$address:5000/health\"))" >/run/said
      grep "no answer" /run/said; ((EPOCHSECONDS - begin < 7 && $(wc -c </run/said) < 1000))
    done
  '
  succeeds
}

@test "connections are told by service and state, translations both ways, and the table with its limit" {
  in_lab "$FUNCTIONS"'
    exec 8<>/dev/tcp/127.0.0.1/8080; printf "GET /health HTTP/1.1\r\nHost: x\r\n\r\n" >&8
    python monitoring.connections --json --reports /run/reports >/run/both; sed -n 1p /run/both >/run/json
    jq -e ".pairs[] | select(.source == \"api-gateway\" and .destination == \"service-registry\" and .state == \"ESTABLISHED\")" /run/json >/dev/null
    jq -e ".translations[] | select(.state == \"ESTABLISHED\" and .kind == \"DNAT and SNAT\" and (.answered | startswith(\"nginx-lb:80\")))" /run/json >/dev/null
    jq -e ".table.limit > 0 and .table.entries > 0 and (.alarms | length) == 0" /run/json
    expected=$(nsenter --net=/run/netns/redis-cache ss -Htn state established | grep -c ":6379 ")
    jq -e ".established[] | select(.service == \"redis-cache\") | .incoming <= $expected and .incoming > 0" /run/json
    pdftotext /run/reports/connection_report.pdf /run/text; grep "The host tracks" /run/text
  '
  succeeds
}

@test "Prometheus scrapes the lab and every service by the shipped configuration" {
  need_packaged promtool
  in_lab "$FUNCTIONS"'
    promtool check config monitoring/prometheus/prometheus.yml
    promtool test rules tests/fixtures/alerts.yml
    monitoring/exporter.sh run & exporter=$!
    retry 10 curl -so /dev/null http://localhost:9105/targets
    nsenter --net=/run/netns/redis-cache bash -c "timeout 1 bash -c \"</dev/tcp/10.0.0.60/5432\"" || :
    curl -s http://localhost:9105/metrics >/run/metrics
    grep "cnet_policy_dropped_packets_total{id=\"database-closed\"} [1-9]" /run/metrics
    grep "cnet_service_up{service=\"postgres-db\"} 1.0" /run/metrics
    grep "cnet_link_up{link=\"veth-pg-br\",node=\"postgres-db\"} 1.0" /run/metrics
    [[ $(grep -c "cnet_source_failed{.*} 0.0" /run/metrics) == 4 ]]
    promtool check metrics </run/metrics
    [[ $(curl -s -o /dev/null -w "%{http_code}" http://203.0.113.1:9105/metrics) == 000 ]]
    prometheus --config.file=monitoring/prometheus/prometheus.yml --storage.tsdb.path=/run/prometheus --web.listen-address=127.0.0.1:9090 &>/run/prometheus.log &
    up() { curl -sG http://localhost:9090/api/v1/query --data-urlencode "query=sum(up)" | jq -re ".data.result[0].value[1]"; }
    retry 40 eval "[[ \$(up) == 7 ]]" || { up; curl -s http://localhost:9090/api/v1/targets | jq -c ".data.activeTargets[] | [.labels.instance, .health, .lastError]"; exit 1; }
    ask() { curl -sG http://localhost:9090/api/v1/query --data-urlencode "query=$1" | jq -e ".data.result | length > 0"; }
    # each question of the Grafana dashboard has an answer, but for those that wait for something to go wrong
    jq -r ".panels[].targets[].expr" monitoring/prometheus/grafana-dashboard.json | sed "s/\[1m\]/[10s]/; s/ > 0//; s/,\?status!~\"2..\"//; s/{}//" >/run/questions
    while read -r question; do retry 20 ask "$question" >/dev/null || { echo "no answer: $question"; exit 1; }; done </run/questions
  '
  succeeds
}
