"""matplotlib for the lab: no mathtext in labels, and PNGs written completely or not at all.

The only module that imports pyplot. It is slow to load, so import it where it is needed.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from lab.whole_file import draft_of

mpl.use("Agg")  # this backend needs no display
mpl.rcParams["text.parse_math"] = False  # dollars in a name would begin a formula
mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
mpl.rcParams.update({"axes.titlelocation": "left", "axes.axisbelow": True})

__all__ = ["plain_numbers", "plt", "save"]


def plain_numbers(axis: Axis) -> None:
    """Label an axis with plain numbers such as 1,000, also where it is logarithmic."""
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def save(figure: Figure, path: Path, dpi: int = 130) -> None:
    """Write a figure as a PNG, and close it."""
    with draft_of(path) as draft:
        figure.savefig(draft, dpi=dpi)
    plt.close(figure)
