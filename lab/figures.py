"""matplotlib for the lab: one look for all charts, and PNGs written completely or not at all.

The only module that imports pyplot. It is slow to load, so import it where it is needed. A chart is drawn at the size
at which a document prints it (PAGE_WIDTH by PAGE_HEIGHT at most), so its fonts have their size in print; `save` refuses
smaller ones than SMALLEST.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import StrMethodFormatter

from lab.colours import FAINT, INK, LINE
from lab.whole_file import draft_of

PAGE_WIDTH, PAGE_HEIGHT = 10.5, 6.4  # inches; the room below a heading on a page of lab/document_pages.py
SMALLEST = 9.0  # points

mpl.use("Agg")  # this backend needs no display
mpl.rcParams["text.parse_math"] = False  # dollars in a name would begin a formula
mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
mpl.rcParams.update({"axes.titlelocation": "left", "axes.axisbelow": True, "grid.color": LINE})
mpl.rcParams.update({"xtick.labelsize": 9, "ytick.labelsize": 9, "axes.labelsize": 9, "legend.fontsize": 9})
mpl.rcParams.update({"font.size": 9, "axes.titlesize": 10, "figure.titlesize": 12})
mpl.rcParams.update(
    {"text.color": INK, "axes.labelcolor": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK}
)
mpl.rcParams.update({"axes.edgecolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT})

__all__ = ["PAGE_HEIGHT", "PAGE_WIDTH", "SMALLEST", "plain_numbers", "plt", "save", "set_title"]


def plain_numbers(axis: Axis) -> None:
    """Label an axis with plain numbers such as 1,000, also where it is logarithmic."""
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def set_title(figure: Figure, title: str) -> None:
    """Write the figure's title, which says what it shows, at its upper left."""
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")


def save(figure: Figure, path: Path, dpi: int = 130) -> None:
    """Write a figure as a PNG, and close it. Raises ValueError if it is wider than a page or has too small a font."""
    width = figure.get_size_inches()[0]
    if width > PAGE_WIDTH:
        raise ValueError(f"{path.name} is {width:.1f} inches wide; a page has room for {PAGE_WIDTH}")
    with draft_of(path) as draft:
        figure.savefig(draft, dpi=dpi)
        if small := sorted(_small_texts(figure)):
            size, text = small[0]
            raise ValueError(
                f'{path.name}: "{text}" has {size:g} points; at least {SMALLEST:g} are readable in print'
            )
    plt.close(figure)


def _small_texts(figure: Figure) -> list[tuple[float, str]]:
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text().strip()]
    sizes = ((float(text.get_fontsize()), text.get_text()) for text in texts)
    return [(size, text) for size, text in sizes if size < SMALLEST]
