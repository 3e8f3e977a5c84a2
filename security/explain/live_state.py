"""Take a snapshot of the running system; needs root."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import netlink
from lab.conntrack import connections
from lab.ruleset.iptables import parse
from security.explain.snapshot import NO_PLACE, Place, Snapshot
from lab.namespace import inside
from security.proof.tracked import count_open_by_source
from security.rules.walk import HOOKS

_RATES = Path("/proc/net/ipt_hashlimit")
_POLICY_MEMORY = Path("/run/cnet/before-up.policy")  # of security/policy.sh, from `up` to `down`
_WORKERS = 8
_SHOW_LINES = ("addr show", "route show table main", "rule show", "neigh show")
_FAILED = re.compile(r"Command failed -:(\d+)")
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")
_TABLES_OF_IPTABLES = ("filter", "nat", "mangle", "raw", "security", "broute")


def take_snapshot(
    namespaces: Iterable[str], destinations: Iterable[str] = (), neighbours: Iterable[str] = ()
) -> Snapshot:
    """Read the state of the host and of namespaces.

    `destinations`: routes to look up in each of them (ADDRESS, or ADDRESS from OWN); `neighbours`: further namespaces
    whose addresses are read.
    """
    wanted, addresses, others = (
        list(dict.fromkeys(namespaces)),
        list(dict.fromkeys(destinations)),
        list(neighbours),
    )
    with ThreadPoolExecutor(_WORKERS) as pool:
        host = pool.submit(_read_host, addresses, others)
        places = list(pool.map(lambda name: _read_namespace(name, addresses), wanted))
    return Snapshot(host.result(), dict(zip(wanted, places, strict=True)))


def is_namespace(name: str) -> bool:
    """Decide whether a name is a network namespace; a killed `ip netns add` leaves an empty file."""
    try:
        with inside(name):
            return True
    except OSError:
        return False


def _read_namespace(name: str, destinations: Iterable[str]) -> Place:
    return (
        _read_place(("nsenter", f"--net=/run/netns/{name}", "--"), destinations)
        if is_namespace(name)
        else NO_PLACE
    )


def _read_place(enter: Iterable[str], destinations: Iterable[str]) -> Place:
    (links, routes, rules, neighbours, *answers), refused = _query_ip(enter, destinations)
    listeners = _run(*enter, "ss", "-Hlntup")
    return Place(
        links=links,
        route_lines=routes,
        rule_lines=rules,
        neighbours=neighbours,
        answers={_query_of(answer[0]): answer[0] for answer in answers if answer},
        unanswered=refused,
        listener_lines=listeners,
        rules=_run(*enter, "iptables-save", "-c"),
        stopped=sorted(filter(_is_stopped, {int(pid) for pid in re.findall(r"pid=(\d+)", listeners)})),
    )


def _query_ip(enter: Iterable[str], destinations: Iterable[str]) -> tuple[list[Any], dict[str, str]]:
    """Run one `ip` for all queries; a failed query has no line on stdout, but an error on stderr."""
    queries = [f"route get {destination}" for destination in destinations]
    done = subprocess.run(
        [*enter, "ip", "-j", "-d", "-force", "-batch", "-"],
        input="\n".join((*_SHOW_LINES, *queries)),
        capture_output=True,
        text=True,
        check=False,
    )
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    reason, refused = "", {}
    for line in done.stderr.splitlines():
        if found := _FAILED.fullmatch(line):
            query = queries[int(found[1]) - 1 - len(_SHOW_LINES)]
            refused[query.removeprefix("route get ")] = reason
        else:
            reason = line.removeprefix("RTNETLINK answers: ").removeprefix("Error: ")
    return shown, refused


def _query_of(answer: dict[str, Any]) -> str:
    return f"{answer['dst']} from {answer['from']}" if "from" in answer else str(answer["dst"])


def _is_stopped(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"


def _read_host(destinations: Iterable[str], neighbours: Iterable[str]) -> Place:
    rates = _RATES.glob("*") if _RATES.is_dir() else ()
    return replace(
        _read_place((), destinations),
        frames=_run("ebtables-save", "-c"),
        policed=_POLICY_MEMORY.exists(),
        forwards=[name for name, value in _read_sysctls("forwarding") if value == "1"],
        settings={f"{name}.route_localnet": value for name, value in _read_sysctls("route_localnet")},
        unread=[*_chains_of_nft(), *_chains_of_legacy()],
        rates={path.name: path.read_text(encoding="ascii") for path in rates},
        open=count_open_by_source(connections(_run("conntrack", "-L").splitlines())),
        owners=_find_owners(neighbours),
    )


def _find_owners(namespaces: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the namespaces of each address in use, with CIDR dev INTERFACE. Starts no process."""
    owners: dict[str, dict[str, str]] = {}
    for name in namespaces:
        try:
            with inside(name):
                trie = Path("/proc/thread-self/net/fib_trie").read_text(encoding="ascii")
                found = netlink.addresses()
        except OSError:
            continue
        in_use = set(_LOCAL.findall(trie))
        for address, length, interface in found:
            if address in in_use:
                owners.setdefault(address, {})[name] = f"{address}/{length} dev {interface}"
    return owners


def _read_sysctls(key: str) -> Iterator[tuple[str, str]]:
    """Yield a sysctl of each interface of the host, and of all."""
    for path in Path("/proc/sys/net/ipv4/conf").glob(f"*/{key}"):
        yield path.parent.name, path.read_text(encoding="ascii").strip()


def _chains_of_nft() -> list[str]:
    """Return the base chains that nft itself made (firewalld, libvirt): FAMILY TABLE CHAIN HOOK.

    Chains of iptables are excluded. Chains without rules change nothing, but are included: to detect them, every rule
    would have to be read.
    """
    listed = json.loads(_run("nft", "-j", "list", "chains") or '{"nftables": []}')["nftables"]
    chains = [item["chain"] for item in listed if "hook" in item.get("chain", {})]
    return [
        f"{chain['family']} {chain['table']} {chain['name']} {chain['hook']}"
        for chain in chains
        if chain["family"] in ("ip", "inet", "bridge", "netdev") and not _is_of_iptables(chain)
    ]


def _is_of_iptables(chain: dict[str, Any]) -> bool:
    is_builtin = chain["name"] == chain["hook"].upper()
    return is_builtin and chain["family"] in ("ip", "bridge") and chain["table"] in _TABLES_OF_IPTABLES


def _chains_of_legacy() -> list[str]:
    """Return the hooks where iptables-legacy (x_tables) has rules: the kernel applies those as well."""
    names = Path("/proc/net/ip_tables_names")
    if not names.exists() or not names.read_text(encoding="ascii").strip():
        return []
    saved = parse(_run("iptables-legacy-save", "-c"))
    changed = {(rule.table, rule.chain) for rule in saved.rules}
    changed |= {(table, chain) for table, chain, policy in saved.policies if policy not in ("ACCEPT", "-")}
    return [f"legacy {table} {chain} {chain.lower()}" for table, chain in sorted(changed) if chain in HOOKS]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout if done.returncode == 0 else ""
