"""The processes of each node: those of its user, in this host's process table. From /proc, proc(5)."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_STOPPED = ("T", "t")


@dataclass(frozen=True)
class Process:
    """One process at one moment."""

    pid: int
    parent: int
    user: int
    name: str  # the kernel's, at most 15 characters
    state: str  # one letter: R, S, D, T ...
    namespace: int  # the inode of its network namespace
    open_files: int
    max_files: int  # the soft limit of open files
    group: str  # its control group's file that stops it or limits its time; empty for none

    @property
    def is_stopped(self) -> bool:
        """Whether a signal stopped it, or its control group is frozen."""
        return self.state in _STOPPED or self.group.endswith(("freezer.state", "cgroup.freeze"))

    @property
    def is_out_of_files(self) -> bool:
        """Whether it can open no further file."""
        return self.open_files >= self.max_files - 1


def read_processes(users: Mapping[int, str]) -> dict[str, list[Process]]:
    """Return the processes of each node, by the users of the nodes; oldest first."""
    found: dict[str, list[Process]] = defaultdict(list)
    for pid in sorted(int(entry) for entry in os.listdir(_PROC) if entry.isdigit()):
        with suppress(OSError, ValueError, LookupError):  # it may end meanwhile
            user = (_PROC / str(pid)).stat().st_uid
            if user in users:
                found[users[user]].append(_read(pid, user))
    return found


def _read(pid: int, user: int) -> Process:
    folder = _PROC / str(pid)
    name, _, rest = (folder / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
    words = rest.split()
    limits = (folder / "limits").read_text()
    soft = limits.partition("Max open files")[2].split()[0]
    return Process(
        pid,
        int(words[1]),
        user,
        name,
        words[0],
        (folder / "ns" / "net").stat().st_ino,
        len(os.listdir(folder / "fd")),
        int(soft) if soft.isdigit() else 1 << 30,
        next(iter(_holding_files(folder)), ""),
    )


def _holding_files(folder: Path) -> list[str]:
    """Return the files of control groups by which a process is frozen or gets less than all of a processor.

    Leave out those that hold this process, too: a limit of the whole lab is intended.
    """
    own = _groups(_PROC / "self")
    return [str(file) for group in _groups(folder) if group not in own for file in _holding(group)]


def _groups(folder: Path) -> list[Path]:
    """Return the folders of a process' control groups."""
    found = []
    for line in (folder / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for root in [_CGROUPS / one for one in controllers.split(",") if one] or [_CGROUPS]:
            found.append(root / path.lstrip("/"))
    return found


def _holding(group: Path) -> Iterator[Path]:
    """Yield the files: freezer.state, cpu.cfs_quota_us (version 1); cgroup.freeze, cpu.max (version 2, cgroups(7))."""
    if _word(group / "freezer.state") in ("FROZEN", "FREEZING"):
        yield group / "freezer.state"
    if _word(group / "cgroup.freeze") == "1":
        yield group / "cgroup.freeze"
    if _word(group / "cpu.cfs_quota_us") not in ("", "-1"):
        yield group / "cpu.cfs_quota_us"
    if _word(group / "cpu.max") not in ("", "max"):
        yield group / "cpu.max"


def _word(file: Path) -> str:
    try:
        return file.read_text().split()[0]
    except (OSError, IndexError):
        return ""
