"""Bytes per vector against the signal-to-noise ratio of decoded test rows, and the Gaussian reference beside it."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.plots import style
from pipeline.plots.by_bytes import by_bytes
from pipeline.plots.measurements import Benchmarks, Metrics, Score, metric
from pipeline.stage import UserError

MOST_DB = 50.0  # better ones (float16, 72 dB; lossless codes, none at all) would press all others together

UNIT = "signal-to-noise ratio, dB"

Reference = Mapping[str, Sequence[tuple[float, float]]]
"""embedding -> (bytes per vector, signal-to-noise ratio in dB), by rising bytes"""


def read_reference(path: Path) -> Reference:
    """The reference at each payload that the ledger has. Raises UserError for another file than compression.csv."""
    found: dict[str, set[tuple[float, float]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["reference_db"]:
                    point = float(row["payload_bytes_per_vector"]), -float(row["reference_db"])
                    found.setdefault(row["embedding"], set()).add(point)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not the ledger, compression.csv ({error})") from None
    return {embedding: sorted(points) for embedding, points in found.items()}


def signal_to_noise(metrics: Metrics, most_db: float = MOST_DB) -> Score | None:
    """-10 log10 of the relative error, in dB; None where there is no decoder or it is above `most_db`."""
    error = metric("relative_mse")(metrics)
    if error is None or error.value <= 10 ** (-most_db / 10):
        return None
    # A higher error is a lower ratio, so the ends of the interval change places.
    value, low, high = (-10 * math.log10(end) if end > 0 else math.nan for end in (error.value, error.high, error.low))
    return Score(value, low, high, error.covered, error.total)


def distortion_by_bytes(benchmarks: Benchmarks, reference: Reference) -> Figure:
    figure = by_bytes(
        benchmarks,
        signal_to_noise,
        "Error of decoded vectors, by bytes per vector",
        UNIT,
        "nothing was decoded",
    )
    with style.paper():
        for axes, embedding in zip(figure.axes, benchmarks, strict=False):
            if not axes.lines:
                continue
            axes.yaxis.set_major_locator(MaxNLocator(6))  # `by_bytes` ends its ticks at 1, where shares end
            axes.set_ylabel("")  # and so has no room beside two digits
            axes.set_title(UNIT, loc="right", fontsize=9)
            limits = axes.axis()
            line = reference.get(embedding, ())
            axes.plot([x for x, _ in line], [y for _, y in line], color=style.GREY, linewidth=1.0, dashes=(1, 1.5))
            axes.axis(limits)
            key = Line2D([], [], color=style.GREY, linewidth=1.0, dashes=(1, 1.5), label="Gaussian reference")
            axes.legend(handles=[key], loc="lower right", frameon=False, fontsize=8.5)
        for text in (text for axes in figure.axes for text in axes.texts):  # names, which may stand on the reference
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8})
        return figure
