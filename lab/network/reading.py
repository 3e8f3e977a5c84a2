"""Read the state of the host and of namespaces: ip(8) and bridge(8) as JSON, qdiscs and firewall chains by netlink.

`tc` and `nft` would be two more processes for each node. Import only modules that load quickly.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lab import netlink
from lab.namespace import enter
from lab.netlink import Qdisc

_Started = tuple[int, int]  # process id, file descriptor of the output
Object = dict[str, Any]  # JSON object from ip(8) or bridge(8)

_SHOW = "addr show\nroute show table all\nrule show\nneigh show nud permanent nud noarp\n"
_MAX_PROCESSES = os.cpu_count() or 1
_LEGACY_INFO, _INFO_BYTES = 64, 84  # IPT_SO_GET_INFO, struct ipt_getinfo: linux/netfilter_ipv4/ip_tables.h
_libc = ctypes.CDLL(None, use_errno=True)


class ReadError(Exception):
    """The state of the host or of a namespace cannot be read."""


class State(NamedTuple):
    """The state of a namespace, or of the host (""), with its namespaces and the static entries of its bridges."""

    name: str
    links: list[Object]
    routes: list[Object]
    rules: list[Object]
    neighbours: list[Object]
    qdiscs: list[Qdisc]
    chains: Sequence[str] = ()  # the namespace's chains: FAMILY TABLE CHAIN, or "legacy TABLE"
    namespaces: Sequence[Object] = ()
    entries: Sequence[Object] = ()


def read_host() -> State:
    """Read the host's state. Raises ReadError."""
    fdb = _start("bridge", "-j", "fdb", "show", "state", "static")
    shown = _finish(_start("ip", "-j", "-d", "-batch", "-", text=f"{_SHOW}netns list\n"))
    if len(shown) < 4:  # noqa: PLR2004 - without namespaces ip prints no fifth list
        raise ReadError("ip did not print the host's addresses, routes, routing rules and neighbours")
    links, routes, rules, neighbours, namespaces = [*shown, []][:5]
    entries = [*_finish(fdb), []][0]
    return State("", links, routes, rules, neighbours, netlink.qdiscs(), (), namespaces, entries)


def read_namespaces(names: list[str]) -> Iterator[State]:
    """Read the state of each namespace, several at a time. Raises ReadError."""
    if not names:
        return
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    running: list[tuple[str, _Started, list[Qdisc], list[str]]] = []
    try:
        for name in names:
            try:
                enter(f"/run/netns/{name}")
            except OSError as error:
                raise ReadError(f"the state of namespace {name} cannot be read: {error.strerror}") from error
            started = _start("ip", "-j", "-d", "-batch", "-", text=_SHOW)
            running.append((name, started, netlink.qdiscs(), netlink.chains() + legacy_tables()))
            if len(running) > _MAX_PROCESSES:
                yield _state(*running.pop(0))
        for process in running:
            yield _state(*process)
    finally:
        enter(f"/proc/self/fd/{own}")
        os.close(own)


def _state(name: str, started: _Started, qdiscs: list[Qdisc], chains: list[str]) -> State:
    shown = _finish(started)
    if len(shown) != 4:  # noqa: PLR2004
        raise ReadError(f"the state of namespace {name} cannot be read")
    links, routes, rules, neighbours = shown
    return State(name, links, routes, rules, neighbours, qdiscs, chains)


def _start(*command: str, text: str = "") -> _Started:
    """Start a command in the namespace where this process is.

    subprocess would take as long to import as ip(8) to run. The text fits in a pipe's buffer.
    """
    words, written = os.pipe()
    output, printed = os.pipe()
    os.write(written, text.encode())
    os.close(written)
    null = (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)
    duplicates = ((os.POSIX_SPAWN_DUP2, words, 0), (os.POSIX_SPAWN_DUP2, printed, 1))
    try:
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=(*duplicates, null))
    except OSError as error:
        raise ReadError(f"{command[0]} cannot be started: {error.strerror}") from error
    finally:
        os.close(words)
        os.close(printed)
    return pid, output


def _finish(started: _Started) -> list[list[Object]]:
    """Read a command's output, a list in each line."""
    pid, pipe = started
    with open(pipe, "rb") as output:
        shown = [json.loads(line) for line in output]
    os.waitpid(pid, 0)
    return shown


def legacy_tables() -> list[str]:
    """List the tables of iptables' old backend that hold more than their chains' policies."""
    try:
        with open("/proc/thread-self/net/ip_tables_names") as names:
            tables = names.read().split()
    except OSError:
        return []
    return [f"legacy {table}" for table in tables if _has_rules(table)]


def _has_rules(table: str) -> bool:
    """Decide whether a table of the old backend has more entries than one a hook and its end."""
    size = ctypes.c_uint(_INFO_BYTES)
    info = ctypes.create_string_buffer(table.encode(), _INFO_BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        failed = _libc.getsockopt(raw.fileno(), 0, _LEGACY_INFO, info, ctypes.byref(size))
    hooks, entries = struct.unpack_from("=I", info, 32)[0], struct.unpack_from("=I", info, 76)[0]
    return not failed and entries > hooks.bit_count() + 1
