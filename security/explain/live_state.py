"""Take a snapshot of the running system; needs root."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import netlink
from lab.conntrack import connections, count_open_by_source
from lab.namespace import inside
from lab.ruleset.iptables import parse
from security.explain.snapshot import NO_PLACE, Place, Snapshot
from security.rules.walk import HOOKS, TABLES

_RATES = Path("/proc/net/ipt_hashlimit")
_POLICY_MEMORY = Path("/run/cnet/before-up.policy")  # security/policy.sh keeps this file from `up` to `down`
_WORKERS = 8
_SHOW_LINES = ("addr show", "route show table main", "rule show", "neigh show")
_FAILED = re.compile(r"(?:RTNETLINK answers: |Error: )?(.*)\nCommand failed -:(\d+)")


def take_snapshot(
    namespaces: Iterable[str], destinations: Iterable[str] = (), neighbours: Iterable[str] = ()
) -> Snapshot:
    """Read the state of the host and of namespaces.

    `destinations`: routes to look up in each of them (ADDRESS, or ADDRESS from OWN); `neighbours`: further namespaces
    whose addresses are read.
    """
    wanted, addresses = list(dict.fromkeys(namespaces)), list(dict.fromkeys(destinations))
    with ThreadPoolExecutor(_WORKERS) as pool:
        host = pool.submit(_read_host, addresses, dict.fromkeys((*wanted, *neighbours)))
        places = list(pool.map(lambda name: _read_namespace(name, addresses), wanted))
    return Snapshot(host.result(), dict(zip(wanted, places, strict=True)))


def _read_namespace(name: str, destinations: Sequence[str]) -> Place:
    try:
        with inside(name):
            pass
    except OSError:  # no namespace, or an empty file from a killed `ip netns add`
        return NO_PLACE
    return _read_place(("nsenter", f"--net=/run/netns/{name}", "--"), destinations)


def _read_place(enter: Sequence[str], destinations: Sequence[str]) -> Place:
    (links, routes, rules, neighbours), answers = _query_ip(enter, destinations)
    listeners = _run(*enter, "ss", "-Hlntup")
    return Place(
        links=links,
        route_lines=routes,
        rule_lines=rules,
        neighbours=neighbours,
        answers=answers,
        listener_lines=listeners,
        rules=_run(*enter, "iptables-save", "-c"),
        stopped=sorted(filter(_is_stopped, {int(pid) for pid in re.findall(r"pid=(\d+)", listeners)})),
    )


def _query_ip(enter: Sequence[str], destinations: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Run one `ip` for all queries; a failed query has no line on stdout, but an error on stderr."""
    done = subprocess.run(
        [*enter, "ip", "-j", "-d", "-force", "-batch", "-"],
        input="\n".join((*_SHOW_LINES, *(f"route get {destination}" for destination in destinations))),
        capture_output=True,
        text=True,
        check=False,
    )
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    found = [answer[0] for answer in shown[len(_SHOW_LINES) :] if answer]
    answers = {
        f"{each['dst']} from {each['from']}" if "from" in each else each["dst"]: each for each in found
    }
    for error, number in _FAILED.findall(done.stderr):
        answers[destinations[int(number) - 1 - len(_SHOW_LINES)]] = {"error": error}
    return shown[: len(_SHOW_LINES)], answers


def _is_stopped(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return False


def _read_host(destinations: Sequence[str], namespaces: Iterable[str]) -> Place:
    rates = _RATES.glob("*") if _RATES.is_dir() else ()
    return replace(
        _read_place((), destinations),
        frames=_run("ebtables-save", "-c"),
        policed=_POLICY_MEMORY.exists(),
        forwards=_interfaces_with("forwarding"),
        localnets=_interfaces_with("route_localnet"),
        unread=_unread_chains(),
        rates={path.name: path.read_text(encoding="ascii") for path in rates},
        open=dict(count_open_by_source(connections(_run("conntrack", "-L").splitlines()))),
        owners=_find_owners(namespaces),
    )


def _find_owners(namespaces: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the namespaces of each address, with CIDR dev INTERFACE. Starts no process."""
    owners: dict[str, dict[str, str]] = {}
    for name in namespaces:
        with suppress(OSError), inside(name):
            for address, length, interface in netlink.addresses():
                owners.setdefault(address, {})[name] = f"{address}/{length} dev {interface}"
    return owners


def _interfaces_with(key: str) -> list[str]:
    """Return the interfaces of the host whose sysctl is 1, including `all`."""
    paths = Path("/proc/sys/net/ipv4/conf").glob(f"*/{key}")
    return [path.parent.name for path in paths if path.read_text(encoding="ascii").strip() == "1"]


def _unread_chains() -> dict[str, list[str]]:
    """Name the base chains of others that iptables-save does not show, by hook.

    nft itself made them (firewalld, libvirt), or they are of iptables-legacy (x_tables): the kernel applies both.
    Chains of nft without rules change nothing, but are included: to detect them, every rule would have to be read.
    """
    found: dict[str, list[str]] = {hook: [] for hook in HOOKS}
    listed = json.loads(_run("nft", "-j", "list", "chains") or '{"nftables": []}')["nftables"]
    for chain in (item["chain"] for item in listed if "hook" in item.get("chain", {})):
        family, table, name = chain["family"], chain["table"], chain["name"]
        hook = "PREROUTING" if family == "netdev" else chain["hook"].upper()
        is_of_iptables = family in ("ip", "bridge") and table in TABLES and name == hook
        if family in ("ip", "inet", "bridge", "netdev") and hook in found and not is_of_iptables:
            place = f"{family} {table} {name}"
            found[hook].append(f"chain {place} of nft (nft list chain {place} shows it)")
    names = Path("/proc/net/ip_tables_names")
    if names.exists() and names.read_text(encoding="ascii").strip():
        saved = parse(_run("iptables-legacy-save", "-c"))
        changed = {(rule.table, rule.chain) for rule in saved.rules}
        changed |= {
            (table, chain) for table, chain, policy in saved.policies if policy not in ("ACCEPT", "-")
        }
        shown = "has rules of iptables-legacy (iptables-legacy-save shows them)"
        for table, chain in sorted(changed):
            found.get(chain, []).append(f"chain {chain} of table {table} {shown}")
    return found


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout if done.returncode == 0 else ""
