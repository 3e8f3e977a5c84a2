"""The proof as a picture: who reaches whom, by which port; black and white print keeps the marks."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # draws into files

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from security.policy import ACCEPT, HOST, WORLD
from security.proof import Proof

# Okabe and Ito's colours, told apart by the colour-blind too; each state also has a mark.
_STATES = {
    "nothing to try": ("#ffffff", ""),
    "all dropped, as it must be": ("#d9dee3", ""),
    "some pass, as they must": ("#56b4e9", "+"),
    "everything passes, as it must": ("#0072b2", "++"),
    "differs from the policy": ("#d55e00", "x"),
}
_NOTHING, _DROPPED, _SOME, _ALL, _DIFFERS = range(5)
_MOST_MARKS = 30  # places, above which a cell is too small for a mark


def write_png(proof: Proof, path: Path) -> None:
    """Draw sources in rows and destinations in columns; attacks count for the flow they pretend to be."""
    places = [*(node.name for node in proof.policy.topology.nodes), HOST, WORLD]
    states = _states(proof, places)
    size = max(6.0, min(24.0, 0.55 * len(places) + 3))
    figure, axes = plt.subplots(figsize=(size + 1.5, size), layout="constrained")
    colours = ListedColormap([colour for colour, _ in _STATES.values()])
    axes.imshow(states, cmap=colours, vmin=0, vmax=len(_STATES) - 1)
    _label(axes, places)
    if len(places) <= _MOST_MARKS:
        _mark(axes, states)
    figure.suptitle(
        f"{proof.policy.path.stem}: {proof.tried} probes, {len(proof.differences)} differences", fontsize=13
    )
    handles = [
        Patch(facecolor=colour, edgecolor="#5b6b7a", label=f"{name}  {mark}")
        for name, (colour, mark) in _STATES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _states(proof: Proof, places: list[str]) -> list[list[int]]:
    at = {name: number for number, name in enumerate(places)}
    tried = [[0] * len(places) for _ in places]
    passed = [[0] * len(places) for _ in places]
    differs = [[False] * len(places) for _ in places]
    for outcome in proof.outcomes:
        row, column = at[outcome.probe.flow.source], at[outcome.probe.flow.destination]
        tried[row][column] += not outcome.probe.attack
        passed[row][column] += (
            outcome.arrived and outcome.probe.expected == ACCEPT and not outcome.probe.attack
        )
        differs[row][column] |= not outcome.as_expected
    return [
        [
            _state(tried[row][column], passed[row][column], differs[row][column])
            for column in range(len(places))
        ]
        for row in range(len(places))
    ]


def _state(tried: int, passed: int, differs: bool) -> int:
    if differs:
        return _DIFFERS
    if not tried:
        return _NOTHING
    return _ALL if passed == tried else _SOME if passed else _DROPPED


def _label(axes: Axes, places: list[str]) -> None:
    axes.set_xticks(range(len(places)), places, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(places)), places)
    axes.set_xlabel("to")
    axes.set_ylabel("from")
    axes.set_xticks([at - 0.5 for at in range(1, len(places))], minor=True)
    axes.set_yticks([at - 0.5 for at in range(1, len(places))], minor=True)
    axes.grid(which="minor", color="#ffffff", linewidth=1.5)
    axes.tick_params(which="both", length=0)


def _mark(axes: Axes, states: list[list[int]]) -> None:
    marks = [mark for _, mark in _STATES.values()]
    for row, line in enumerate(states):
        for column, state in enumerate(line):
            axes.text(
                column,
                row,
                marks[state],
                ha="center",
                va="center",
                color="#ffffff" if state > _SOME else "#1b2733",
            )
