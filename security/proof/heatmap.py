"""The proof as a picture: who reaches whom, by which port; black and white print keeps the marks."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from lab.figures import plt, save
from security.policy.model import HOST, WORLD
from security.proof.report import Proof, open_flows

# Okabe and Ito's colours, told apart by the colour-blind too; each cell also says what passes.
_STATES = {
    "nothing to try": "#ffffff",
    "all dropped, as it must be": "#d9dee3",
    "only ping passes, as it must": "#cfe8f7",
    "these ports pass, as they must (u: UDP)": "#56b4e9",
    "everything passes, as it must": "#0072b2",
    "differs from the policy": "#d55e00",
}
_NOTHING, _DROPPED, _PING, _SOME, _ALL, _DIFFERS = range(6)
_MOST_WORDS = 16  # places, above which a cell is too small for words


def write_png(proof: Proof, path: Path) -> None:
    """Draw sources in rows and destinations in columns; attacks count for the flow they pretend to be."""
    places = [*(node.name for node in proof.policy.topology.nodes), HOST, WORLD]
    states = _states(proof, places)
    size = max(6.0, min(24.0, 0.55 * len(places) + 3))
    figure, axes = plt.subplots(figsize=(size + 1.5, size), layout="constrained")
    colours = ListedColormap(list(_STATES.values()))
    axes.imshow(states, cmap=colours, vmin=0, vmax=len(_STATES) - 1)
    _label(axes, places)
    if len(places) <= _MOST_WORDS:
        _mark(axes, states, proof, places)
    figure.suptitle(
        f"{proof.policy.path.stem}: {proof.tried} probes, {len(proof.differences)} differences", fontsize=13
    )
    handles = [Patch(facecolor=colour, edgecolor="#5b6b7a", label=name) for name, colour in _STATES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)


def _states(proof: Proof, places: list[str]) -> list[list[int]]:
    flows = open_flows(proof)
    tried = {outcome.probe.flow[:2] for outcome in proof.outcomes if not outcome.probe.attack}
    wrong = {outcome.probe.flow[:2] for outcome in proof.outcomes if not outcome.as_expected}
    return [
        [
            _DIFFERS if (source, to) in wrong else _state(flows.get((source, to), []), (source, to) in tried)
            for to in places
        ]
        for source in places
    ]


def _state(flows: list[str], tried: bool) -> int:
    if not tried and not flows:
        return _NOTHING
    if not flows:
        return _DROPPED
    return _ALL if "any" in flows else _PING if flows == ["ping"] else _SOME


def _label(axes: Axes, places: list[str]) -> None:
    axes.set_xticks(range(len(places)), places, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(places)), places)
    axes.set_xlabel("to")
    axes.set_ylabel("from")
    axes.set_xticks([at - 0.5 for at in range(1, len(places))], minor=True)
    axes.set_yticks([at - 0.5 for at in range(1, len(places))], minor=True)
    axes.grid(which="minor", color="#ffffff", linewidth=1.5)
    axes.tick_params(which="both", length=0)


def _mark(axes: Axes, states: list[list[int]], proof: Proof, places: list[str]) -> None:
    """Write what passes into each cell, so that no colour is needed."""
    flows = open_flows(proof)
    for row, line in enumerate(states):
        for column, state in enumerate(line):
            ports = [flow for flow in flows.get((places[row], places[column]), []) if flow != "ping"]
            said = {_ALL: "all", _PING: "ping", _DIFFERS: "x"}.get(state, "\n".join(ports))
            white = state in (_ALL, _DIFFERS)
            axes.text(
                column,
                row,
                said,
                ha="center",
                va="center",
                fontsize=6.5,
                color="#ffffff" if white else "#1b2733",
            )
