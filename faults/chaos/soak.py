"""A constant load for minutes: check that no process of the lab keeps growing.

    python -m faults.chaos.soak --url URL --minutes N --per-second N --reports FOLDER --supervisor PID NODE=NAMESPACE...

Every 5 s it samples each process' memory and descriptors (soak.csv, soak.png). Exits with 1 when a request failed,
a process ended or a process grew. Memory is PSS (proc_pid_smaps(5)): of pages that processes share, each has its part.
"""

import argparse
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import gevent
import pandas as pd

from faults.chaos import soak_picture
from faults.chaos.growth import MIN_MINUTES, WARM_UP_SECONDS, problems_of
from faults.chaos.load import Load
from lab.csv_files import write_rows

SHARES = {"get": 0.85, "order": 0.1, "read": 0.05}  # share of each kind of request
EVERY_SECONDS, SHOWN_EVERY = 5.0, 6
COLUMNS = ("second", "node", "process", "pss_mb", "descriptors")


class Sampler:
    """Reads all processes of the nodes' namespaces, and the supervisor."""

    def __init__(self, namespaces: dict[str, str], supervisor: int) -> None:
        self._namespaces = namespaces
        self._supervisor = supervisor
        self._names: dict[int, str] = {}  # process id -> name when first seen
        self.rows: list[tuple[float, str, str, float, int]] = []  # COLUMNS

    def sample(self, second: float) -> float:
        """Read each process once; return the memory of all in MB."""
        nodes = {self._supervisor: "host"}
        for node, namespace in self._namespaces.items():
            command = ["ip", "netns", "pids", namespace]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            nodes |= {int(pid): node for pid in listed.split() if int(pid) not in nodes}
        before = len(self.rows)
        for pid, node in nodes.items():
            with suppress(OSError):  # the process has ended
                process = Path("/proc", str(pid))
                lines = (process / "smaps_rollup").read_text().splitlines()
                kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                descriptors = len(list((process / "fd").iterdir()))
                name = self._names.setdefault(pid, f"{name_of(process)} {pid}")
                self.rows.append((second, node, name, round(kilobytes / 1024, 3), descriptors))
        return sum(row[3] for row in self.rows[before:])

    def processes(self) -> dict[str, pd.DataFrame]:
        """Return the samples of each process by second, node by node; the keys are "NODE: PROCESS"."""
        nodes = ["host", *self._namespaces]
        rows = sorted(self.rows, key=lambda row: nodes.index(row[1]))
        samples = pd.DataFrame(rows, columns=COLUMNS).set_index("second")
        return {
            f"{node}: {name}": its for (node, name), its in samples.groupby(["node", "process"], sort=False)
        }


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
    works = {"get": load.request_catalogue, "order": load.place_order, "read": load.read_order}
    sent = [gevent.spawn(load.run, work, per_second * SHARES[kind], seconds) for kind, work in works.items()]
    begin, second = time.monotonic(), 0.0
    for number in range(int(seconds / EVERY_SECONDS) + 1):
        gevent.sleep(max(0.0, begin + number * EVERY_SECONDS - time.monotonic()))
        second = round(time.monotonic() - begin, 1)
        memory = sampler.sample(second)
        if number % SHOWN_EVERY == 0:
            counts = f"{load.requests:6} requests, {load.failures} failed"
            print(f"{second:5.0f} s  {counts}; {memory:.0f} MB", flush=True)
    gevent.joinall(sent)
    return second


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
    processes = sampler.processes()
    write_rows(options.reports / "soak.csv", COLUMNS, sampler.rows)
    soak_picture.draw(processes, end, options.reports / "soak.png")
    faults = [problem for title, its in processes.items() for problem in problems_of(title, its, end)]
    if load.failures:
        faults.append(f"{load.failures} of {load.requests} requests failed; see {out.name}")
    for fault in faults:
        print(fault)
    if end < WARM_UP_SECONDS + MIN_MINUTES * 60:
        print(f"too short to judge growth: use at least {WARM_UP_SECONDS / 60 + MIN_MINUTES:.0f} minutes")
    elif not faults:
        print(f"no request failed, and none of {len(processes)} processes grew after the second minute")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
