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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TABLE = "cnet-trace"
_LINE = re.compile(r" TRACE: (\d+) \w+ ([^:]+):([^:]+):(?:rule:0x\w+|(policy|return)):([^ ]+)\s*(.*)")
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

    @property
    def why(self) -> str:
        """Give the rule's comment, else the rule."""
        found = _COMMENT.search(self.rule)
        return (
            found[1].replace("\\'", "'").removeprefix("cnet: ")
            if found
            else self.rule or "the chain's policy"
        )


class Trace:
    """A trace of packets with one IP identification; a context manager. Does nothing where nft is missing."""

    def __init__(self, identification: int) -> None:
        self._match = f"ip id {identification} meta nftrace set 1"
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
        met = map(_met, told.decode("utf-8", "replace").splitlines())
        return [each for each in met if each and each.table != TABLE]

    def _end(self) -> None:
        for process in (self._owner, self._monitor):
            if process:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait()


def _met(line: str) -> Met | None:
    found = _LINE.match(line)
    if not found:
        return None
    family, table, chain, policy, verdict, rule = found.groups()
    if policy == "return":
        return None
    return Met(f"ebtables {table}" if family == "7" else table, chain, verdict, rule.strip())
