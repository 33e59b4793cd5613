"""Working memory: how often the stored word is recalled behind so many distractors, with and without it.

    python -m pipeline.plots.snn_memory --measurements results/snn.parquet --output results/figures/snn_memory

Dots are seeds, lines their means; what lies beyond the most distractors that networks were trained with is shaded.
Makes a PNG and an SVG.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.figure import Figure

from pipeline import stage
from pipeline.plots import style
from pipeline.plots.snn_rows import Row, draw, mean
from pipeline.stage import UserError

TITLE = "Store-recall of one of 64 words"
PREFIX = "store_recall_"
CHANCE = 1 / 64
LOOKS = {
    "spiking": ("spiking, working memory", style.BLUE, "-"),
    "without_memory": ("spiking, without it", style.VERMILION, "-"),
    "dense": ("dense", style.BLACK, ":"),  # it lies on the first
}

Curves = Mapping[str, Mapping[int, list[float]]]
"""variant -> distractors -> accuracy of each seed"""


def curves(rows: Iterable[Row]) -> dict[str, dict[int, list[float]]]:
    """Raises UserError for a task that does not say how many distractors."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if row["task"].startswith(PREFIX) and row["metric"] == "accuracy":
            if not (distractors := row["task"].removeprefix(PREFIX)).isdecimal():
                raise UserError(f"task {row['task']!r} does not end in a number of distractors")
            found.setdefault(row["variant"], {}).setdefault(int(distractors), []).append(row["value"])
    return found


def longest_trained(rows: Iterable[Row]) -> float | None:
    """The most distractors that networks were trained with: the least of all, if they differ."""
    return min((row["value"] for row in rows if row["metric"] == "longest_trained"), default=None)


def snn_memory(found: Curves, longest: float | None = None) -> Figure:
    with style.paper():
        if not found:
            return style.empty_figure(TITLE)
        figure = style.sheet(TITLE, 5.5, 3.6)
        axes = figure.subplots()
        for variant, by in found.items():
            name, colour, line = LOOKS.get(variant, (variant, style.GREY, "-"))
            at = sorted(by)
            axes.plot(at, [mean(by[one]) for one in at], color=colour, linestyle=line, label=name)
            axes.plot([one for one in at for _ in by[one]], [v for one in at for v in by[one]], "o", ms=3, color=colour)
        axes.axhline(CHANCE, color=style.GREY, linestyle="--", label="chance")
        beyond = [one for by in found.values() for one in by if longest is not None and one > longest]
        if longest is not None and beyond:
            # Halfway between the last that was trained and the first that was not, on the logarithmic axis.
            axes.axvspan((longest * min(beyond)) ** 0.5, 2 * max(beyond), color=style.GREY, alpha=0.2, lw=0)
            axes.plot([], [], color=style.GREY, alpha=0.4, lw=6, label=f"beyond training (to {longest:.0f})")
        axes.set(xlabel="distractors", ylabel="recalled", ylim=(-0.02, 1.02))
        axes.set_xscale("symlog", base=2, linthresh=1)
        ticks = sorted({one for by in found.values() for one in by})
        axes.set_xticks(ticks, [str(one) for one in ticks])
        axes.set_xlim(-0.2, 1.15 * max(ticks) + 0.2)
        axes.minorticks_off()
        axes.legend(fontsize=8, frameon=False)
        return figure


def main(argv: Sequence[str] | None = None) -> None:
    draw(__doc__, argv, lambda rows: snn_memory(curves(rows), longest_trained(rows)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
