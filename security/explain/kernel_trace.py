"""Follow one packet through every rule of iptables, ebtables and nft with the kernel's own trace.

The trace is switched on in nft tables with `flags owner` (nft(8)): the kernel removes them when the process that
made them ends, however it ends. xtables-monitor(8) prints the trace.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from security.rules.walk import HOOKS, TABLES

TABLE = "cnet-trace"
_LINE = re.compile(r" TRACE: (\d+) (\w+) ([^:]+):([^:]+):(?:rule:0x(\w+)|(policy|return)):([^ ]+)\s*(.*)")
_PACKET = re.compile(r"PACKET: \d+ (\w+) ")
_FAMILIES = {"1": "inet", "2": "ip", "5": "netdev", "7": "bridge"}  # linux/netfilter.h
_COMMENT = re.compile(r'--comment "((?:[^"\\]|\\.)*)"')
_READY_SECONDS = 1.0
_QUIET_SECONDS = 0.05


@dataclass(frozen=True)
class TracedRule:
    """A rule that the packet matched, or the policy of a chain, and its verdict."""

    table: str
    chain: str
    verdict: str
    rule: str
    is_reply: bool = False  # the reply matched it, not the probe
    family: str = ""
    handle: int = 0  # of a rule; 0 is the policy of a chain

    def __str__(self) -> str:
        """Format for people."""
        return f"{self.place}: {self.why} -> {self.verdict}"

    @property
    def place(self) -> str:
        """Return table and chain."""
        return f"{self.table} {self.chain}"

    @property
    def drops(self) -> bool:
        """Return whether the verdict drops the packet."""
        return self.verdict in ("DROP", "REJECT")

    @property
    def fix(self) -> str:
        """Return the command that removes the rule."""
        if self.handle == 0:
            return f"the policy of chain {self.chain} drops: {self._listing} shows it"
        removal = f"nft delete rule {self._nft_chain} handle {self.handle}"
        if " -A " in self.rule:
            removal = f"iptables -t {self.table} -D {self.rule.partition(' -A ')[2]}"
        return f"it is not the lab's; if it is yours, remove it: sudo {removal}"

    @property
    def _nft_chain(self) -> str:
        return f"{self.family} {self.table.split()[-1]} {self.chain}"

    @property
    def _listing(self) -> str:
        """Return the command that shows the chain."""
        tool, _, table = self.table.rpartition(" ")
        if tool == "ebtables":
            return f"ebtables -t {table} -L {self.chain}"
        if tool or self.chain not in HOOKS:
            return f"nft list chain {self._nft_chain}"
        return f"iptables -t {table} -S {self.chain}"

    def with_text(self) -> TracedRule:
        """Read the text of a rule that iptables does not list from nft, if the rule still exists."""
        if " -A " in self.rule or self.handle == 0:
            return self
        command = ["nft", "-a", "list", "chain", *self._nft_chain.split()]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        ends = f"# handle {self.handle}"
        line = next((line for line in listed.splitlines() if line.endswith(ends)), "")
        return replace(self, rule=line.removesuffix(ends).strip() or f"rule {self.handle}")

    @property
    def why(self) -> str:
        """Return the rule's comment, else the rule."""
        if self.handle == 0:
            return "the chain's policy"
        comment = _COMMENT.search(self.rule)
        if comment and comment[1].startswith("cnet: "):
            return comment[1].replace("\\'", "'").removeprefix("cnet: ")
        return self.rule.partition(f"-t {self.table} ")[2] or self.rule or f"rule {self.handle}"


class KernelTrace:
    """A trace of the packets with one IP identification, and of the replies to the port that they came from.

    A context manager. Does nothing where nft is missing.
    """

    def __init__(self, identification: int, port: int) -> None:
        traced = "meta nftrace set 1"
        match = (
            f"ip id {identification} {traced}; meta l4proto tcp tcp dport {port} {traced}; "
            f"icmp type echo-reply icmp id {port} {traced}"
        )
        arriving = f"chain arriving {{ type filter hook prerouting priority -450; {match}; }};"
        made = f"chain made {{ type filter hook output priority -450; {match}; }};"
        self._commands = (
            f"add table inet {TABLE} {{ flags owner; {arriving} {made} }}\n"
            f"add table bridge {TABLE} {{ flags owner; {arriving} }}\n"
        )
        self._processes = ExitStack()
        self._monitor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> KernelTrace:
        if shutil.which("nft") and shutil.which("xtables-monitor"):
            with ExitStack() as begun:
                self._begin(begun)
                self._processes = begun.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def _begin(self, processes: ExitStack) -> None:
        pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
        self._monitor = subprocess.Popen(
            ["stdbuf", "-oL", "xtables-monitor", "--trace"], stdout=pipe, stderr=quiet
        )
        processes.callback(_kill, self._monitor)
        owner = subprocess.Popen(["nft", "-i"], stdin=pipe, stdout=quiet, stderr=quiet, text=True)
        processes.callback(_kill, owner)
        if owner.stdin:
            owner.stdin.write(self._commands)
            owner.stdin.flush()
        deadline = time.monotonic() + _READY_SECONDS
        while not (_listens(self._monitor.pid) and _has_table()) and time.monotonic() < deadline:
            time.sleep(0.01)

    def read(self) -> list[TracedRule]:
        """Return the traced rules, once the kernel reports no more."""
        if self._monitor is None or self._monitor.stdout is None:
            return []
        output, pipe = b"", self._monitor.stdout.fileno()
        while select.select([pipe], [], [], _QUIET_SECONDS)[0]:
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                break
            output += chunk
        return list(read_trace(output.decode("utf-8", "replace").splitlines()))


def _kill(process: subprocess.Popen[Any]) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


def _listens(pid: int) -> bool:
    """Decide whether a netlink socket of a process has joined a group (columns of /proc/net/netlink)."""
    with suppress(OSError):
        own = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
        lines = Path("/proc/net/netlink").read_text(encoding="ascii").splitlines()[1:]
        return any(int(words[3], 16) and f"socket:[{words[-1]}]" in own for words in map(str.split, lines))
    return False


def _has_table() -> bool:
    done = subprocess.run(["nft", "list", "table", "bridge", TABLE], capture_output=True, check=False)
    return done.returncode == 0


def read_trace(lines: Iterable[str]) -> Iterator[TracedRule]:
    """Read what xtables-monitor prints; each packet has an id, and the first one is the probe."""
    probe = ""
    for line in lines:
        if packet := _PACKET.match(line):
            probe = probe or packet[1]
        match = _LINE.match(line)
        if not match or match[3] == TABLE or match[6] == "return":
            continue
        number, packet_id, table, chain, handle, _, verdict, rule = match.groups()
        family = _FAMILIES.get(number, number)
        if family == "bridge":
            table = f"{'ebtables' if table in TABLES else 'bridge'} {table}"
        elif family != "ip" or table not in TABLES:
            table = f"{family} {table}"
        yield TracedRule(
            table, chain, verdict, rule.strip(), packet_id != probe, family, int(handle or "0", 16)
        )
