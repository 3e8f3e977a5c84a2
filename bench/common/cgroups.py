"""Control groups, version 1 and 2: the same limits for a service on either side, and its CPU time and memory.

Kernel: Documentation/admin-guide/cgroup-v1/{cpuacct,memory}.rst, sched-bwc.rst, and cgroup-v2.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
GROUP = "cnet-bench"
_CONTROLLERS = ("cpu", "cpuacct", "memory")  # of version 1, each a tree of its own


def unified() -> bool:
    """Tell whether this machine has version 2 alone."""
    return (ROOT / "cgroup.controllers").exists()


class Cgroup:
    """One group; `path` is what /proc/PID/cgroup says of it, for each controller (version 2: "")."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths

    @classmethod
    def of_process(cls, pid: int) -> Cgroup:
        """Find the group that a process is in."""
        paths: dict[str, str] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)
        return cls(paths)

    @classmethod
    def make(cls, name: str, cpus: float, memory: int) -> Cgroup:
        """Make a group of so many CPUs and bytes."""
        group = cls(dict.fromkeys(("", *_CONTROLLERS), f"/{GROUP}/{name}"))
        if unified():
            _enable(ROOT)
            (ROOT / GROUP).mkdir(exist_ok=True)
            _enable(ROOT / GROUP)
        for directory in group._directories():
            directory.mkdir(parents=True, exist_ok=True)
        quota = int(cpus * PERIOD_US)
        if unified():
            group._write("", "cpu.max", f"{quota} {PERIOD_US}")
            group._write("", "memory.max", str(memory))
        else:
            group._write("cpu", "cpu.cfs_period_us", str(PERIOD_US))
            group._write("cpu", "cpu.cfs_quota_us", str(quota))
            group._write("memory", "memory.limit_in_bytes", str(memory))
        return group

    def adopt(self, pids: Iterable[int]) -> None:
        """Take processes in; one that has ended meanwhile is no error."""
        for pid in pids:
            for directory in self._directories():
                with suppress(ProcessLookupError):
                    (directory / "cgroup.procs").write_text(str(pid))

    def cpu_seconds(self) -> float:
        """Give the CPU time its processes have used, in user space and in the kernel on their behalf."""
        if not unified():
            return int(self._read("cpuacct", "cpuacct.usage")) / 1e9
        return _field(self._read("", "cpu.stat"), "usage_usec") / 1e6

    def memory_bytes(self) -> int:
        """Give its processes' memory; what several share is shared out among them (PSS, proc(5): smaps_rollup).

        Not the group's own counter: it has only what was allocated since a process came into the group.
        """
        found = 0
        for pid in (self._directories()[0] / "cgroup.procs").read_text().split():
            with suppress(OSError):
                found += 1024 * _field(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:")
        return found

    def _directories(self) -> list[Path]:
        if unified():
            return [ROOT / self._paths[""].lstrip("/")]
        return [ROOT / controller / self._paths[controller].lstrip("/") for controller in _CONTROLLERS]

    def _file(self, controller: str, name: str) -> Path:
        return ROOT / controller / self._paths[controller].lstrip("/") / name

    def _read(self, controller: str, name: str) -> str:
        return self._file(controller, name).read_text()

    def _write(self, controller: str, name: str, value: str) -> None:
        self._file(controller, name).write_text(value)


def remove_all() -> None:
    """Take away the groups, whose processes are gone."""
    for root in [ROOT] if unified() else [ROOT / controller for controller in _CONTROLLERS]:
        for directory in sorted((root / GROUP).glob("*/"), reverse=True):
            with suppress(OSError):
                directory.rmdir()
        with suppress(OSError):
            (root / GROUP).rmdir()


def busy_seconds() -> float:
    """Give the CPU time of the whole machine that was not idle (proc(5), /proc/stat)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _enable(directory: Path) -> None:
    (directory / "cgroup.subtree_control").write_text("+cpu +memory")


def _field(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[0] == name), 0)
