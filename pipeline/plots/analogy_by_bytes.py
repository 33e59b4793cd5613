"""Analogy questions answered right, semantic and syntactic pooled, against bytes per vector."""

from matplotlib.figure import Figure

from pipeline.plots.by_bytes import by_bytes
from pipeline.plots.measurements import Benchmarks, on_codes, pooled


def analogy_by_bytes(benchmarks: Benchmarks) -> Figure:
    return by_bytes(
        {embedding: on_codes(rows) for embedding, rows in benchmarks.items()},
        pooled("analogy_semantic", "analogy_syntactic"),
        "Analogy questions answered, by bytes per vector",
        "share answered right (3CosAdd)",
        "no analogy question is covered",
    )
