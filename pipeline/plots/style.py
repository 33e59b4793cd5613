"""How the figures look: one colour and marker a family, short names, fonts, and how a figure is written.

Colours are Okabe & Ito's eight, told apart by colour-blind readers too; a colour that stands twice has two markers. Own
codes are filled and coloured; other programs' (faiss, peer) are hollow and grey.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from pipeline.store import atomic_file, with_ending

DPI = 200
WIDTH_INCHES = 8.0
PANEL_GAP_INCHES = 0.09  # a title is to stand nearer to what is below it than to what is above
NOTE_INCHES = 0.8  # height of a panel that only says why it is empty

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY = "#6B6B6B", "#B4B4B4"


WIDER = {"*": 1.5, "P": 1.15, "X": 1.15, "h": 1.1, "p": 1.1}  # markers that look smaller than they are


class Look(NamedTuple):
    colour: str
    marker: str
    filled: bool = True

    def drawn(self, size: float) -> dict[str, Any]:
        """Keywords for a line that is only markers, `size` points wide."""
        face, edge = (self.colour, "white") if self.filled else ("white", self.colour)
        if self.colour == YELLOW:  # too light without an outline
            edge = "#7A7300"
        width = 0.5 if self.filled and edge == "white" else 1.2
        return {
            **{"linestyle": "none", "marker": self.marker, "markersize": size * WIDER.get(self.marker, 1.0)},
            **{"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width},
        }


FAMILIES = {
    "float": Look(BLACK, "o"),
    "scalar": Look(BLUE, "s"),
    "binary": Look(VERMILION, "^"),
    "sigma_delta": Look(ORANGE, "D"),
    "ternary": Look(GREEN, "v"),
    "lossless": Look(PURPLE, "p"),
    "matryoshka": Look(SKY, "h"),
    "spikes": Look(YELLOW, "P"),
    "snn": Look(GREEN, "X"),
    "cortex": Look(PURPLE, "*"),
    "faiss": Look(GREY, "o", filled=False),
    "peer": Look(GREY, "D", filled=False),
}
UNKNOWN = Look(GREY, "d")

PAPER: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "svg.hashsalt": "pipeline.plots",  # else the names inside an SVG are drawn at random
}


@contextmanager
def paper() -> Iterator[None]:
    """Matplotlib's own defaults and ours on top, whatever the user's matplotlibrc says."""
    with matplotlib.style.context("default"), matplotlib.rc_context(PAPER):
        yield


def look(family: str) -> Look:
    return FAMILIES.get(family, UNKNOWN)


def in_order(families: Iterable[str]) -> list[str]:
    """Each family once: own codes first, other programs' after them, unknown ones last."""
    known = list(FAMILIES)
    return sorted(set(families), key=lambda name: (known.index(name) if name in known else len(known), name))


def family_key(family: str, size: float = 6.5) -> Line2D:
    """A legend's entry for a family."""
    return Line2D([], [], label=family.replace("_", "-"), **look(family).drawn(size))


def short(representation: str) -> str:
    """A name that fits into a figure: without `faiss:` (the marker tells it), settings, a carried code's module."""
    name, _, settings = representation.removeprefix("faiss:").partition("@")
    name = name.replace("sentence-transformers:", "s-t: ")
    if name.startswith("carried_"):  # in so many steps, the module that has the code inside, the code
        steps, _, inside = name.split(":", 2)
        name = f"{steps}: {inside}"
    return f"{name}@…" if settings else name


def short_names(representations: Iterable[str]) -> dict[str, str]:
    """Short names, except where two representations would share one: those keep theirs in full."""
    names = list(dict.fromkeys(representations))
    taken = [short(name) for name in names]
    return {name: brief if taken.count(brief) == 1 else name for name, brief in zip(names, taken, strict=True)}


def sheet(title: str, width_inches: float, height_inches: float) -> Figure:
    """An empty figure with its title, drawn by Agg: no window, whatever the backend."""
    figure = Figure(figsize=(width_inches, height_inches), layout=ConstrainedLayoutEngine(h_pad=PANEL_GAP_INCHES))
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, fontweight="bold")
    return figure


def log_ticks(axis: Axis, subs: Sequence[int]) -> None:
    """Ticks at these multiples of powers of ten, written as plain numbers."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def note(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.grid(False)
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.spines[:].set_visible(False)
    axes.text(0.0, 0.8, text, transform=axes.transAxes, va="top", color=GREY, fontsize=10)


def empty_figure(title: str) -> Figure:
    """What a figure is when the table has no row at all."""
    figure = sheet(title, WIDTH_INCHES, 2.0)
    note(figure.add_subplot(), "the table holds no measurements")
    return figure


def write(figure: Figure, target: Path) -> list[Path]:
    """`target` is a path without suffix: write .png and .svg, the same bytes for the same figure."""
    written = []
    with _laid_out(figure):
        for suffix, facts in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
            path = with_ending(target, suffix)
            with paper(), atomic_file(path) as temporary:
                figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=facts)
            written.append(path)
    return written


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Within it a figure's layout stays as it is now: to find it takes longer than to draw, and each format would."""
    engine = figure.get_layout_engine()
    with paper():
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)
