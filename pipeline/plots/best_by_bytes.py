"""The best of our codecs against the best of the peers' within so many bytes a vector, and where ours loses.

    python -m pipeline.plots.best_by_bytes --table results/best_by_bytes.csv --output results/figures/best_by_bytes

Makes <output>.png (200 dpi) and <output>.svg. An embedding has two panels, one above the other, with a column a budget:
above both recalls with their intervals, below the names of the two codecs, the winner's in bold. A name stands where it
begins to lead and holds until the next one of its side. Columns where a peer wins are shaded dark, ties light.
"""

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline import stage
from pipeline.plots import style
from pipeline.stage import UserError

TITLE = "Best codec within so many bytes a vector: ours against the peers'"
CRITERION, COUNTED = "knn10_overlap", "codes"
LABEL = "recall@10 of the test queries"
LOOKS = {"ours": style.Look(style.BLUE, "s"), "peer": style.Look(style.GREY, "o", filled=False)}
SHADES = {"peer": ("#F3C9AE", "a peer wins"), "tie": ("#EEEEEE", "tie")}  # winner -> colour, what it means
SHIFT = 0.19  # of a column: ours stands to the left, the peer to the right
PANEL_INCHES = 2.1
AROUND_INCHES = 1.15  # of an embedding: its title, ticks, label and gaps
NAME_SIZE = 6.5  # points
NAME_WIDTH = 0.66  # of a character, in sizes: bold DejaVu Sans, and some room


class Side(NamedTuple):
    representation: str
    value: float
    low: float
    high: float


class Column(NamedTuple):
    """A budget: who wins, and the best of each side; None where a side has nothing so small."""

    budget: int
    winner: str
    sides: Mapping[str, Side | None]


def read(path: Path) -> dict[str, list[Column]]:
    """embedding -> its budgets, in order. Raises UserError for another file than best_by_bytes.csv."""
    found: dict[str, list[Column]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (row["criterion"], row["counted"]) == (CRITERION, COUNTED):
                    sides = {whose: _side(row, whose) for whose in LOOKS}
                    found.setdefault(row["embedding"], []).append(
                        Column(int(row["budget_bytes"]), row["winner"], sides)
                    )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not best_by_bytes.csv ({type(error).__name__}: {error})") from None
    return found


def _side(row: Mapping[str, str], whose: str) -> Side | None:
    if not row[f"{whose}_representation"]:
        return None
    value, low, high = (float(row[f"{whose}_{name}"] or "nan") for name in ("value", "ci_low", "ci_high"))
    return Side(row[f"{whose}_representation"], value, low, high)


def best_by_bytes(panels: Mapping[str, Sequence[Column]]) -> Figure:
    with style.paper():
        if not panels:
            return style.empty_figure(TITLE)
        names = style.short_names(
            side.representation for columns in panels.values() for column in columns for side in column.sides.values()
            if side
        )  # fmt: skip
        strip = (max(map(len, names.values()), default=1) * NAME_WIDTH * NAME_SIZE + 8) / 72
        heights = [PANEL_INCHES, strip] * len(panels)
        figure = style.sheet(TITLE, style.WIDTH_INCHES, 0.8 + AROUND_INCHES * len(panels) + sum(heights))
        axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for (embedding, columns), above, below in zip(panels.items(), axes[::2], axes[1::2], strict=True):
            above.set_title(embedding)
            for part in (above, below):
                _shade(part, columns)
                part.set_xlim(-0.5, len(columns) - 0.5)
                part.set_xticks(range(len(columns)), [f"{column.budget:,}" for column in columns])
                part.grid(False)
            _draw(above, columns)
            _name(below, columns, names)
        _legend(figure)
        return figure


def _shade(axes: Axes, columns: Sequence[Column]) -> None:
    for place, column in enumerate(columns):
        if column.winner in SHADES:
            axes.axvspan(place - 0.5, place + 0.5, color=SHADES[column.winner][0], linewidth=0, zorder=0)


def _draw(axes: Axes, columns: Sequence[Column]) -> None:
    """Both sides' values with their intervals; higher is better."""
    axes.set_ylabel(LABEL)
    axes.tick_params(axis="x", labelbottom=False, length=0)
    axes.grid(True, axis="y")
    for shift, (whose, look) in zip((-SHIFT, SHIFT), LOOKS.items(), strict=True):
        spots = [(place + shift, side) for place, column in enumerate(columns) if (side := column.sides[whose])]
        axes.plot([x for x, _ in spots], [side.value for _, side in spots], color=look.colour, linewidth=0.8, alpha=0.6)
        for x, side in spots:
            if math.isfinite(side.low + side.high):
                axes.vlines(x, side.low, side.high, color=look.colour, linewidth=1.0, zorder=3)
            axes.plot(x, side.value, zorder=4, **look.drawn(5.0))


def _name(axes: Axes, columns: Sequence[Column], names: Mapping[str, str]) -> None:
    """Upright names, each in its half of the column. A name is said again where another side wins from there on."""
    axes.set(xlabel="budget, bytes per vector", ylim=(0, 1), yticks=[])
    axes.spines["left"].set_visible(False)
    for shift, (whose, look) in zip((-SHIFT, SHIFT), LOOKS.items(), strict=True):
        before = None
        for place, column in enumerate(columns):
            side = column.sides[whose]
            now = (side.representation, column.winner) if side else None
            if side and now != before:
                weight = "bold" if column.winner == whose else "normal"
                text = names[side.representation]
                font: dict[str, Any] = {"fontsize": NAME_SIZE, "color": look.colour, "weight": weight}
                axes.text(place + shift, 0.97, text, rotation=90, ha="center", va="top", **font)
            before = now


def _legend(figure: Figure) -> None:
    keys: list[Line2D | Patch] = [
        Line2D([], [], label=label, **LOOKS[whose].drawn(6.0))
        for whose, label in (("ours", "best of ours"), ("peer", "best of the peers'"))
    ]
    keys += [Patch(color=colour, label=label) for colour, label in SHADES.values()]
    keys.append(Patch(facecolor="white", edgecolor=style.LIGHT_GREY, label="ours wins"))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8.5)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="best_by_bytes.csv")
    parser.add_argument("--output", type=Path, required=True, help="figure to make, without suffix")
    args = parser.parse_args(argv)
    written = style.write(best_by_bytes(read(args.table)), args.output)
    stage.log.info("%s", " ".join(map(str, written)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
