"""Recall of the ten nearest neighbours among all other rows, against bytes per vector."""

from matplotlib.figure import Figure

from pipeline.plots.by_bytes import by_bytes
from pipeline.plots.measurements import Benchmarks, metric


def recall_by_bytes(benchmarks: Benchmarks) -> Figure:
    return by_bytes(
        benchmarks,
        metric("knn10_overlap"),
        "Nearest neighbours kept, by bytes per vector",
        "recall@10 among all rows",
        "no recall was measured",
    )
