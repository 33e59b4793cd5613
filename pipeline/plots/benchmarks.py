"""Draw the pictures of the benchmark table.

    python -m pipeline.plots.benchmarks --table results/benchmarks.parquet --output results/figures

Makes <output>/<figure>.png (200 dpi) and <output>/<figure>.svg for each figure: recall_by_bytes,
recall_unseen_by_bytes, analogy_by_bytes, datasets. What the table does not hold is said in the picture.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pipeline import stage
from pipeline.plots import measurements, style
from pipeline.plots.analogy_by_bytes import analogy_by_bytes
from pipeline.plots.datasets import datasets
from pipeline.plots.measurements import Benchmarks
from pipeline.plots.recall_by_bytes import recall_by_bytes
from pipeline.plots.recall_unseen_by_bytes import recall_unseen_by_bytes

FIGURES: Mapping[str, Callable[[Benchmarks], Figure]] = {
    "recall_by_bytes": recall_by_bytes,
    "recall_unseen_by_bytes": recall_unseen_by_bytes,
    "analogy_by_bytes": analogy_by_bytes,
    "datasets": datasets,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="the long table, benchmarks.parquet")
    parser.add_argument("--output", type=Path, required=True, help="directory for the pictures")
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=list(FIGURES), help="which to draw")
    args = parser.parse_args(argv)
    benchmarks = measurements.read(args.table)
    for name in args.figures:
        written = style.write(FIGURES[name](benchmarks), args.output / name)
        stage.log.info("%s", " ".join(map(str, written)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
