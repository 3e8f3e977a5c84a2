"""Follows one packet through every rule of iptables, ebtables and nft, by the kernel's own trace.

The trace is switched on in nft tables that the kernel removes when the process that made them ends, however
it ends (`flags owner`, nft(8)): nothing is left behind. What the kernel tells is read by xtables-monitor(8).
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from security.rules.walk import HOOKS

TABLE = "cnet-trace"
_LINE = re.compile(r" TRACE: (\d+) (\w+) ([^:]+):([^:]+):(?:rule:0x(\w+)|(policy|return)):([^ ]+)\s*(.*)")
_PACKET = re.compile(r"PACKET: \d+ (\w+) ")
_FAMILIES = {"1": "inet", "2": "ip", "5": "netdev", "7": "bridge"}  # linux/netfilter.h
_TABLES_OF_IPTABLES = ("filter", "nat", "mangle", "raw", "security", "broute")
_COMMENT = re.compile(r'--comment "((?:[^"\\]|\\.)*)"')
_READY_SECONDS = 1.0
_QUIET_SECONDS = 0.05


@dataclass(frozen=True)
class Met:
    """A rule that the packet met, or the policy of a chain, and what came of it."""

    table: str
    chain: str
    verdict: str
    rule: str
    answer: bool = False  # not the probe met it, but what answered
    family: str = ""
    handle: int = 0  # of a rule; 0 is the policy of a chain

    @property
    def drops(self) -> bool:
        """Tell whether it ended there."""
        return self.verdict in ("DROP", "REJECT")

    @property
    def fix(self) -> str:
        """Give the command that takes away the rule."""
        if self.handle == 0:
            return f"the policy of chain {self.chain} drops: {self._listing} shows it"
        removal = f"nft delete rule {self._place} handle {self.handle}"
        if " -A " in self.rule:
            removal = f"iptables -t {self.table} -D {self.rule.partition(' -A ')[2]}"
        return f"it is not the lab's; if it is yours, remove it: sudo {removal}"

    @property
    def _place(self) -> str:
        """Name the chain as nft does."""
        return f"{self.family} {self.table.split()[-1]} {self.chain}"

    @property
    def _listing(self) -> str:
        """Give the command that shows the chain."""
        tool, _, table = self.table.rpartition(" ")
        if tool == "ebtables":
            return f"ebtables -t {table} -L {self.chain}"
        if tool or self.chain not in HOOKS:
            return f"nft list chain {self._place}"
        return f"iptables -t {table} -S {self.chain}"

    def named(self) -> Met:
        """Ask nft for the text of a rule that iptables does not know; it may be gone by now."""
        if " -A " in self.rule or self.handle == 0:
            return self
        table = self.table.split()[-1]
        listed = subprocess.run(
            ["nft", "-a", "list", "chain", self.family, table, self.chain],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        ends = f"# handle {self.handle}"
        line = next((line for line in listed.splitlines() if line.endswith(ends)), "")
        return replace(self, rule=line.removesuffix(ends).strip() or f"rule {self.handle}")

    @property
    def why(self) -> str:
        """Give the rule's comment, else the rule."""
        if self.handle == 0:
            return "the chain's policy"
        found = _COMMENT.search(self.rule)
        if found and found[1].startswith("cnet: "):
            return found[1].replace("\\'", "'").removeprefix("cnet: ")
        return self.rule.partition(f"-t {self.table} ")[2] or self.rule or f"rule {self.handle}"


class Trace:
    """A trace of the packets with one IP identification, and of what comes back to the port that they left from.

    A context manager. Does nothing where nft is missing.
    """

    def __init__(self, identification: int, port: int) -> None:
        traced = "meta nftrace set 1"
        self._match = (
            f"ip id {identification} {traced}; meta l4proto tcp tcp dport {port} {traced}; "
            f"icmp type echo-reply icmp id {port} {traced}"
        )
        self._owner: subprocess.Popen[str] | None = None
        self._monitor: subprocess.Popen[str] | None = None

    def __enter__(self) -> Trace:
        if not shutil.which("nft") or not shutil.which("xtables-monitor"):
            return self
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _begin(self) -> None:
        self._monitor = subprocess.Popen(
            ["stdbuf", "-oL", "xtables-monitor", "--trace"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._owner = subprocess.Popen(
            ["nft", "-i"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        commands = (
            f"add table inet {TABLE} {{ flags owner; "
            f"chain arriving {{ type filter hook prerouting priority -450; {self._match}; }}; "
            f"chain made {{ type filter hook output priority -450; {self._match}; }}; }}\n"
            f"add table bridge {TABLE} {{ flags owner; "
            f"chain arriving {{ type filter hook prerouting priority -450; {self._match}; }}; }}\n"
        )
        if self._owner.stdin:
            self._owner.stdin.write(commands)
            self._owner.stdin.flush()
        deadline = time.monotonic() + _READY_SECONDS
        while not (self._monitor_listens() and self._table_is_there()) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _monitor_listens(self) -> bool:
        """Tell whether one of its sockets has joined a group; the columns are those of /proc/net/netlink."""
        pid = self._monitor.pid if self._monitor else "self"
        with suppress(OSError):
            own = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
            lines = Path("/proc/net/netlink").read_text(encoding="ascii").splitlines()[1:]
            return any(
                int(words[3], 16) and f"socket:[{words[-1]}]" in own for words in map(str.split, lines)
            )
        return False

    @staticmethod
    def _table_is_there() -> bool:
        done = subprocess.run(["nft", "list", "table", "bridge", TABLE], capture_output=True, check=False)
        return done.returncode == 0

    def read(self) -> list[Met]:
        """Give what was met, once the kernel has nothing more to tell."""
        if self._monitor is None or self._monitor.stdout is None:
            return []
        told, pipe = b"", self._monitor.stdout.fileno()
        while select.select([pipe], [], [], _QUIET_SECONDS)[0]:
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                break
            told += chunk
        return list(_read(told.decode("utf-8", "replace").splitlines()))

    def _end(self) -> None:
        for process in (self._owner, self._monitor):
            if process:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait()


def _read(lines: Iterable[str]) -> Iterator[Met]:
    """Read what xtables-monitor prints; a packet has a number, and the first one is the probe."""
    probe = ""
    for line in lines:
        if packet := _PACKET.match(line):
            probe = probe or packet[1]
        found = _LINE.match(line)
        if not found or found[3] == TABLE or found[6] == "return":
            continue
        number, packet_id, table, chain, handle, _, verdict, rule = found.groups()
        family = _FAMILIES.get(number, number)
        if family == "bridge":
            table = f"{'ebtables' if table in _TABLES_OF_IPTABLES else 'bridge'} {table}"
        elif family != "ip" or table not in _TABLES_OF_IPTABLES:
            table = f"{family} {table}"
        yield Met(table, chain, verdict, rule.strip(), packet_id != probe, family, int(handle or "0", 16))
