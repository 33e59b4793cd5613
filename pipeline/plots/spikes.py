"""Draw spikes a value against the error of what is decoded from them.

    python -m pipeline.plots.spikes --benchmarks results/benchmarks.parquet --bound results/spike_bound.csv \\
        --output results/figures/spikes_by_distortion

Makes <output>.png (200 dpi) and <output>.svg.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import stage
from pipeline.plots import measurements, style
from pipeline.plots.spikes_by_distortion import read_bound, spikes_by_distortion


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--benchmarks", type=Path, required=True, help="the long table, benchmarks.parquet")
    parser.add_argument("--bound", type=Path, required=True, help="spike_bound.csv")
    parser.add_argument("--output", type=Path, required=True, help="picture to make, without suffix")
    args = parser.parse_args(argv)
    figure = spikes_by_distortion(measurements.read(args.benchmarks), read_bound(args.bound))
    stage.log.info("%s", " ".join(map(str, style.write(figure, args.output))))


if __name__ == "__main__":
    sys.exit(stage.run(main))
