"""Run the tools that print the kernel's state; the output of a missing or failed tool is empty."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from os.path import realpath


def outputs_of(*commands: Sequence[str]) -> list[str]:
    """Run the commands in parallel and return the output of each."""
    started = [_start(command) for command in commands]
    return [process.communicate()[0] if process else "" for process in started]


def _start(command: Sequence[str]) -> subprocess.Popen[str] | None:
    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
    except OSError:
        return None


def output_of(*command: str) -> str:
    """Return the output of one command."""
    return outputs_of(command)[0]


def iptables_backends(tool: str = "iptables") -> list[str]:
    """Return "iptables" and, where it is installed, the command of its other backend (nf_tables or x_tables).

    `tool` may be "ip6tables", too.
    """
    from shutil import which  # noqa: PLC0415 - it is slow to load, and only this function needs it

    default = realpath(which(f"{tool}-save") or "")
    others = {name: which(f"{name}-save") for name in (f"{tool}-nft", f"{tool}-legacy")}
    return [tool, *(name for name, path in others.items() if path and realpath(path) != default)]
