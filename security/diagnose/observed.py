"""What diagnose looks at, read once: the tables, the network, rules, programs. Read-only."""

from __future__ import annotations

import os
import subprocess
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lab.log_lines import last_error, read_lines
from lab.network.__main__ import compare, policy_is_wanted, without_running_proof
from lab.network.live import Live, read_live
from lab.network.plan import Difference
from lab.ruleset.host import iptables_backends, outputs_of
from lab.services import Program, read_programs
from lab.topology import ROOT, Node, Topology
from security.diagnose.database import QUERY, Database, parse_database
from security.diagnose.programs import Places, Programs, look
from security.diagnose.supervisor import read_tail
from security.policy.model import Policy
from security.policy.table import load as load_policy
from security.policy.table import policy_path

_LOG_BYTES = 64 * 1024
RUN_DIR = Path(os.environ.get("RUN_DIR", "/run/cnet"))
STATE_DIR = Path(os.environ.get("STATE_DIR", "/var/opt/cnet"))


class RuleTexts(NamedTuple):
    """The firewall rules of the host or of a namespace, as each tool prints them; empty where there are none."""

    iptables: dict[str, str]  # iptables-save -c, by backend: iptables, iptables-legacy ...
    ebtables: str
    arptables: str
    nft: str  # JSON


class Observed:
    """The lab as it is; each part is read when a check first asks for it."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    @cached_property
    def policy(self) -> Policy | None:
        """The policy table; None if the topology has none."""
        return load_policy(self.topology) if policy_path(self.topology) else None

    @property
    def policy_is_in_force(self) -> bool:
        """Whether a policy was loaded and not taken down since."""
        return policy_is_wanted()

    @cached_property
    def nat_is_wanted(self) -> bool:
        """Whether scripts/nat.sh up ran since the last down."""
        is_loaded = "-A CNET-PUBLISH " in self.host_rules.iptables["iptables"]
        return is_loaded or (RUN_DIR / "before-up.nat").exists()

    @cached_property
    def live(self) -> Live:
        """The network as the kernel has it."""
        return read_live(self.topology)

    @cached_property
    def network(self) -> Difference:
        """How the network differs from the table, without what a running proof has made."""
        missing, surplus = compare(self.topology, self.live)
        return Difference(missing, without_running_proof(surplus))

    @cached_property
    def programs(self) -> dict[str, Program]:
        """What each program needs, from its service.toml."""
        return read_programs(self.topology)

    @cached_property
    def services_are_meant_to_run(self) -> bool:
        """Whether services.sh up ran since the last down."""
        return (RUN_DIR / "supervisord.conf").exists()

    @cached_property
    def host_rules(self) -> RuleTexts:
        """The firewall rules of the host."""
        return read_rules()

    @cached_property
    def ip6tables(self) -> str:
        """The rules of the host that ip6tables-save prints, with counters."""
        return self.run("ip6tables-save", "-c")

    @cached_property
    def host_addresses(self) -> set[str]:
        """The host's own IPv4 addresses."""
        links = self.live.host.links
        return {
            one["local"] for link in links for one in link.get("addr_info", ()) if one["family"] == "inet"
        }

    @cached_property
    def conntrack(self) -> str:
        """The connections that the kernel tracks, as `conntrack -L` prints them."""
        return self.run("conntrack", "-L")

    @cached_property
    def program_states(self) -> Programs:
        """The programs, during a look of about a second."""
        places = Places(
            RUN_DIR / "supervisor.sock", STATE_DIR / "log" / "supervisord.log", STATE_DIR / "nodes"
        )
        return look(self.topology, self.programs, places, self.run)

    def database(self, node: Node) -> Database | None:
        """Return PostgreSQL of a node as it is; None if it does not answer."""
        port = str(node.listens[0].port)
        command = ("psql", "-XAtq", "-h", "/state", "-p", port, "-d", "postgres", "-c", QUERY)
        script = f"{ROOT}/scripts/contain.sh"
        return parse_database(self.run(script, "exec", node.name, *command, seconds=1.5))

    def environment(self, node: Node) -> dict[str, str]:
        """Return the environment that a node's container got, with its passwords; empty if it does not run."""
        supervised = (self.program_states.supervised or {}).get(node.name)
        text = _read(Path(f"/proc/{supervised.pid}/environ")) if supervised and supervised.pid else ""
        return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)

    def has_old_password(self, node: Node) -> bool:
        """Return whether the node got another password than the one in the file of passwords."""
        current = dict(
            line.split("=", 1) for line in _read(STATE_DIR / "secrets").splitlines() if "=" in line
        )
        given = self.environment(node)
        return any(given.get(name, value) != value for name, value in current.items())

    def last_error(self, node: Node) -> str:
        """Return the last error in a node's log that is not the mere consequence of another one."""
        return last_error(
            read_lines(read_tail(STATE_DIR / "log" / f"{node.name}.log", _LOG_BYTES).splitlines()[-200:])
        )

    def file_of_option(self, node: Node, option: str) -> tuple[str, str] | None:
        """Return the file that an option of the node's program names, in its container, and its text."""
        for process in self.program_states.processes.get(node.name, []):
            words = _read(Path(f"/proc/{process.pid}/cmdline")).replace("\0", " ").split()
            if option in words[:-1]:
                file = words[words.index(option) + 1]
                path = Path(f"/proc/{process.pid}/root{file}")
                text = _read(path) if path.is_file() else ""  # no FIFO and no device, which may never end
                if text:
                    return file, text
        return None

    def run(self, *command: str, namespace: str = "", seconds: float = 3) -> str:
        """Run a command that only reads, on the host or in a namespace; empty if it fails or takes too long."""
        inside = ("nsenter", f"--net=/run/netns/{namespace}", "--") if namespace else ()
        try:
            return subprocess.run(
                [*inside, *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""


def read_rules(namespace: str = "") -> RuleTexts:
    """Read the firewall rules of the host or of a namespace, with all tools at the same time."""
    inside = ("nsenter", f"--net=/run/netns/{namespace}", "--") if namespace else ()
    backends = iptables_backends()
    nft, ebtables, arptables, *saved = outputs_of(
        (*inside, "nft", "-j", "list", "ruleset"),
        (*inside, "ebtables-save"),
        (*inside, "arptables-save"),
        *((*inside, f"{backend}-save", "-c") for backend in backends),
    )
    return RuleTexts(dict(zip(backends, saved, strict=True)), ebtables, arptables, nft)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
