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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from lab.ruleset.host import output_of
from security.rules.walk import TABLES

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

    table: str  # iptables: TABLE; else "ebtables TABLE" or "FAMILY TABLE"
    chain: str
    verdict: str
    rule: str
    is_reply: bool = False  # true if the reply matched, not the probe
    handle: int = 0  # handle of the rule; 0 for a chain's policy
    nft_chain: str = ""  # FAMILY TABLE CHAIN

    def __str__(self) -> str:
        """Format the verdict as a readable line."""
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
            return f"the policy of chain {self.chain} drops: nft list chain {self.nft_chain} shows it"
        removal = f"nft delete rule {self.nft_chain} handle {self.handle}"
        if " -A " in self.rule:
            removal = f"iptables -t {self.table} -D {self.rule.partition(' -A ')[2]}"
        return f"it is not the lab's; if it is yours, remove it: sudo {removal}"

    @property
    def why(self) -> str:
        """Return the rule's comment, else the rule."""
        if self.handle == 0:
            return "the chain's policy"
        comment = _COMMENT.search(self.rule)
        if comment and comment[1].startswith("cnet: "):
            return comment[1].replace("\\'", "'").removeprefix("cnet: ")
        return self.rule.partition(f"-t {self.table} ")[2] or self.rule or f"rule {self.handle}"

    def with_text(self) -> TracedRule:
        """Read the text of a rule that iptables does not list from nft, if the rule still exists."""
        if " -A " in self.rule or self.handle == 0:
            return self
        listed = output_of("nft", "-a", "list", "chain", *self.nft_chain.split())
        found = re.search(rf"^\s*(.*) # handle {self.handle}$", listed, re.MULTILINE)
        return replace(self, rule=found[1]) if found else self


@contextmanager
def kernel_trace(identification: int, port: int) -> Iterator[Callable[[], list[TracedRule]]]:
    """Trace packets with an IP identification, and the replies to the port that they came from.

    Yield a function that returns the traced rules, once the kernel reports no more; none where nft is missing.
    """
    if not (shutil.which("nft") and shutil.which("xtables-monitor")):
        yield list
        return
    traced = "meta nftrace set 1"
    match = (
        f"ip id {identification} {traced}; meta l4proto tcp tcp dport {port} {traced}; "
        f"icmp type echo-reply icmp id {port} {traced}"
    )
    arriving = f"chain arriving {{ type filter hook prerouting priority -450; {match}; }};"
    made = f"chain made {{ type filter hook output priority -450; {match}; }};"
    commands = (
        f"add table inet {TABLE} {{ flags owner; {arriving} {made} }}\n"
        f"add table bridge {TABLE} {{ flags owner; {arriving} }}\n"
    )
    with _running("stdbuf", "-oL", "xtables-monitor", "--trace") as monitor, _running("nft", "-i") as owner:
        print(commands, file=owner.stdin, flush=True)
        deadline = time.monotonic() + _READY_SECONDS
        while not (_listens(monitor.pid) and _has_table()) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield partial(_read_output, monitor.stdout)


@contextmanager
def _running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command until the end of the block."""
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _read_output(pipe: IO[str] | None) -> list[TracedRule]:
    output = b""
    while pipe and select.select([pipe], [], [], _QUIET_SECONDS)[0]:
        chunk = os.read(pipe.fileno(), 1 << 16)
        if not chunk:
            break
        output += chunk
    rules = read_trace(output.decode("utf-8", "replace").splitlines())
    return [rule.with_text() if rule.drops else rule for rule in rules]


def _listens(pid: int) -> bool:
    """Decide whether a netlink socket of a process has joined a group (columns of /proc/net/netlink)."""
    with suppress(OSError):
        own = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
        lines = Path("/proc/net/netlink").read_text(encoding="ascii").splitlines()[1:]
        return any(int(words[3], 16) and f"socket:[{words[-1]}]" in own for words in map(str.split, lines))
    return False


def _has_table() -> bool:
    return bool(output_of("nft", "list", "table", "bridge", TABLE))


def read_trace(lines: Iterable[str]) -> Iterator[TracedRule]:
    """Read the output of xtables-monitor; each packet has an id, and the first one is the probe."""
    probe = ""
    for line in lines:
        if packet := _PACKET.match(line):
            probe = probe or packet[1]
        match = _LINE.match(line)
        if not match or match[3] == TABLE or match[6] == "return":
            continue
        number, packet_id, table, chain, handle, _, verdict, rule = match.groups()
        family = _FAMILIES.get(number, number)
        place = f"{family} {table} {chain}"
        if family == "bridge":
            table = f"{'ebtables' if table in TABLES else 'bridge'} {table}"
        elif family != "ip" or table not in TABLES:
            table = f"{family} {table}"
        yield TracedRule(
            table, chain, verdict, rule.strip(), packet_id != probe, int(handle or "0", 16), place
        )
