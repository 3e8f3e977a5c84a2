"""The turns of bench/hops/run.sh, read back: each hop's latencies and CPU, round by round."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitoring.quantiles import quantile

CPU = "cpu_us_per_request"
FIGURES = {"p50_us": "median", "p99_us": "99th percentile", CPU: "CPU time"}


@dataclass(frozen=True)
class Turn:
    """One hop's requests of one kind in one round."""

    round: int
    hop: str
    connection: str
    requests: int
    cpu_us: float
    machine_us: float
    latencies_us: npt.NDArray[np.float64]

    def figure(self, name: str) -> float:
        """Return one of FIGURES, in microseconds. Raises ValueError when no request was answered."""
        if name == CPU:
            return self.cpu_us
        found = quantile(self.latencies_us.tolist(), int(name[1:3]) / 100)
        if found is None:
            raise ValueError(f"round {self.round}, {self.hop}: no request was answered")
        return found


def read_turns(path: Path) -> list[Turn]:
    """Read what bench/hops/client.py has written."""
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="") as stream:
        return [
            Turn(int(turn), hop, connection, int(requests), float(cpu), float(machine), _numbers(latencies))
            for turn, hop, connection, requests, cpu, machine, latencies in csv.reader(stream)
        ]


def _numbers(text: str) -> npt.NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64)


def table_of(
    turns: Sequence[Turn], hops: Sequence[str], connection: str, figure: str
) -> npt.NDArray[np.float64]:
    """Return one figure of one kind of connection: a row for each hop, a column for each round."""
    rounds = sorted({turn.round for turn in turns})
    by_place = {(turn.hop, turn.round): turn for turn in turns if turn.connection == connection}
    return np.array([[by_place[hop, number].figure(figure) for number in rounds] for hop in hops])
