"""A constant load for minutes: check that no process of the lab keeps growing.

    python -m faults.chaos.soak --url URL --minutes N --per-second N --reports FOLDER --supervisor PID NODE=NAMESPACE...

Every 5 s it samples each process' memory and descriptors (soak.csv, soak.png). Exits with 1 when a request failed,
a process ended or a process grew. Memory is PSS (proc_pid_smaps(5)): of pages that processes share, each has its part.
"""

import argparse
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import gevent

from faults.chaos import soak_picture
from faults.chaos.growth import MIN_MINUTES, WARM_UP_SECONDS, growth_of
from faults.chaos.load import Load
from lab.csv_files import write_rows

SHARES = {"get": 0.85, "order": 0.1, "read": 0.05}  # of the requests
EVERY_SECONDS, SHOWN_EVERY = 5.0, 6
# A process that does not grow stays below 0.1 MB a minute here; the leak that this check was made for had 0.35.
MAX_MB = 0.15  # a minute: fills a limit of 128 MB in 14 hours
MAX_DESCRIPTORS = 0.5  # a minute: a pool of connections that grows once by a few is no leak


@dataclass
class Series:
    """A process over time: seconds since the begin, PSS in MB, descriptors."""

    node: str
    name: str
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Return the node and the name of the process."""
        return f"{self.node}: {self.name}"

    def faults(self, end: float) -> list[str]:
        """Return its problems, one sentence each; the last sample was made at `end`."""
        found = []
        if self.seconds[-1] < end and not self.name.startswith(
            "postgres:"
        ):  # a server process for a client ends with its connection
            found.append(f"{self.title} ended after {self.seconds[-1]:.0f} s")
        for values, most, unit in (
            (self.megabytes, MAX_MB, "MB"),
            (self.descriptors, MAX_DESCRIPTORS, "descriptors"),
        ):
            growth = growth_of(self.seconds, values)
            if growth is not None and growth > most:
                found.append(f"{self.title} grows by {growth:.2f} {unit} a minute; {most} are allowed")
        return found


class Sampler:
    """Reads all processes of the nodes' namespaces, and the supervisor."""

    def __init__(self, namespaces: dict[str, str], supervisor: int) -> None:
        self._namespaces = namespaces
        self._supervisor = supervisor
        self._series: dict[int, Series] = {}

    @property
    def series(self) -> list[Series]:
        """Return all processes that were seen, node by node."""
        nodes = ["host", *self._namespaces]
        return sorted(self._series.values(), key=lambda one: nodes.index(one.node))

    def sample(self, second: float) -> None:
        """Read each process once."""
        nodes = {self._supervisor: "host"}
        for node, namespace in self._namespaces.items():
            command = ["ip", "netns", "pids", namespace]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            nodes |= {int(pid): node for pid in listed.split() if int(pid) not in nodes}
        for pid, node in nodes.items():
            with suppress(OSError):  # it ended meanwhile
                self._read(Path("/proc", str(pid)), pid, node, second)

    def _read(self, process: Path, pid: int, node: str, second: float) -> None:
        lines = (process / "smaps_rollup").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        descriptors = len(list((process / "fd").iterdir()))
        one = self._series.setdefault(pid, Series(node, f"{name_of(process)} {pid}"))
        one.seconds.append(second)
        one.megabytes.append(kilobytes / 1024)
        one.descriptors.append(descriptors)


def name_of(process: Path) -> str:
    """Return a short name: PostgreSQL's own title, a Python program's module or file, else the program."""
    words = (process / "cmdline").read_text().replace("\0", " ").split()
    if words and words[0] == "postgres:":
        return " ".join(words[:3])
    if words and Path(words[0]).name.startswith("python"):
        words = words[2:] if words[1:2] == ["-m"] else words[1:]
    return Path(words[0]).name if words else (process / "comm").read_text().strip()


def run_load(load: Load, sampler: Sampler, per_second: float, seconds: float) -> float:
    """Send requests and sample until the time is over; return when the last sample was made."""
    works = {"get": load.get, "order": load.order, "read": load.read}
    sent = [gevent.spawn(load.run, work, per_second * SHARES[kind], seconds) for kind, work in works.items()]
    begin, second = time.monotonic(), 0.0
    for number in range(int(seconds / EVERY_SECONDS) + 1):
        gevent.sleep(max(0.0, begin + number * EVERY_SECONDS - time.monotonic()))
        second = time.monotonic() - begin
        sampler.sample(second)
        if number % SHOWN_EVERY == 0:
            memory = sum(one.megabytes[-1] for one in sampler.series if one.seconds[-1] == second)
            print(
                f"{second:5.0f} s  {load.requests:6} requests, {load.failures} failed; {memory:.0f} MB",
                flush=True,
            )
    gevent.joinall(sent)
    return second


def write_csv(series: Sequence[Series], path: Path) -> None:
    """Write each sample as a line."""
    rows = (
        (round(second, 1), one.node, one.name, round(megabytes, 3), descriptors)
        for one in series
        for second, megabytes, descriptors in zip(one.seconds, one.megabytes, one.descriptors, strict=True)
    )
    write_rows(path, ("second", "node", "process", "pss_mb", "descriptors"), rows)


def main() -> None:
    """Run, write the reports, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--per-second", type=float, required=True, metavar="REQUESTS")
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--supervisor", type=int, required=True, metavar="PID")
    parser.add_argument("nodes", nargs="+", metavar="NODE=NAMESPACE")
    options = parser.parse_args()
    sampler = Sampler(dict(node.split("=", 1) for node in options.nodes), options.supervisor)
    with (options.reports / "soak_samples.csv").open("w") as out:
        load = Load(options.url, out)
        end = run_load(load, sampler, options.per_second, options.minutes * 60)
    write_csv(sampler.series, options.reports / "soak.csv")
    faults = [fault for one in sampler.series for fault in one.faults(end)]
    soak_picture.draw(sampler.series, end, options.reports / "soak.png")
    if load.failures:
        faults.append(f"{load.failures} of {load.requests} requests failed; see {out.name}")
    for fault in faults:
        print(fault)
    if end < WARM_UP_SECONDS + MIN_MINUTES * 60:
        print(f"too short to judge growth: it takes {WARM_UP_SECONDS / 60 + MIN_MINUTES:.0f} minutes")
    elif not faults:
        print(f"no request failed, and none of {len(sampler.series)} processes grew after the second minute")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
