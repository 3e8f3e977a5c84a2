"""The state that decides what becomes of a packet, as the system tells it; as a file it can be asked later.

Host and namespaces: links and addresses, routes, neighbours, listeners, rules; of the host also whether it forwards,
what its rates have left, the state of its bridges, and which namespace has which address.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from lab import netlink
from lab.conntrack import connections
from lab.ruleset.iptables import Saved, parse
from security.proof.namespace import inside
from security.proof.tracked import open_by_source

HOST_PLACE = ""
DISCARDING = ("blackhole", "unreachable", "prohibit", "throw")
_RATES = Path("/proc/net/ipt_hashlimit")
_WORKERS = 8
_SHOW_LINES = ("addr show", "route show table main", "rule show", "neigh show")
_FAILED = re.compile(r"Command failed -:(\d+)")
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")
_TABLES_OF_IPTABLES = ("filter", "nat", "mangle", "raw", "security", "broute")


_POLICY_MEMORY = Path("/run/cnet/before-up.policy")  # of security/policy.sh, from `up` to `down`


@dataclass(frozen=True)
class Route:
    """A route: where to, by which interface, through whom; without a gateway it is direct.

    One that discards (blackhole, ...) has a type, and no interface.
    """

    network: IPv4Network
    interface: str
    gateway: str
    type: str = ""
    table: str = "main"

    def __str__(self) -> str:
        """Write it as `ip route` takes it."""
        to = "default" if self.network.prefixlen == 0 else str(self.network).removesuffix("/32")
        words = [self.type, to, f"via {self.gateway}" if self.gateway else ""]
        words += [f"dev {self.interface}" if self.interface else ""]
        words += [f"table {self.table}" if self.table != "main" else ""]
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class Listener:
    """A socket that takes what arrives."""

    protocol: str
    address: str
    port: int
    program: str

    def takes(self, protocol: str, address: str, port: int) -> bool:
        """Tell whether a packet to an address and port is for it."""
        at = self.address in (address, "0.0.0.0", "*", "[::]")  # noqa: S104 - what ss shows
        return at and (protocol, port) == (self.protocol, self.port)


@dataclass(frozen=True)
class Place:
    """One network namespace, in the words of ip(8), ss(8) and iptables-save(8)."""

    exists: bool = True
    links: list[dict[str, Any]] = field(default_factory=list)
    route_lines: list[dict[str, Any]] = field(default_factory=list)
    listener_lines: str = ""
    rules: str = ""
    frames: str = ""
    forwards: list[str] = field(default_factory=list)  # interfaces: what enters by them goes on
    unread: list[str] = field(default_factory=list)  # base chains of nft that iptables does not show
    rates: dict[str, str] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)  # connections tracked, by the address that opened them
    rule_lines: list[dict[str, Any]] = field(default_factory=list)  # of `ip rule`
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # of the kernel, to `ip route get ADDRESS`
    unanswered: dict[str, str] = field(default_factory=dict)  # addresses to which the kernel has no way: why
    stopped: list[int] = field(default_factory=list)  # processes that are stopped (SIGSTOP)
    settings: dict[str, str] = field(default_factory=dict)  # sysctls of the host
    policed: bool = False  # a policy was loaded and not taken down, whether its rules are there or not
    owners: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # by address: namespace, CIDR dev INTERFACE

    def link(self, name: str) -> dict[str, Any] | None:
        """Find an interface by its name."""
        return next((link for link in self.links if link.get("ifname") == name), None)

    def is_up(self, name: str) -> bool:
        """Tell whether an interface is there and switched on; whether it has a carrier is its peer's affair."""
        link = self.link(name)
        return link is not None and "UP" in link["flags"]

    def addresses(self) -> dict[str, str]:
        """Give each IPv4 address and its interface."""
        return {
            address["local"]: link["ifname"]
            for link in self.links
            for address in link.get("addr_info", ())
            if address.get("family") == "inet"
        }

    def cidr(self, address: str) -> str:
        """Write one of its addresses with its prefix length."""
        found = (item for link in self.links for item in link.get("addr_info", ()))
        return next(
            (f"{address}/{item['prefixlen']}" for item in found if item.get("local") == address), address
        )

    def has(self, address: str) -> bool:
        """Tell whether an address is this place's own."""
        return address in self.addresses() or IPv4Address(address).is_loopback

    def route(self, address: str, own: str = "") -> Route | None:
        """Find the way from an own address to another, as the kernel says; of a saved state, the longest prefix."""
        asked = f"{address} from {own}"
        if asked not in self.answers and not (own and self.has(own) and asked in self.unanswered):
            asked = address
        if asked in self.answers:
            return _answered(self.answers[asked])
        found = self.route_in_table(address)
        return None if asked in self.unanswered and not (found and found.type) else found

    def route_in_table(self, address: str) -> Route | None:
        """Find the longest prefix in table main, whose interface is up."""
        wanted = IPv4Address(address)
        routes = [route for route in map(_route, self.route_lines) if route and wanted in route.network]
        usable = [route for route in routes if route.type or self.is_up(route.interface)]
        return max(usable or routes, key=lambda route: route.network.prefixlen, default=None)

    def ways_out(self) -> list[str]:
        """Name the interfaces of the default routes."""
        return [line["dev"] for line in self.route_lines if line.get("dst") == "default" and "dev" in line]

    def policy_routing(self) -> list[str]:
        """Name each ip rule that somebody added."""
        return [
            " ".join(f"{key} {value}".strip() for key, value in line.items() if key != "flags")
            for line in self.rule_lines
            if line.get("table") not in ("local", "main", "default") or line.get("src") != "all"
        ]

    def neighbour(self, address: str) -> dict[str, Any] | None:
        """Give the entry of an address that has a MAC."""
        return next((each for each in self.neighbours if each["dst"] == address and "lladdr" in each), None)

    def listeners(self) -> list[Listener]:
        """Give what listens here."""
        return [_listener(line) for line in self.listener_lines.splitlines() if line.strip()]

    def saved(self) -> Saved:
        """Give the rules."""
        return parse(self.rules)


@dataclass(frozen=True)
class Snapshot:
    """The host and namespaces, by their names."""

    host: Place
    namespaces: dict[str, Place]

    def save(self, path: Path) -> None:
        """Write it; it has no secrets, but tells all of the network."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_snapshot(path: Path) -> Snapshot:
    """Read what save() wrote. Raises OSError, and ValueError when it is something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        namespaces = {name: Place(**place) for name, place in content["namespaces"].items()}
        return Snapshot(Place(**content["host"]), namespaces)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a state that explain has saved: {error}") from error


def take_snapshot(
    namespaces: Iterable[str], asked: Iterable[str] = (), neighbours: Iterable[str] = ()
) -> Snapshot:
    """Look at the host and at namespaces; needs root.

    Ask each for its way to what is `asked` (ADDRESS, or ADDRESS from OWN); look for addresses in the namespaces
    `neighbours`, too.
    """
    wanted, addresses, others = list(dict.fromkeys(namespaces)), list(dict.fromkeys(asked)), list(neighbours)
    with ThreadPoolExecutor(_WORKERS) as pool:
        host = pool.submit(_look_at_host, addresses, others)
        places = list(pool.map(lambda name: _look(name, addresses), wanted))
    return Snapshot(host.result(), dict(zip(wanted, places, strict=True)))


def _look(namespace: str, asked: Iterable[str]) -> Place:
    if namespace and not exists(namespace):
        return Place(exists=False)
    into = ("nsenter", f"--net=/run/netns/{namespace}", "--") if namespace else ()
    shown, refused = _ask_ip(into, asked)
    listeners = _run(*into, "ss", "-Hlntup")
    return Place(
        links=shown[0],
        route_lines=shown[1],
        rule_lines=shown[2],
        neighbours=shown[3],
        answers={_question(answer[0]): answer[0] for answer in shown[4:] if answer},
        unanswered=refused,
        listener_lines=listeners,
        rules=_run(*into, "iptables-save", "-c"),
        stopped=sorted(filter(_is_stopped, {int(pid) for pid in re.findall(r"pid=(\d+)", listeners)})),
    )


def exists(namespace: str) -> bool:
    """Tell whether a name is a network namespace; `ip netns add` that was killed leaves a file alone."""
    try:
        with inside(namespace):
            return True
    except OSError:
        return False


def _ask_ip(into: Iterable[str], asked: Iterable[str]) -> tuple[list[Any], dict[str, str]]:
    """Run one `ip` for all questions; what it cannot answer has no line of its own, but a word on stderr."""
    questions = [f"route get {address}" for address in asked]
    done = subprocess.run(
        [*into, "ip", "-j", "-d", "-force", "-batch", "-"],
        input="\n".join((*_SHOW_LINES, *questions)),
        capture_output=True,
        text=True,
        check=False,
    )
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    reasons, refused = "", {}
    for line in done.stderr.splitlines():
        if found := _FAILED.fullmatch(line):
            question = questions[int(found[1]) - 1 - len(_SHOW_LINES)]
            refused[question.removeprefix("route get ")] = reasons
        else:
            reasons = line.removeprefix("RTNETLINK answers: ").removeprefix("Error: ")
    return shown, refused


def _question(answer: dict[str, Any]) -> str:
    """Give what was asked of `ip route get`."""
    return f"{answer['dst']} from {answer['from']}" if "from" in answer else str(answer["dst"])


def _is_stopped(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"


def _addresses_in(namespaces: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Give each address in use, its namespace, and where that has it, without a process for each."""
    for name in namespaces:
        try:
            with inside(name):
                in_use = set(
                    _LOCAL.findall(Path("/proc/thread-self/net/fib_trie").read_text(encoding="ascii"))
                )
                found = netlink.addresses()
        except OSError:
            continue
        for address, length, interface in found:
            if address in in_use:
                yield address, name, f"{address}/{length} dev {interface}"


def _look_at_host(asked: Iterable[str], neighbours: Iterable[str]) -> Place:
    place = _look(HOST_PLACE, asked)
    rates = (
        {path.name: path.read_text(encoding="ascii") for path in _RATES.glob("*")} if _RATES.is_dir() else {}
    )
    owners: dict[str, dict[str, str]] = {}
    for address, name, where in _addresses_in(neighbours):
        owners.setdefault(address, {})[name] = where
    return replace(
        place,
        frames=_run("ebtables-save", "-c"),
        policed=_POLICY_MEMORY.exists(),
        forwards=[name for name, value in _settings("forwarding") if value == "1"],
        unread=[*_chains_of_nft(), *_rules_of_legacy()],
        rates=rates,
        open=open_by_source(connections(_run("conntrack", "-L").splitlines())),
        settings={f"{name}.route_localnet": value for name, value in _settings("route_localnet")},
        owners=owners,
    )


def _settings(key: str) -> Iterator[tuple[str, str]]:
    """Give a sysctl of each interface of the host, and of all."""
    for path in Path("/proc/sys/net/ipv4/conf").glob(f"*/{key}"):
        yield path.parent.name, path.read_text(encoding="ascii").strip()


def _chains_of_nft() -> list[str]:
    """Name what nft itself made (firewalld, libvirt), with its hook: FAMILY TABLE CHAIN HOOK.

    iptables keeps its own in tables of its names, and shows no other chain there. A chain that has no rule and
    lets all pass changes nothing, but finding that out would cost reading every rule.
    """
    listed = json.loads(_run("nft", "-j", "list", "chains") or '{"nftables": []}')["nftables"]
    chains = [item["chain"] for item in listed if "hook" in item.get("chain", {})]
    return [
        f"{chain['family']} {chain['table']} {chain['name']} {chain['hook']}"
        for chain in chains
        if chain["family"] in ("ip", "inet", "bridge", "netdev") and not _is_of_iptables(chain)
    ]


def _is_of_iptables(chain: dict[str, Any]) -> bool:
    built_in = chain["name"] == chain["hook"].upper()
    return built_in and chain["family"] in ("ip", "bridge") and chain["table"] in _TABLES_OF_IPTABLES


def _rules_of_legacy() -> list[str]:
    """Name the hooks with rules of the other iptables (x_tables), which are asked as well."""
    names = Path("/proc/net/ip_tables_names")
    if not names.exists() or not names.read_text(encoding="ascii").strip():
        return []
    saved = parse(_run("iptables-legacy-save", "-c"))
    changed = {(rule.table, rule.chain) for rule in saved.rules}
    changed |= {(table, chain) for table, chain, policy in saved.policies if policy not in ("ACCEPT", "-")}
    hooks = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    return [f"legacy {table} {chain} {chain.lower()}" for table, chain in sorted(changed) if chain in hooks]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout if done.returncode == 0 else ""


def _route(line: dict[str, Any]) -> Route | None:
    kind = line.get("type", "")
    if "dev" not in line and kind not in DISCARDING:
        return None
    destination = "0.0.0.0/0" if line["dst"] == "default" else line["dst"]
    network = IPv4Network(destination, strict=False)
    discarding = kind if kind in DISCARDING else ""
    return Route(network, line.get("dev", ""), line.get("gateway", ""), discarding)


def _answered(line: dict[str, Any]) -> Route:
    table = str(line.get("table", "main"))
    return Route(IPv4Network(line["dst"]), line.get("dev", ""), line.get("gateway", ""), table=table)


def _listener(line: str) -> Listener:
    words = line.split(maxsplit=6)
    address, _, port = words[4].rpartition(":")
    program = words[6].split('"')[1] if len(words) > 6 and '"' in words[6] else "a program"  # noqa: PLR2004 - ss
    return Listener(words[0], address.partition("%")[0], int(port), program)
