"""Draw the proof as a heat map: allowed ports by source and destination, readable without colours."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from lab.colours import BLUE, FAINT, INK, SKY, VERMILION
from lab.figures import PAGE_HEIGHT, PAGE_WIDTH, plt, save, set_title
from security.proof.proof import Proof
from security.proof.report import legend, open_flows, places_of

_UDP = "u: UDP"
_STATES = {
    "nothing to try": "#ffffff",
    "all dropped, as expected": "#d9dee3",
    "only ping passes, as expected": "#cfe8f7",
    f"these ports pass, as expected ({_UDP})": SKY,
    "everything passes, as expected": BLUE,
    "differs from the policy": VERMILION,
}
_NOTHING, _DROPPED, _PING, _SOME, _ALL, _DIFFERS = range(6)
_MAX_PLACES_WITH_WORDS, _MAX_LABELS, _CELL_CHARACTERS = 12, 30, 9
_WHITE = "#ffffff"


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
    figure, axes = plt.subplots(figsize=(PAGE_WIDTH, PAGE_HEIGHT), layout="constrained")
    axes.imshow(
        states, cmap=ListedColormap(list(_STATES.values())), vmin=0, vmax=len(_STATES) - 1, aspect="auto"
    )
    _label(axes, places)
    if len(places) <= _MAX_PLACES_WITH_WORDS:
        for row, line in enumerate(states):
            for column, state in enumerate(line):
                _write_cell(axes, column, row, state, flows.get(pairs[row][column], []))
    title = f"{proof.policy.path.stem}: {proof.tried:,} probes, {len(proof.differences):,} differences"
    set_title(figure, title)
    handles = [
        Patch(facecolor=colour, edgecolor=FAINT, label=name.replace(_UDP, legend(proof)))
        for name, colour in _STATES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    save(figure, path)


def _state(flows: list[str], *, tried: bool) -> int:
    if not flows:
        return _DROPPED if tried else _NOTHING
    return _ALL if "any" in flows else _PING if flows == ["ping"] else _SOME


def _label(axes: Axes, places: list[str]) -> None:
    step = math.ceil(len(places) / _MAX_LABELS)
    axes.set_xticks(
        range(0, len(places), step), places[::step], rotation=30, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(0, len(places), step), places[::step])
    axes.set_xlabel("to")
    axes.set_ylabel("from")
    borders = [at - 0.5 for at in range(1, len(places))]
    axes.set_xticks(borders, minor=True)
    axes.set_yticks(borders, minor=True)
    axes.grid(which="minor", color=_WHITE, linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(True)


def _write_cell(axes: Axes, column: int, row: int, state: int, flows: list[str]) -> None:
    ports = textwrap.fill(" ".join(flow for flow in flows if flow != "ping"), _CELL_CHARACTERS)
    words = {_ALL: "all", _PING: "ping", _DIFFERS: "x"}.get(state, ports)
    colour = _WHITE if state in (_ALL, _DIFFERS) else INK
    axes.text(column, row, words, ha="center", va="center", color=colour)
