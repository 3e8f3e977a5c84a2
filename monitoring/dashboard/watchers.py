"""Threads that look at the lab all the time: its wires, the policy's drops, health, the gateway's log."""

from __future__ import annotations

import itertools
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.topology import Topology, table_path
from lab.unread import Unread
from monitoring import gateway_log
from monitoring.dashboard.window import KEPT_SECONDS, Window
from monitoring.distribution import log_of_gateway, to_products
from monitoring.health.checks import SHOP, Check, check_all, targets
from monitoring.health.history import Histories
from monitoring.traffic import pcap, records
from monitoring.traffic.decoder import Decoder
from monitoring.traffic.packets import IPV4, TCP, UDP, AddressBook, protocol_name
from monitoring.traffic.pcap import Pcap
from security.policy.compiler import LOG_PREFIX, NFLOG_GROUP
from security.proof.nflog import DropLog, GroupTakenError, Logged

_CAPTURE = Path(__file__).resolve().parents[1] / "capture.sh"
_SNAPLEN, _BUFFER = "128", "16384"  # bytes of a frame; KiB
_AGAIN_SECONDS, _HEALTH_SECONDS, _LOG_SECONDS, _TABLE_SECONDS = 1.0, 1.0, 0.5, 2.0
_HEALTH_TIMEOUT = 1.0
_SHOP_ROUNDS = 5  # the shop is asked in each fifth: the map is to show customers' requests
_MOST_DROPS, _DROPS_AT_ONCE = 500, 2000
_HEADER, _PORTS = 20, 4
_log = logging.getLogger("dashboard")


class Watcher(threading.Thread):
    """A thread that looks until it is told to stop; what goes wrong is said, and it looks again."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name=type(self).__name__)
        self.stopping = threading.Event()
        self.trouble = ""

    def run(self) -> None:
        """Look."""
        while not self.stopping.is_set():
            try:
                self.look()
            except Exception as error:
                self.trouble = str(error) or type(error).__name__
                _log.warning("%s: %s", self.name, self.trouble)
            self.stopping.wait(_AGAIN_SECONDS)

    def look(self) -> None:
        """Look, for as long as it goes well."""
        raise NotImplementedError

    def stop(self) -> None:
        """End soon."""
        self.stopping.set()


class _Pipe:
    """A pipe that gives what is there."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int, /) -> bytes:
        return os.read(self._descriptor, min(size, 1 << 16))


class PacketWatcher(Watcher):
    """Counts what tcpdump sees on the lab's wires."""

    def __init__(self, window: Window, decoder: Decoder) -> None:
        super().__init__()
        self._window, self._decoder = window, decoder
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Read tcpdump until it ends."""
        wires = subprocess.run([_CAPTURE, "filter"], capture_output=True, text=True, check=False)
        if wires.returncode:
            raise OSError((wires.stderr.strip().splitlines() or ["there is no lab"])[-1])
        options = ["-i", "any", "-nn", "-s", _SNAPLEN, "-B", _BUFFER, "-U", "-w", "-", wires.stdout.strip()]
        with subprocess.Popen(
            ["tcpdump", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            self._process = process
            pipe = _Pipe(process.stdout.fileno())  # type: ignore[union-attr] # it is a pipe
            header = records.exactly(pipe, pcap.FILE_HEADER)
            if len(header) < pcap.FILE_HEADER:
                raise OSError("tcpdump ended at once: sudo monitoring/capture.sh run 1 says why")
            self.trouble = ""
            for frames in records.read(pipe, b"", len(header), Pcap(header), Unread()):
                if len(frames.at):
                    self._window.add(self._decoder.decode(frames))
                if self.stopping.is_set():
                    break
            process.terminate()

    def stop(self) -> None:
        """End, and tcpdump with it."""
        super().stop()
        if self._process and self._process.poll() is None:
            self._process.terminate()


@dataclass(frozen=True)
class Drop:
    """A packet that the policy dropped; addresses as they were, empty where it has none."""

    time: float
    policy_id: str
    source: str
    destination: str
    protocol: str
    port: int


class DropWatcher(Watcher):
    """Listens to the policy's drop chains (NFLOG)."""

    def __init__(self) -> None:
        super().__init__()
        self.drops: deque[Drop] = deque(maxlen=_MOST_DROPS)
        self.seconds: dict[int, Counter[tuple[str, str, str]]] = {}  # source, destination, policy id

    def look(self) -> None:
        """Listen until told to stop."""
        try:
            log = DropLog(NFLOG_GROUP)
        except GroupTakenError as occupied:
            raise OSError(str(occupied)) from None
        try:
            self.trouble = ""
            while not self.stopping.is_set():
                select.select([log.socket], [], [], _AGAIN_SECONDS)
                self._note(log.read())
        finally:
            log.close()

    def _note(self, logged: Iterator[Logged]) -> None:
        now = time.time()  # noqa: TID251  the time of day, as packets have it
        counts = self.seconds.setdefault(int(now), Counter())
        for number, each in enumerate(logged):
            drop = _drop_of(each, now)
            counts[drop.source, drop.destination, drop.policy_id] += 1
            if number < _DROPS_AT_ONCE:
                self.drops.append(drop)
        for old in [second for second in self.seconds if second < now - KEPT_SECONDS]:
            del self.seconds[old]

    def between(self, begin: int, end: int) -> Counter[tuple[str, str, str]]:
        """Sum the seconds from `begin` up to `end`."""
        found: Counter[tuple[str, str, str]] = Counter()
        for second, counts in list(self.seconds.items()):
            if begin <= second < end:
                found.update(counts)
        return found


def _drop_of(logged: Logged, now: float) -> Drop:
    policy_id = logged.prefix.removeprefix(LOG_PREFIX).strip()
    packet = logged.payload
    if logged.ethertype != IPV4 or len(packet) < _HEADER:
        return Drop(now, policy_id, "", "", protocol_name(logged.ethertype), 0)
    source, destination = (".".join(map(str, packet[at : at + 4])) for at in (12, 16))
    begin, port = (packet[0] & 15) * 4, 0
    if packet[9] in (TCP, UDP) and len(packet) >= begin + _PORTS:
        port = int.from_bytes(packet[begin + 2 : begin + 4], "big")
    return Drop(now, policy_id, source, destination, protocol_name(packet[9]).lower(), port)


class HealthWatcher(Watcher):
    """Asks every service each second, and the shop now and then."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self._targets = targets(topology)
        self.histories = Histories()
        self.last: dict[str, Check] = {}

    def look(self) -> None:
        """Ask until told to stop."""
        for round_number in itertools.count():
            if self.stopping.is_set():
                break
            begin = time.monotonic()
            asked = [each for each in self._targets if each.node != SHOP or round_number % _SHOP_ROUNDS == 0]
            checks = check_all(asked, _HEALTH_TIMEOUT)
            self.histories.note(checks)
            self.last = self.last | {check.node: check for check in checks}
            self.stopping.wait(max(_HEALTH_SECONDS - (time.monotonic() - begin), 0))


class BalanceWatcher(Watcher):
    """Follows the gateway's log: which instance answered how many requests."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self._path = log_of_gateway(topology)
        self._rest, self._unread = b"", Unread()
        self.seconds: dict[int, Counter[str]] = {}

    def look(self) -> None:
        """Follow the file until it is another one (rotated) or told to stop."""
        with self._path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            self.trouble = ""
            while not self.stopping.wait(_LOG_SECONDS) and _is_still(self._path, log.fileno()):
                self._note(log.read())

    def _note(self, data: bytes) -> None:
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        routed, _ = gateway_log.read(whole.decode("utf-8", "replace").splitlines(), self._unread)
        for request in to_products(routed):
            self.seconds.setdefault(int(request.time), Counter())[request.instance] += 1
        oldest = time.time() - KEPT_SECONDS  # noqa: TID251  the log has the time of day
        for old in [second for second in self.seconds if second < oldest]:
            del self.seconds[old]

    def between(self, begin: int, end: int) -> Counter[str]:
        """Sum the seconds from `begin` up to `end`."""
        found: Counter[str] = Counter()
        for second, counts in list(self.seconds.items()):
            if begin <= second < end:
                found.update(counts)
        return found


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class TableWatcher(Watcher):
    """Ends this process when the lab runs by another table (scaled, moved to tiers): a new one begins with that."""

    def look(self) -> None:
        """Look until it changes or told to stop."""
        begun_with = _table()
        while not self.stopping.wait(_TABLE_SECONDS):
            if _table() != begun_with:
                os.kill(os.getpid(), signal.SIGTERM)
                return


def _table() -> tuple[Path, float]:
    path = table_path()
    return path, path.stat().st_mtime


class Watch:
    """All watchers of one lab."""

    def __init__(self, topology: Topology) -> None:
        self.topology, self.started = topology, time.monotonic()
        book = AddressBook()
        self.window = Window(book)
        self.drops, self.health, self.balance = (
            DropWatcher(),
            HealthWatcher(topology),
            BalanceWatcher(topology),
        )
        packets = PacketWatcher(self.window, Decoder(book, Unread()))
        self._watchers: list[Watcher] = [TableWatcher(), self.drops, self.health, self.balance, packets]

    def start(self) -> None:
        """Begin."""
        for watcher in self._watchers:
            watcher.start()

    def stop(self) -> None:
        """End."""
        for watcher in self._watchers:
            watcher.stop()

    def troubles(self) -> list[str]:
        """Say what cannot be seen, and why."""
        return [watcher.trouble for watcher in self._watchers if watcher.trouble]
