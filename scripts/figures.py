"""Pictures by matplotlib: text in them is text, and each PNG is whole or as it was before.

The only module that imports matplotlib's pyplot; import it late where a start must be quick.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from scripts.whole_file import draft_of

mpl.use("Agg")  # draws into files
mpl.rcParams["text.parse_math"] = False  # a name may have dollars in it, which would begin a formula

__all__ = ["plain_numbers", "plt", "save"]


def plain_numbers(axis: Axis) -> None:
    """Write an axis' numbers as people do: 1,000; a logarithmic one's would be formulas."""
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def save(figure: Figure, path: Path, dpi: int = 130) -> None:
    """Write a figure as PNG, and forget it."""
    with draft_of(path) as draft:
        figure.savefig(draft, dpi=dpi)
    plt.close(figure)
