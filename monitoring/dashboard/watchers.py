"""Threads that watch the lab: packets on its links, drops of the policy, health, the table."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

from lab.topology import Topology, table_path
from lab.unread import Unread
from monitoring.dashboard import shells
from monitoring.dashboard.window import KEPT_SECONDS, Seconds, Window
from monitoring.health.checks import SHOP, Check, check_all, targets
from monitoring.health.history import History, add_checks
from monitoring.traffic import frames, pcap
from monitoring.traffic.decoder import Decoder
from monitoring.traffic.packets import IPV4, IPV6, TCP, UDP, protocol_name
from security.policy.drops import LOG_PREFIX, NFLOG_GROUP
from security.proof.nflog import DropLog, LoggedPacket

_CAPTURE = Path(__file__).resolve().parents[1] / "capture.sh"
_SNAPLEN, _BUFFER = "128", "16384"  # bytes of a frame; KiB
_AGAIN_SECONDS, _HEALTH_SECONDS, _TABLE_SECONDS = 1.0, 1.0, 2.0
_HEALTH_TIMEOUT = 1.0
_SHOP_ROUNDS = 5  # check the shop in each fifth round only: these requests appear on the map
_MAX_DROPS, _DROPS_AT_ONCE = 500, 2000
# Of an IP header: where its protocol is, where the source address begins, and the bytes of an address (RFC 791, 8200).
_HEADERS = {IPV4: (9, 12, 4), IPV6: (6, 8, 16)}
_PORTS = 4  # bytes
_PIECE = 1 << 16  # bytes per read of the pipe
_log = logging.getLogger("dashboard")


class Watcher(threading.Thread):
    """A thread that watches for ever; after an error it sets `trouble` and tries again."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name=type(self).__name__)
        self.trouble = ""

    def run(self) -> None:
        """Call watch() repeatedly."""
        while True:
            try:
                self.watch()
            except Exception as error:
                self.trouble = str(error) or type(error).__name__
                _log.warning("%s: %s", self.name, self.trouble)
            time.sleep(_AGAIN_SECONDS)

    def watch(self) -> None:
        """Watch until there is nothing more to read, or raise an error."""
        raise NotImplementedError


class PacketWatcher(Watcher):
    """Counts the packets that tcpdump captures on the lab's links."""

    def __init__(self, window: Window, decoder: Decoder) -> None:
        super().__init__()
        self._window, self._decoder = window, decoder

    def watch(self) -> None:
        """Read tcpdump until it ends."""
        links = subprocess.run([_CAPTURE, "filter"], capture_output=True, text=True, check=False)
        if links.returncode:
            raise OSError((links.stderr.strip().splitlines() or ["there is no lab"])[-1])
        options = ["-i", "any", "-nn", "-s", _SNAPLEN, "-B", _BUFFER, "-U", "-w", "-", links.stdout.strip()]
        command = ["tcpdump", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            atexit.register(process.terminate)  # after SIGKILL, tcpdump ends at its next packet (broken pipe)
            pipe: BinaryIO = process.stdout  # type: ignore[assignment] # it is a pipe
            pieces = iter(
                partial(os.read, pipe.fileno(), _PIECE), b""
            )  # os.read returns available bytes at once
            begin = frames.first_bytes(pieces, pcap.FILE_HEADER)
            if len(begin) < pcap.FILE_HEADER:
                raise OSError("tcpdump ended at once; to see why: sudo monitoring/capture.sh run 1")
            self.trouble = ""
            for batch in pcap.read(itertools.chain([begin], pieces), Unread()):
                if len(batch.at):
                    self._window.add(self._decoder.decode(batch))


@dataclass(frozen=True)
class Drop:
    """A packet that the policy dropped; addresses as in the packet, empty if it has none."""

    time: float
    policy_id: str
    source: str
    destination: str
    protocol: str
    port: int

    @property
    def what(self) -> str:
        """Return the protocol and, if it has one, the port: "tcp/80"."""
        return f"{self.protocol}/{self.port}" if self.port else self.protocol


class DropWatcher(Watcher):
    """Listens to the policy's drop chains (NFLOG)."""

    def __init__(self) -> None:
        super().__init__()
        self.drops: deque[Drop] = deque(maxlen=_MAX_DROPS)
        self.counts = Seconds[tuple[str, str, str]]()  # source, destination, policy id

    def watch(self) -> None:
        """Listen for ever."""
        with closing(DropLog(NFLOG_GROUP)) as log:
            self.trouble = ""
            while True:
                select.select([log.socket], [], [], _AGAIN_SECONDS)
                self._note(log.read())

    def _note(self, logged: Iterator[LoggedPacket]) -> None:
        now = time.time()  # noqa: TID251  the time of day, as packets have it
        counts: Counter[tuple[str, str, str]] = Counter()
        for number, packet in enumerate(logged):
            drop = _drop_of(packet, now)
            counts[drop.source, drop.destination, drop.policy_id] += 1
            if number < _DROPS_AT_ONCE:
                self.drops.append(drop)
        if counts:
            self.counts.add(int(now), counts)


def _drop_of(logged: LoggedPacket, now: float) -> Drop:
    policy_id = logged.prefix.removeprefix(LOG_PREFIX).strip()
    packet = logged.payload
    protocol_at, first, size = _HEADERS.get(logged.ethertype, (0, 0, 0))
    header = first + 2 * size
    if not header or len(packet) < header:
        return Drop(now, policy_id, "", "", protocol_name(logged.ethertype), 0)
    source, destination = (str(ip_address(packet[at : at + size])) for at in (first, first + size))
    protocol, port = packet[protocol_at], 0
    begin = (packet[0] & 15) * 4 if logged.ethertype == IPV4 else header
    if protocol in (TCP, UDP) and len(packet) >= begin + _PORTS:
        port = int.from_bytes(packet[begin + 2 : begin + 4], "big")
    return Drop(now, policy_id, source, destination, protocol_name(protocol).lower(), port)


class HealthWatcher(Watcher):
    """Checks every service each second, and the shop every fifth second; gives the checks to `use` too."""

    def __init__(self, topology: Topology, use: Callable[[Sequence[Check]], None]) -> None:
        super().__init__()
        self._use = use
        self._targets = targets(topology)
        kept = KEPT_SECONDS // int(_HEALTH_SECONDS)
        self.histories = {target.node: History(deque(maxlen=kept)) for target in self._targets}
        self.last: dict[str, Check] = {}

    def checks_of(self, name: str) -> list[Check]:
        """Return the kept checks of a service, none if it is not checked."""
        return list(self.histories[name].checks) if name in self.histories else []

    def watch(self) -> None:
        """Check for ever."""
        for round_number in itertools.count():
            begin = time.monotonic()
            with_shop = round_number % _SHOP_ROUNDS == 0
            asked = [target for target in self._targets if target.node != SHOP or with_shop]
            checks = check_all(asked, _HEALTH_TIMEOUT)
            add_checks(self.histories, checks)
            self.last = self.last | {check.node: check for check in checks}
            self._use(checks)
            time.sleep(max(_HEALTH_SECONDS - (time.monotonic() - begin), 0))


class TableWatcher(Watcher):
    """Ends this process when the lab gets another table (scaled, moved to tiers); gunicorn starts a new one.

    It waits while a terminal is open, which would end too: the command that changes the lab may run in it.
    """

    def watch(self) -> None:
        """Compare the table until it changes."""
        begun_with = _table()
        while _table() == begun_with:
            time.sleep(_TABLE_SECONDS)
        while shells.are_open():
            self.trouble = "the lab has another table now; the map shows it when the terminals are closed"
            time.sleep(_TABLE_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)


def _table() -> tuple[Path, float]:
    path = table_path()
    return path, path.stat().st_mtime
