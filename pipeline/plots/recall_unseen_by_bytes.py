"""Recall of the ten nearest neighbours among the test rows, which no code was fitted on, against bytes per vector."""

from matplotlib.figure import Figure

from pipeline.plots.by_bytes import by_bytes
from pipeline.plots.measurements import Benchmarks, metric


def recall_unseen_by_bytes(benchmarks: Benchmarks) -> Figure:
    return by_bytes(
        benchmarks,
        metric("knn10_overlap_unseen"),
        "Nearest neighbours kept among unseen vectors, by bytes per vector",
        "recall@10 among test rows",
        "no recall was measured",
    )
