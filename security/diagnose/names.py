"""Findings in name resolution: the files that a namespace's resolver reads, what names resolve to, and the registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

from lab.services import REGISTRY, Program, registered_name
from lab.topology import Node, Topology
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed
from security.diagnose.registry import check_registry

HOST = "host"
ETC = Path("/etc")
ZONE = ".lab"  # the registry's, services/service-registry/zone.py
_DNS_PORT = 53
_OPTIONS = {"timeout:1", "attempts:2"}  # scripts/lib/names.sh
_SECONDS = 1.2


def check_names(seen: Observed) -> Iterator[Finding]:
    """Yield what is wrong with name resolution, if the services are meant to run."""
    registry = dns_node(seen.topology)
    if not registry or not seen.services_are_meant_to_run:
        return
    namespaces = sorted({node.namespace for node in seen.topology.nodes})
    found = [finding for namespace in namespaces for finding in check_resolver(namespace, registry)]
    wanted = addresses_of_names(seen.topology, seen.programs)
    found += list(check_hosts(wanted, ETC / "hosts", HOST))
    for namespace in namespaces:
        found += list(check_hosts(wanted, ETC / "netns" / namespace / "hosts", namespace))
    found += list(check_switch(ETC / "nsswitch.conf", HOST))
    for namespace in namespaces:
        found += list(check_switch(ETC / "netns" / namespace / "nsswitch.conf", namespace))
    yield from found
    yield from _check_answers(seen, wanted, namespaces)
    yield from check_registry(seen, registry)


def dns_node(topology: Topology) -> Node | None:
    """Return the registry that answers DNS, None if the table has none."""
    for node in topology.nodes_running(REGISTRY):
        if any((one.port, one.protocol) == (_DNS_PORT, "udp") for one in node.listens):
            return node
    return None


def _lines(file: Path) -> list[list[str]] | None:
    """Return the words of each line of a file of /etc, without comments; None if there is no such file."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]


def check_resolver(namespace: str, registry: Node) -> Iterator[Finding]:
    """Yield whether a namespace asks another server than the registry, or asks it in another way."""
    file = ETC / "netns" / namespace / "resolv.conf"
    lines, own = _lines(file), [str(address.ip) for address in registry.addresses]
    wrong = ""
    if lines is None:
        wrong = "is missing, so the namespace uses the host's resolver"
    elif servers := [words[1] for words in lines if words[0] == "nameserver" and len(words) > 1]:
        if servers != own:
            wrong = f"has nameserver {', '.join(servers)}, not {' and '.join(own)} alone"
        elif others := [" ".join(words) for words in lines if words[0] not in ("nameserver", "options")]:
            wrong = f"has a line that the lab does not write: {others[0]}"
        elif (
            options := {word for words in lines if words[0] == "options" for word in words[1:]}
        ) != _OPTIONS:
            wrong = f"has options {' '.join(sorted(options)) or 'none'}, not {' '.join(sorted(_OPTIONS))}"
    else:
        wrong = "has no nameserver"
    if wrong:
        yield _resolver(
            file, namespace, wrong, f"cat {file}", ("sudo rm -f {file}; sudo scripts/services.sh up",)
        )


def _resolver(file: Path, place: str, wrong: str, command: str, repair: tuple[str, ...]) -> Finding:
    return Finding(
        kind=Kind.RESOLVER,
        object=str(file),
        place=place,
        cause=f"{file} {wrong}",
        breaks="look-ups of names in "
        + (place if place != HOST else "every namespace without a file of its own"),
        repair=tuple(one.format(file=file) for one in repair),
        evidence=(Evidence(command=command, line=wrong),),
    )


def check_switch(file: Path, place: str) -> Iterator[Finding]:
    """Yield whether the name service switch leaves DNS out; `ip netns exec` mounts a namespace's file over /etc."""
    lines = _lines(file)
    for words in lines or []:
        if words[0] == "hosts:" and "dns" not in words and "resolve" not in words:
            yield _resolver(
                file,
                place,
                f"does not ask DNS: {' '.join(words)}",
                f"grep hosts: {file}",
                ("sudo rm {file}",) if place != HOST else ("sudo sed -i '/^hosts:/s/$/ dns/' {file}",),
            )


def check_hosts(wanted: Mapping[str, set[str]], file: Path, place: str) -> Iterator[Finding]:
    """Yield each name of the lab that a hosts file gives another address than the table."""
    given: dict[str, set[str]] = defaultdict(set)
    for address, *names in _lines(file) or []:
        for name in names:
            if name in wanted and address not in ("127.0.0.1", "127.0.1.1", "::1"):
                given[name].add(address)
    for name, addresses in sorted(given.items()):
        if addresses == wanted[name]:
            continue
        yield Finding(
            kind=Kind.HOSTS_FILE,
            object=name,
            place=place,
            cause=f"{file} gives {name} the address {', '.join(sorted(addresses))}, not"
            f" {', '.join(sorted(wanted[name]))}",
            breaks=f"look-ups of {name} " + ("anywhere" if place == HOST else f"by `ip netns exec {place}`"),
            repair=(f"sudo sed -i '/{name}/d' {file}",),
            evidence=(Evidence(command=f"grep {name} {file}", line=f"{' '.join(sorted(addresses))} {name}"),),
        )


def addresses_of_names(topology: Topology, programs: dict[str, Program]) -> dict[str, set[str]]:
    """Return the addresses of each name that the registry answers, with the zone."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in topology.nodes:
        if node.runs:
            service = registered_name(node, programs)
            for name in (service, node.label, f"{node.label}.{service}"):
                found[f"{name}{ZONE}"].add(str(node.address.ip))
    return found


def _check_answers(
    seen: Observed, addresses: Mapping[str, set[str]], namespaces: list[str]
) -> Iterator[Finding]:
    """Yield each namespace in which the name with the most addresses does not resolve to all of them."""
    name = max(addresses, key=lambda one: len(addresses[one]))
    wanted = sorted(addresses[name], key=ip_address)
    with ThreadPoolExecutor(len(namespaces)) as pool:
        answers = list(pool.map(lambda namespace: _resolve(seen, namespace, name, wanted), namespaces))
    for answer in sorted({tuple(answer) for answer in answers if answer != wanted}):
        places = [place for place, got in zip(namespaces, answers, strict=True) if tuple(got) == answer]
        yield _unresolved(name, places, answer, wanted)


def _unresolved(name: str, namespaces: list[str], answer: tuple[str, ...], wanted: list[str]) -> Finding:
    return Finding(
        kind=Kind.NAME_UNRESOLVED,
        object=name,
        place=namespaces[0],
        cause=f"{name} resolves to {', '.join(answer) or 'nothing'}, in {', '.join(namespaces)}",
        breaks="programs that use the name there",
        repair=("repair the causes above first",),
        evidence=(
            Evidence(
                command=f"sudo ip netns exec {namespaces[0]} getent {_database(wanted)} {name}",
                line=f"{' '.join(answer) or 'no answer'}; wanted {' '.join(wanted)}",
            ),
        ),
    )


def _database(addresses: list[str]) -> str:
    """Return getent's name for the addresses of one family."""
    return f"ahostsv{ip_address(addresses[0]).version}"


def _resolve(seen: Observed, namespace: str, name: str, wanted: list[str]) -> list[str]:
    """Return the addresses of a name; ask again after a wrong answer, which may have been late."""
    addresses: list[str] = []
    for _ in range(2):
        printed = seen.run(
            "ip", "netns", "exec", namespace, "getent", _database(wanted), name, seconds=_SECONDS
        )
        addresses = sorted(
            {words[0] for line in printed.splitlines() if (words := line.split())}, key=ip_address
        )
        if addresses == wanted:
            break
    return addresses
