"""The scene on the page, computed from the watchers' data."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Network, ip_address

from lab.topology import Topology
from lab.unread import Unread
from monitoring.dashboard.logs import BalanceWatcher, Story
from monitoring.dashboard.watchers import (
    Drop,
    DropWatcher,
    HealthWatcher,
    PacketWatcher,
    TableWatcher,
    Watcher,
)
from monitoring.dashboard.window import KEPT_SECONDS, Pair, Window
from monitoring.health.checks import SHOP, Check
from monitoring.names import HOST, Names
from monitoring.traffic.decoder import Decoder
from monitoring.traffic.packets import AddressBook

WORLD = "world"
_COLUMNS = {"nginx": 1, "api-gateway": 2, "service-registry": 2, "product-service": 3, "order-service": 3,
            "redis": 4, "postgres": 4}  # fmt: skip
_BESIDE = 2  # the column of nodes that run no service of the lab
SETTLE_SECONDS = 1  # tcpdump hands over the packets of a second up to a second later
_ON_LINK = (IPv6Network("fe80::/10"), IPv6Network("::/128"))  # link-local, unspecified (RFC 4291)
_MEASURES = ("packets", "bytes", "opened")  # figures of a link during the window


@dataclass(frozen=True)
class Place:
    """A service, the host or the world."""

    name: str
    column: int
    row: float  # 0 is the middle
    check: Check | None  # None: not checked
    packets_per_second: float

    @property
    def state(self) -> str:
        """Return the state of health; "" if it is not checked."""
        return self.check.state if self.check else ""


@dataclass(frozen=True)
class Way:
    """Traffic of two places; `source` is left of the other. Traffic of the registry and of the host is `control`."""

    source: str
    destination: str
    control: bool
    packets_per_second: float
    bytes_per_second: float
    opened_per_second: float


@dataclass(frozen=True)
class Blocked:
    """Packets from one place to another that the policy dropped."""

    source: str
    destination: str
    policy_id: str
    packets: int


@dataclass(frozen=True)
class Scene:
    """The content of the page."""

    places: tuple[Place, ...]
    ways: tuple[Way, ...]
    blocked: tuple[Blocked, ...]
    drops: tuple[Drop, ...]  # the latest first, addresses named
    balance: Counter[str]
    shop: Check | None  # None: not checked yet, or no port is published
    troubles: tuple[str, ...]


class Model:
    """Collects the watchers' data of a lab, and computes scenes."""

    def __init__(self, topology: Topology) -> None:
        self.topology, self._started = topology, time.monotonic()
        self._names = Names(topology)
        self._columns, self._rows = positions(topology)
        book = AddressBook()
        self._window, self._drops = Window(book), DropWatcher()
        self.story, self._balance = Story(topology), BalanceWatcher(topology)
        self.health = HealthWatcher(topology, self.story.add_checks)
        packets = PacketWatcher(self._window, Decoder(book, Unread()))
        self._watchers: list[Watcher] = [
            TableWatcher(), self._drops, self.health, self._balance, packets, *self.story.watchers,
        ]  # fmt: skip
        self._instances = [node.name for node in topology.nodes_running("product-service")]

    def start(self) -> None:
        """Start all watchers."""
        for watcher in self._watchers:
            watcher.start()

    def place_of(self, address: str) -> str:
        """Return the place that has an address; "" for none (broadcast, an unused address of the lab)."""
        if not address:
            return ""
        name = self._names.of(address)
        if name != address:
            return name
        parsed = ip_address(address)
        own = [address.network for bridge in self.topology.bridges for address in bridge.addresses]
        is_on_link = parsed.is_multicast or any(parsed in network for network in (*own, *_ON_LINK))
        return "" if is_on_link else WORLD

    def scene(self, seconds: int) -> Scene:
        """Return the scene of the last seconds, without the current, unfinished one."""
        end = int(time.time())  # noqa: TID251  packets and drops have the time of day
        begin = end - seconds
        watched = int(time.monotonic() - self._started)
        seconds = max(min(seconds, watched), 1)
        ways = self._ways(begin - SETTLE_SECONDS, end - SETTLE_SECONDS)
        packets: Counter[str] = Counter()
        for (source, destination), count in ways.items():
            packets[source] += count["packets"]
            packets[destination] += count["packets"]
        named = tuple(
            Way(*pair, self._names.are_checking(*pair), *(ways[pair][name] / seconds for name in _MEASURES))
            for pair in sorted(ways)
        )
        places = tuple(
            Place(name, column, self._rows[name], self.health.last.get(name), packets[name] / seconds)
            for name, column in self._columns.items()
        )
        return Scene(
            places, named, self._blocked(begin, end + 1), self._recent_drops(begin),
            self._balance_between(begin, end), self.health.last.get(SHOP),
            tuple(dict.fromkeys(watcher.trouble for watcher in self._watchers if watcher.trouble)),
        )  # fmt: skip

    def _balance_between(self, begin: int, end: int) -> Counter[str]:
        """Return the requests of each instance, 0 for one without a request."""
        counts = Counter(dict.fromkeys(self._instances, 0))
        counts.update(self._balance.counts.between(begin, end))
        return counts

    def _ways(self, begin: int, end: int) -> dict[tuple[str, str], Counter[str]]:
        ways: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for name in _MEASURES:
            for addresses, count in getattr(self._window, name).between(begin, end).items():
                source, destination = map(self.place_of, addresses)
                if source and destination and source != destination:
                    ways[self.from_left(source, destination)][name] += count
        return ways

    def from_left(self, one: str, other: str) -> tuple[str, str]:
        """Return two places in their order on the map."""
        order = list(self._columns)
        return (one, other) if order.index(one) <= order.index(other) else (other, one)

    def _blocked(self, begin: int, end: int) -> tuple[Blocked, ...]:
        blocked: Counter[tuple[str, str, str]] = Counter()
        for (source, destination, policy_id), count in self._drops.counts.between(begin, end).items():
            blocked[self.place_of(source), self.place_of(destination), policy_id] += count
        return tuple(
            Blocked(*key, count)
            for key, count in blocked.most_common()
            if key[0] and key[1] and key[0] != key[1]
        )

    def _recent_drops(self, begin: int) -> tuple[Drop, ...]:
        return tuple(
            replace(
                drop,
                source=self.place_of(drop.source) or drop.source,
                destination=self.place_of(drop.destination) or drop.destination,
            )
            for drop in reversed(list(self._drops.drops))
            if drop.time >= begin
        )

    def history(self, pair: tuple[str, str] | None) -> list[tuple[int, int]]:
        """Return (second, packets) of each kept second since the start, of a pair or of all."""
        end = int(time.time()) - SETTLE_SECONDS  # noqa: TID251  packets and drops have the time of day
        watched = int(time.monotonic() - self._started)
        begin = end - min(KEPT_SECONDS, max(watched - SETTLE_SECONDS, 0))
        by_second = self._window.packets.by_second(begin, end)
        return [(second, self._sum(by_second.get(second, {}), pair)) for second in range(begin, end)]

    def rates(self, pair: tuple[str, str], seconds: int) -> list[float]:
        """Return packets, bytes and new connections a second of a pair, over the last seconds."""
        end = int(time.time()) - SETTLE_SECONDS  # noqa: TID251  packets and drops have the time of day
        over = max(min(seconds, int(time.monotonic() - self._started)), 1)
        windows = (getattr(self._window, name) for name in _MEASURES)
        return [self._sum(window.between(end - over, end), pair) / over for window in windows]

    def _sum(self, counts: Mapping[Pair, int], pair: tuple[str, str] | None) -> int:
        return sum(
            count
            for (source, destination), count in counts.items()
            if pair is None or {self.place_of(source), self.place_of(destination)} == set(pair)
        )


def positions(topology: Topology) -> tuple[dict[str, int], dict[str, float]]:
    """Return the column and the row of each place, from nginx on the left to the stores on the right."""
    columns = {WORLD: 0, HOST: 0}
    columns |= {node.name: _COLUMNS.get(node.runs or "", _BESIDE) for node in topology.nodes}
    columns = dict(sorted(columns.items(), key=lambda item: item[1]))
    registries = {node.name for node in topology.nodes_running("service-registry")}
    members: defaultdict[int, list[str]] = defaultdict(list)
    for name, column in columns.items():
        if name not in registries:
            members[column].append(name)
    rows = {name: at - (len(names) - 1) / 2 for names in members.values() for at, name in enumerate(names)}
    below = max(rows.values()) + 0.6  # all services use the registry
    return columns, rows | {name: below + number for number, name in enumerate(sorted(registries))}
