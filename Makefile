# An index: each target calls one script, and every script also works by hand.
.DEFAULT_GOAL := help
.PHONY: help up down clean network services policies prove prove-mutants explain isolation status verify doctor logs shell rules documents topology distribution \
        monitor capture health connections dashboard exporter scale chaos soak kills docker-up docker-down docker-clean docker-verify docker-diff docker-sizes swarm swarm-verify swarm-down kubernetes test lint bench bench-hops \
        bench-network bench-services bench-policy bench-analysis install

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

up: ## everything: install, policy, network, NAT, services, proof
	@scripts/lab.sh up

down: ## take everything away again; the database's contents stay
	@scripts/lab.sh down

clean: ## the same, and the data, passwords and logs
	@scripts/lab.sh clean

network: ## phase 1: namespaces, bridge, NAT, port forwarding, and the proof
	@scripts/lab.sh network

services: ## phase 2: nginx, gateway, products, orders, Redis, PostgreSQL, registry
	@scripts/lab.sh services

policies: ## phase 4.3: who may talk to whom, as rules, and proven by trying
	@scripts/lab.sh policies

isolation: ## phase 4.4: move over to three tiers (BACK=1: back to the flat lab); data stays
	@scripts/lab.sh isolation

explain: ## why is this dropped? make explain FROM=redis-cache TO=postgres-db PORT=5432 (TO=host for a published port; OPTIONS=--udp)
	@security/explain.sh "$(FROM)" "$(TO)" "$(PORT)" $(OPTIONS)

prove-mutants: ## break each rule in turn: the proof must notice (in a sandbox; TOPOLOGY=tiers for the tiers)
	@security/mutants.sh

prove: ## try every flow there could be, and compare with the policy (CSV and PNG in reports/)
	@scripts/report.sh proof

status: ## one screen: nodes, services, rules, counters; non-zero when anything drifted
	@scripts/lab.sh status

verify: ## prove by trying: ping matrix, the way out and in, every endpoint, an order
	@scripts/verify.sh all

doctor: ## look before `up`: privileges, tools, kernel, Docker, firewalls, VPNs, ports
	@scripts/doctor.sh check

logs: ## the last log lines (NODE=api-gateway for one, FOLLOW=1 to go on, RAW=1 as they were written)
	@scripts/services.sh logs $(NODE)

shell: ## a shell in a namespace: make shell NS=redis-cache
	@scripts/lab.sh shell $(NS)

rules: ## every live rule, its meaning and counters (text; Markdown and PDF in reports/)
	@scripts/report.sh rules

documents: ## the security policy, isolation and routing, proven while they are written (reports/)
	@scripts/report.sh documents

topology: ## the live system as a diagram (text; SVG and PNG in reports/)
	@scripts/report.sh topology

distribution: ## how the gateway spread requests over instances (CSV and PNG in reports/)
	@scripts/report.sh distribution

monitor: ## phase 3: capture for DURATION=30 s, analyse, reports of traffic, connections, health (reports/; FORMAT=json, parquet: tables for a notebook, too)
	@monitoring/monitor.sh run

capture: ## tcpdump on the lab's wires until Ctrl+C (DURATION=10: so many seconds)
	@monitoring/capture.sh run $(DURATION)

health: ## every service (up, degraded, down) and whether the shop is open; goes on until Ctrl+C (ONCE=1: once, with an exit status)
	@scripts/report.sh health

connections: ## connections by service and state, address translations, the tracking table
	@scripts/report.sh connections

dashboard: ## phase 3.7: a live map at http://localhost:8050, until Ctrl+C
	@monitoring/dashboard.sh run

exporter: ## phase 3.8: figures for Prometheus at http://localhost:9105/metrics, until Ctrl+C
	@monitoring/exporter.sh run

scale: ## more or fewer instances under load: make scale PROGRAM=product-service COUNT=5
	@scripts/scale.sh $(PROGRAM) $(COUNT)

chaos: ## faults under a constant load: kill, stop, cut, starve each part; a report (in a sandbox)
	@faults/chaos/run.sh

soak: ## ten minutes at 100 requests/s: no error, memory and descriptors flat (MINUTES=10; in a sandbox)
	@faults/chaos/soak.sh

kills: ## kill -9 the lab's commands at random moments: up converges, clean leaves nothing (COUNT=40 SEED=1; in a sandbox)
	@tests/lab/kills.sh $(or $(COUNT),40) $(or $(SEED),1)

docker-up: ## phase 5: the same services in Docker: images, passwords, containers, until all are healthy
	@docker/compose.sh up

docker-down: ## take the containers and networks away; the orders stay
	@docker/compose.sh down

docker-clean: ## the same, and the orders, passwords and images
	@docker/compose.sh clean

docker-verify: ## prove by trying: every endpoint, an order, who reaches whom, limits, a killed container
	@docker/compose.sh verify

docker-diff: ## the lab's live network and Docker's, line by line, and why each is there (reports/docker_diff.pdf)
	@docker/diff.sh run

docker-sizes: ## what each optimisation of the images is worth (reports/docker_sizes.pdf)
	@docker/sizes.sh run

swarm: ## beyond one machine: two engines joined by a cable, a Swarm on them, the platform across both
	@docker/swarm.sh up

swarm-verify: ## traffic between nodes, a rolling update under load, a node cut off and back
	@docker/swarm.sh verify

swarm-down: ## both engines and all they have
	@docker/swarm.sh down

kubernetes: ## check the manifests in docker/kubernetes/: valid, and equal to the two tables?
	@docker/kubernetes.sh check

bench: ## namespaces against Docker, fairly: throughput, latency, CPU, memory (QUICK=1; reports/bench_report.pdf)
	@bench/compare/run.sh run

bench-hops: ## what each hop costs, from loopback to the whole chain (QUICK=1; reports/bench_hops.png)
	@bench/hops/run.sh run

test: ## all tests, bats and pytest, the lab for real in a sandbox
	@tests/run.sh

lint: ## shellcheck, shfmt, ruff, mypy --strict
	@tests/lint.sh

bench-network: ## 10, 100, 500 nodes against ip -batch, single commands, CNI and mininet
	@bench/network/run.sh

bench-services: ## requests a second through nginx against the development server's way
	@bench/services/run.sh

bench-policy: ## what a policy costs: to apply 16, 100, 1,000 lines, and on the packet's path
	@bench/policy/run.sh

bench-analysis: ## a million packets into tables: against tshark, text against a regex a line, -X, memory (BEFORE=COMMIT)
	@bench/analysis/run.sh run

install: ## what the lab needs on this machine
	@scripts/install.sh up
