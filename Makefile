# An index: each target calls one script. You can also call the scripts directly. For JSON=1 see docs/reference/json.md.
.DEFAULT_GOAL := help
.PHONY: help up down clean network services policies isolation install install-completion doctor shell \
        status logs explain rules documents topology monitor capture health connections distribution dashboard exporter \
        diagnose exercises exercise exercise-test verify prove prove-mutants scale chaos soak kills \
        docker-up docker-down docker-clean docker-verify docker-diff docker-sizes swarm swarm-verify swarm-down kubernetes \
        bench bench-hops bench-network bench-services bench-policy bench-analysis test test-full lint

help: ## this list
	@awk -F':.*## ' '/^## / { printf "\n%s\n", substr($$0, 4) } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile || :

## Start

up: ## install what is missing, then policy, network, NAT, services, and the proof
	@scripts/lab.sh up

down: ## remove the lab; orders, passwords and logs stay
	@scripts/lab.sh down

clean: ## remove the lab with its orders, passwords and logs
	@scripts/lab.sh clean

doctor: ## check this machine before `up`: privileges, tools, kernel, Docker, firewalls, VPNs, ports
	@scripts/doctor.sh check

install: ## install the packages and the Python environment, nothing else
	@scripts/install.sh up

install-completion: ## complete targets and names at the prompt of bash and zsh (without sudo)
	@scripts/install.sh completion

network: ## phase 1: namespaces, bridge, NAT, port forwarding, and their proof
	@scripts/lab.sh network

services: ## phase 2: nginx, gateway, products, orders, Redis, PostgreSQL, registry
	@scripts/lab.sh services

policies: ## phase 4.3: compile the policy table to rules, load them, prove them
	@scripts/lab.sh policies

isolation: ## phase 4.4: move the platform to three tiers (BACK=1: back to one bridge); data stays
	@scripts/lab.sh isolation

## Look

status: ## one screen: nodes, services, rules, counters; exits 1 if anything differs from the tables
	@scripts/lab.sh status

logs: ## the last log lines (NODE=api-gateway: of one node; FOLLOW=1: and new ones; RAW=1: as written)
	@scripts/services.sh logs $(NODE)

shell: ## a shell in a namespace: make shell NS=redis-cache
	@scripts/lab.sh shell $(NS)

explain: ## what happens to a packet, and why: make explain FROM=redis-cache TO=postgres-db PORT=5432 (TO=host, OPTIONS=--udp)
	@security/explain.sh "$(FROM)" "$(TO)" "$(PORT)" $(OPTIONS)

diagnose: ## what is wrong in the lab: each cause with its evidence and its repair
	@scripts/diagnose.sh run

rules: ## every live rule with its meaning and counters (also reports/rules.md, .pdf)
	@scripts/report.sh rules

documents: ## the security policy, isolation and routing, with a new proof (reports/*.pdf)
	@scripts/report.sh documents

topology: ## a diagram of the live system: text, SVG, PNG (reports/)
	@scripts/report.sh topology

monitor: ## capture for DURATION=30 s, analyse, write all reports (reports/; FORMAT=json or parquet: tables for a notebook)
	@monitoring/monitor.sh run

capture: ## tcpdump on the bridges until Ctrl+C (DURATION=10: for 10 s)
	@monitoring/capture.sh run $(DURATION)

health: ## state and latency of each service every 10 s (ONCE=1: once, with an exit status)
	@scripts/report.sh health

connections: ## connections by service and state, address translations, the conntrack table
	@scripts/report.sh connections

distribution: ## requests for each instance over time (CSV, PNG in reports/)
	@scripts/report.sh distribution

dashboard: ## a live map at http://localhost:8050, until Ctrl+C (TERMINAL=1: with a terminal in the page)
	@monitoring/dashboard.sh run

exporter: ## metrics for Prometheus at http://localhost:9105/metrics, until Ctrl+C
	@monitoring/exporter.sh run

## Learn

exercises: ## exercises by level with your progress (REPORT=1: reports/exercises.html, .csv)
	@faults/exercise.sh list

exercise: ## repair a broken lab in a sandbox: make exercise NAME="..." (or LEVEL=2; SEED=7 TOPOLOGY=tiers; HERE=1: this lab; PAGE=1: in the browser)
	@faults/exercise.sh start "$(NAME)"

exercise-test: ## prove exercises in a sandbox: make exercise-test NAME=mtu-of-port (none: all; SEEDS=1,2,3 TOPOLOGY=tiers PAIRS=20)
	@faults/exercise.sh test $(NAME)

## Prove

verify: ## try everything: ping matrix, NAT, published ports, each endpoint, an order
	@scripts/verify.sh all

prove: ## try each possible flow and compare with the policy (CSV, PNG in reports/)
	@scripts/report.sh proof

prove-mutants: ## break each rule in turn: the proof must fail (in a sandbox; TOPOLOGY=tiers: on the tiers)
	@security/mutants.sh

## Break

scale: ## add or remove instances under load: make scale PROGRAM=product-service COUNT=5
	@scripts/scale.sh $(PROGRAM) $(COUNT)

chaos: ## kill, freeze, cut off and starve each part under constant load; a report (in a sandbox; QUICK=1)
	@faults/chaos/run.sh

soak: ## MINUTES=10 at 100 requests/s: no error, no growth of memory or descriptors (in a sandbox)
	@faults/chaos/soak.sh

kills: ## kill -9 the lab's commands at random moments, then `up` and `clean` (COUNT=40 SEED=1; in a sandbox)
	@tests/lab/kills.sh $(or $(COUNT),40) $(or $(SEED),1)

## Docker

docker-up: ## phase 5: the same services in Docker at http://localhost:8081
	@docker/compose.sh up

docker-down: ## remove the containers and networks; orders stay
	@docker/compose.sh down

docker-clean: ## remove containers, networks, orders, passwords and images
	@docker/compose.sh clean

docker-verify: ## try everything in Docker: endpoints, an order, isolation, limits, a killed container
	@docker/compose.sh verify

docker-diff: ## the lab's network beside Docker's, line by line (reports/docker_diff.pdf)
	@docker/diff.sh run

docker-sizes: ## what each optimisation of the images saves (reports/docker_sizes.pdf)
	@docker/sizes.sh run

swarm: ## two Docker engines joined by a cable, and the platform across both
	@docker/swarm.sh up

swarm-verify: ## traffic between the engines, a rolling update under load, an engine cut off and back
	@docker/swarm.sh verify

swarm-down: ## remove both engines
	@docker/swarm.sh down

kubernetes: ## check the manifests in docker/kubernetes/ against the tables and the API's schemas
	@docker/kubernetes.sh check

## Measure

bench: ## namespaces against Docker under the same limits (QUICK=1; reports/bench_report.pdf)
	@bench/compare/run.sh run

bench-hops: ## what each hop costs, from loopback to the whole chain (QUICK=1; reports/bench_hops.png)
	@bench/hops/run.sh run

bench-network: ## 10, 100, 500 nodes against `ip -batch`, single commands, the CNI plugin, mininet
	@bench/network/run.sh

bench-services: ## requests/s of nginx, gunicorn and gevent against a development server
	@bench/services/run.sh

bench-policy: ## the time to load 16, 100, 1,000 policy lines, and their cost for each connection
	@bench/policy/run.sh

bench-analysis: ## a million packets into tables, against tshark (BEFORE=COMMIT: and an earlier commit)
	@bench/analysis/run.sh run

## Develop

test: ## all tests (bats and pytest), on the real lab in sandboxes
	@tests/run.sh

test-full: ## all tests, with every part of those that `make test` runs in rotation
	@tests/run.sh full

lint: ## shellcheck, shfmt, ruff, mypy --strict, kubernetes-validate, sizes and rooms
	@tests/lint.sh
