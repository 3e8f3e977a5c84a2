"""Control groups, version 1 and 2: the same limits for a service on either side, and its CPU time and memory.

Kernel: Documentation/admin-guide/cgroup-v1/{cpuacct,memory}.rst, sched-bwc.rst, and cgroup-v2.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
IS_V2 = (ROOT / "cgroup.controllers").exists()
CONTROLLERS = ("",) if IS_V2 else ("cpu", "cpuacct", "memory")  # cgroup v1 has one tree per controller
PERIOD_US = 100_000
GROUP = "cnet-bench"


class Cgroup:
    """One group: its directory for each of CONTROLLERS."""

    def __init__(self, paths: dict[str, str]) -> None:
        """Set the paths of each controller, as in /proc/PID/cgroup."""
        self._directories = {one: ROOT / one / paths[one].lstrip("/") for one in CONTROLLERS}

    @classmethod
    def of_process(cls, pid: int) -> Cgroup:
        """Return the group of a process."""
        paths: dict[str, str] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)
        return cls(paths)

    @classmethod
    def make(cls, name: str, cpus: float, memory: int) -> Cgroup:
        """Create a group with limits: a number of CPUs, and bytes."""
        group = cls(dict.fromkeys(CONTROLLERS, f"/{GROUP}/{name}"))
        if IS_V2:
            (ROOT / GROUP).mkdir(exist_ok=True)
            for directory in (ROOT, ROOT / GROUP):
                (directory / "cgroup.subtree_control").write_text("+cpu +memory")
        for directory in group._directories.values():
            directory.mkdir(parents=True, exist_ok=True)
        quota = int(cpus * PERIOD_US)
        if IS_V2:
            group._file("", "cpu.max").write_text(f"{quota} {PERIOD_US}")
            group._file("", "memory.max").write_text(str(memory))
        else:
            group._file("cpu", "cpu.cfs_period_us").write_text(str(PERIOD_US))
            group._file("cpu", "cpu.cfs_quota_us").write_text(str(quota))
            group._file("memory", "memory.limit_in_bytes").write_text(str(memory))
        return group

    def adopt(self, pids: Iterable[int]) -> None:
        """Move processes into the group, except those that have ended."""
        for pid in pids:
            for controller in CONTROLLERS:
                with suppress(ProcessLookupError):
                    self._file(controller, "cgroup.procs").write_text(str(pid))

    def cpu_seconds(self) -> float:
        """Return the CPU time of the group's processes, in user space and in the kernel on their behalf."""
        if IS_V2:
            return _field(self._file("", "cpu.stat").read_text(), "usage_usec") / 1e6
        return int(self._file("cpuacct", "cpuacct.usage").read_text()) / 1e9

    def memory_bytes(self) -> int:
        """Return the memory of the group's processes; shared pages are divided (PSS, proc(5): smaps_rollup).

        The group's own counter excludes memory that a process allocated before it joined the group.
        """
        kilobytes = 0
        for pid in self._file(CONTROLLERS[0], "cgroup.procs").read_text().split():
            with suppress(OSError):
                kilobytes += _field(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:")
        return 1024 * kilobytes

    def _file(self, controller: str, name: str) -> Path:
        return self._directories[controller] / name


def remove_all() -> None:
    """Remove the groups, whose processes have ended."""
    for controller in CONTROLLERS:
        for directory in (*(ROOT / controller / GROUP).glob("*/"), ROOT / controller / GROUP):
            with suppress(OSError):
                directory.rmdir()


def busy_seconds() -> float:
    """Return the CPU time of the whole machine that was not idle (proc(5), /proc/stat)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _field(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[0] == name), 0)
