"""The two sides of the comparison: the lab in its sandbox, and the same services in Docker.

A contender is one path to one side. Limits and usage are those of the services' control groups.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.common.cgroups import Cgroup
from lab.topology import ROOT, Topology

CPUS, MEMORY = 0.5, 256 << 20  # limits of each service, also in docker/compose.yml
LAB, DOCKER = "lab", "docker"
PROJECT = "cnet-bench"  # a separate Compose project, so no other volume changes
NETWORK = f"{PROJECT}_frontend"


@dataclass(frozen=True)
class Contender:
    """A path to a side: the client's namespace (`enter`), the URL, the elements between, and its policy.sh, if any."""

    name: str
    enter: Sequence[str]
    base: str
    path: str
    policy: Sequence[str] = ()


@dataclass(frozen=True)
class Side:
    """A side's services, each in its control group."""

    name: str
    contenders: list[Contender]
    groups: Mapping[str, Cgroup]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all services of the side."""
        return sum(group.cpu_seconds() for group in self.groups.values())

    def memory_bytes(self) -> int:
        """Return the memory of all services of the side."""
        return sum(group.memory_bytes() for group in self.groups.values())


def lab_side(topology: Topology, pid: int) -> Side:
    """Return the lab in the sandbox of process `pid`, with its services limited."""
    groups = {}
    for node in topology.nodes:
        if node.runs:
            groups[node.name] = Cgroup.make(node.name, CPUS, MEMORY)
            groups[node.name].adopt(_processes_of(pid, node.namespace))
    nginx = next(node for node in topology.nodes if node.runs == "nginx")
    nsenter = ("nsenter", f"--target={pid}", "--net")
    enter, policy = (*nsenter, "--"), (*nsenter, "--mount", "--pid", "--", str(ROOT / "security/policy.sh"))
    direct = f"http://{nginx.address.ip}:{nginx.listens[0].port}"
    published = f"http://localhost:{nginx.publishes[0].host_port}"
    filtered = "bridge, veth; each frame passes the policy's rules"
    ways = [
        Contender("lab, published port", enter, published, "DNAT in OUTPUT, bridge, veth"),
        Contender("lab, node's address", enter, direct, "bridge, veth; no translation"),
        Contender("lab, under its policy", enter, direct, filtered, policy),
    ]
    return Side(LAB, ways, groups)


def _processes_of(pid: int, namespace: str) -> list[int]:
    """Find the contained processes in a network namespace of the sandbox, by the namespaces' inodes.

    The process that started a container is outside its PID namespace, as Docker's shim is, and is not counted.
    """
    wanted = os.stat(f"/proc/{pid}/root/run/netns/{namespace}").st_ino
    outside = os.stat(f"/proc/{pid}/ns/pid").st_ino
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.stat(process / "ns/net").st_ino == wanted and os.stat(process / "ns/pid").st_ino != outside:
                pids.append(int(process.name))
        except OSError:
            continue  # the process has ended
    return pids


def docker_side(port: int, host_port: int) -> Side:
    """Return the containers of the project; `host_port` is of the nginx that has the host's own network."""
    ids = _run_docker("ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
    containers = json.loads(_run_docker("inspect", *ids))
    groups = {one["Name"].strip("/"): Cgroup.of_process(one["State"]["Pid"]) for one in containers}
    nginx = next(one for one in containers if one["Name"] == f"/{PROJECT}-nginx-1")
    network = nginx["NetworkSettings"]["Networks"][NETWORK]
    netns = os.environ.get("DOCKER_NETNS")
    enter = ("nsenter", f"--net=/run/netns/{netns}", "--") if netns else ()
    bridge, proxy = f"http://{network['Gateway']}:{port}", f"http://127.0.0.1:{port}"
    direct, host = f"http://{network['IPAddress']}:80", f"http://127.0.0.1:{host_port}"
    ways = [
        ("Docker, published port", bridge, "DNAT in OUTPUT, bridge, veth"),
        ("Docker, docker-proxy", proxy, "127.0.0.1 is docker-proxy's: two connections"),
        ("Docker, container's address", direct, "bridge, veth; no translation"),
        ("Docker, host network", host, "nginx has no namespace: loopback to it"),
    ]
    return Side(DOCKER, [Contender(name, enter, base, path) for name, base, path in ways], groups)


def _run_docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout
