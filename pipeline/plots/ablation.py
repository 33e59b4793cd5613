"""What each part of matryoshka's training is worth: the difference of every variant from the shipped one.

    python -m pipeline.plots.ablation --table results/ablation.csv --output results/figures/ablation

Makes <output>.png (200 dpi) and <output>.svg. An embedding is a row of panels, one for each of PANELS. A line is a
variant, a mark on it a representation, with its difference's interval; a hollow mark's interval holds 0, or there is
none. The shaded side is the worse one. Other forms of the shipped decoder stand below the variants.
"""

import csv
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline import stage
from pipeline.plots import style
from pipeline.stage import UserError

TITLE = "What each part of training is worth: difference from the shipped codes"
SHIPPED = "shipped"


class Panel(NamedTuple):
    """`search` and `metric` of the table, and where better is: to the right (1) or to the left (-1)."""

    search: str
    metric: str
    label: str
    better: int = 1


PANELS = (
    Panel("decoded", "knn10_overlap", "recall@10, decoded"),
    Panel("decoded", "knn10_overlap_unseen", "recall@10, unseen rows"),
    Panel("hamming", "knn10_overlap", "recall@10, Hamming"),
    Panel("decoded", "relative_mse", "relative MSE", -1),
    Panel("decoded", "analogy", "analogies answered"),
)
LOOKS = (
    *(style.Look(style.SKY, "o"), style.Look(style.BLUE, "s"), style.Look(style.BLACK, "D")),
    *(style.Look(style.VERMILION, "^"), style.Look(style.GREEN, "v"), style.Look(style.PURPLE, "p")),
)
WIDTH_INCHES = 11.0
LINE_INCHES = 0.3
AROUND_INCHES = 1.0  # of an embedding: its title, ticks, label and gaps
ROOM = 0.08  # of what is drawn, free on either side
WORSE = "#F3F3F3"


class Difference(NamedTuple):
    """Without an interval `low` and `high` are nan."""

    value: float
    low: float
    high: float

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


Line = Mapping[str, Mapping[tuple[str, str], Difference]]
"""int8 representation -> (search, metric) -> difference"""


def read(path: Path) -> dict[str, dict[str, Line]]:
    """embedding -> label of a line -> its differences. Raises UserError for another file than ablation.csv."""
    found: dict[str, dict[str, dict[str, dict[tuple[str, str], Difference]]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                lines = found.setdefault(row["embedding"], {})
                if not (other := row["compared_with"]):
                    continue
                form = row["representation"].removeprefix(other).strip("_")
                label = f"{form} decoder" if form else row["variant"].replace("_", " ")
                cells = lines.setdefault(label, {}).setdefault(other, {})
                for panel in PANELS:
                    ends = (row[f"{panel.metric}_difference{part}"] for part in ("", "_t_low", "_t_high"))
                    difference = Difference(*(float(end or "nan") for end in ends))
                    if panel.search == row["search"] and math.isfinite(difference.value):
                        cells[panel.search, panel.metric] = difference
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not ablation.csv ({type(error).__name__}: {error})") from None
    # Forms come with the shipped variant, so first; they are no change of the training and stand last.
    order = {name: sorted(lines, key=lambda label: label.endswith(" decoder")) for name, lines in found.items()}
    return {name: {label: lines[label] for label in order[name]} for name, lines in found.items()}


def ablation(embeddings: Mapping[str, Mapping[str, Line]]) -> Figure:
    """Lines by embedding and label."""
    with style.paper():
        if not any(embeddings.values()):
            return style.empty_figure(TITLE)
        names = {name for lines in embeddings.values() for line in lines.values() for name in line}
        looks = {name: LOOKS[place % len(LOOKS)] for place, name in enumerate(sorted(names, key=_by_kind_and_bits))}
        heights = [max(1, len(lines)) * LINE_INCHES for lines in embeddings.values()]
        figure = style.sheet(TITLE, WIDTH_INCHES, 0.9 + AROUND_INCHES * len(heights) + sum(heights))
        grid = figure.subplots(len(heights), len(PANELS), squeeze=False, sharex="col", height_ratios=heights)
        for (embedding, lines), row in zip(embeddings.items(), grid, strict=True):
            row[0].set_title(embedding, fontweight="bold", pad=18)
            for panel, axes in zip(PANELS, row, strict=True):
                _draw(axes, panel, lines, looks)
                axes.set_yticks(range(len(lines)), list(lines) if axes is row[0] else [""] * len(lines))
        for panel, column in zip(PANELS, grid.T, strict=True):
            _limit(column, panel, [line for lines in embeddings.values() for line in lines.values()])
        _legend(figure, looks)
        return figure


def _by_kind_and_bits(representation: str) -> tuple[str, int]:
    bits = re.search("[0-9]+", representation)
    return re.sub("[0-9]+", "", representation), int(bits[0]) if bits else 0


def _limit(column: Iterable[Axes], panel: Panel, lines: Iterable[Line]) -> None:
    """The same range for all embeddings, whatever is measured in it; the worse side shaded."""
    found = [of[panel.search, panel.metric] for line in lines for of in line.values() if panel[:2] in of]
    ends = [0.0, *(end for one in found for end in one if math.isfinite(end))]
    room = ROOM * (max(ends) - min(ends)) or 1.0
    low, high = min(ends) - room, max(ends) + room
    for axes in column:
        axes.set_xlim(low, high)
        axes.axvspan(*((low, 0) if panel.better > 0 else (0, high)), color=WORSE, linewidth=0, zorder=0)


def _draw(axes: Axes, panel: Panel, lines: Mapping[str, Line], looks: Mapping[str, style.Look]) -> None:
    """A mark a representation, side by side within its variant's line, the first line on top."""
    axes.text(0, 1.01, panel.label, transform=axes.transAxes, va="bottom", fontsize=8.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelbottom=True, labelsize=7.5)
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", nbins=4)
    for place in range(1, len(lines)):
        axes.axhline(place - 0.5, color=style.LIGHT_GREY, linewidth=0.4, zorder=1)
    for place, line in enumerate(lines.values()):
        for order, (name, look) in enumerate(looks.items()):
            found = line.get(name, {}).get((panel.search, panel.metric))
            if found is None:
                continue
            y = place + 0.76 * ((order + 0.5) / len(looks) - 0.5)
            if math.isfinite(found.low + found.high):
                axes.hlines(y, found.low, found.high, color=look.colour, linewidth=1.0, zorder=3)
            axes.plot(found.value, y, zorder=4, **look._replace(filled=found.told_apart).drawn(4.2))
    axes.axvline(0, color=style.GREY, linewidth=0.9, zorder=2)


def _legend(figure: Figure, looks: Mapping[str, style.Look]) -> None:
    keys: list[Line2D | Patch] = [
        Line2D([], [], label=name.removeprefix("matryoshka_").replace("_", " "), **look.drawn(5.0))
        for name, look in looks.items()
    ]
    keys.append(
        Line2D([], [], label="not told apart from shipped", **style.Look(style.GREY, "o", filled=False).drawn(5.0))
    )
    keys.append(Patch(color=WORSE, label="worse than shipped"))
    figure.legend(
        handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8.5, title="bits of a vector"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="ablation.csv")
    parser.add_argument("--output", type=Path, required=True, help="figure to make, without suffix")
    args = parser.parse_args(argv)
    written = style.write(ablation(read(args.table)), args.output)
    stage.log.info("%s", " ".join(map(str, written)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
