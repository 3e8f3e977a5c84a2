"""Draw the proof as a heat map: allowed ports by source and destination, readable without colours."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from lab.figures import plt, save
from security.proof.proof import Proof
from security.proof.report import open_flows, places_of

# Okabe and Ito's colours, which colour-blind people can distinguish; each cell also has words.
_STATES = {
    "nothing to try": "#ffffff",
    "all dropped, as expected": "#d9dee3",
    "only ping passes, as expected": "#cfe8f7",
    "these ports pass, as expected (u: UDP)": "#56b4e9",
    "everything passes, as expected": "#0072b2",
    "differs from the policy": "#d55e00",
}
_NOTHING, _DROPPED, _PING, _SOME, _ALL, _DIFFERS = range(6)
_MAX_PLACES_WITH_WORDS = 16
_INK, _WHITE = "#1b2733", "#ffffff"


def write_png(proof: Proof, path: Path) -> None:
    """Draw sources in rows and destinations in columns; attacks count for the flow that they claim to be."""
    places, flows = places_of(proof), open_flows(proof)
    tried = {result.probe.flow.ends for result in proof.results if not result.probe.attack}
    wrong = {result.probe.flow.ends for result in proof.results if not result.is_as_expected}
    pairs = [[(source, to) for to in places] for source in places]
    states = [
        [_DIFFERS if pair in wrong else _state(flows.get(pair, []), tried=pair in tried) for pair in row]
        for row in pairs
    ]
    size = max(6.0, min(24.0, 0.55 * len(places) + 3))
    figure, axes = plt.subplots(figsize=(size + 1.5, size), layout="constrained")
    axes.imshow(states, cmap=ListedColormap(list(_STATES.values())), vmin=0, vmax=len(_STATES) - 1)
    _label(axes, places)
    if len(places) <= _MAX_PLACES_WITH_WORDS:
        for row, line in enumerate(states):
            for column, state in enumerate(line):
                _write_cell(axes, column, row, state, flows.get(pairs[row][column], []))
    title = f"{proof.policy.path.stem}: {proof.tried} probes, {len(proof.differences)} differences"
    figure.suptitle(title, fontsize=13)
    handles = [Patch(facecolor=colour, edgecolor="#5b6b7a", label=name) for name, colour in _STATES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)


def _state(flows: list[str], *, tried: bool) -> int:
    if not flows:
        return _DROPPED if tried else _NOTHING
    return _ALL if "any" in flows else _PING if flows == ["ping"] else _SOME


def _label(axes: Axes, places: list[str]) -> None:
    axes.set_xticks(range(len(places)), places, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(places)), places)
    axes.set_xlabel("to")
    axes.set_ylabel("from")
    borders = [at - 0.5 for at in range(1, len(places))]
    axes.set_xticks(borders, minor=True)
    axes.set_yticks(borders, minor=True)
    axes.grid(which="minor", color=_WHITE, linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(True)


def _write_cell(axes: Axes, column: int, row: int, state: int, flows: list[str]) -> None:
    ports = "\n".join(flow for flow in flows if flow != "ping")
    words = {_ALL: "all", _PING: "ping", _DIFFERS: "x"}.get(state, ports)
    colour = _WHITE if state in (_ALL, _DIFFERS) else _INK
    axes.text(column, row, words, ha="center", va="center", fontsize=6.5, color=colour)
