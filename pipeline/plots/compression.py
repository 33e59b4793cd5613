"""Draw the pictures of the ledger and of the stream.

    python -m pipeline.plots.compression --benchmarks results/benchmarks.parquet --ledger results/compression.csv \\
        --stream results/stream.parquet --output results/figures

Makes <output>/distortion_by_bytes and, where --stream is given, <output>/stream_by_tokens, each as .png (200 dpi) and
.svg.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import stage
from pipeline.plots import measurements, style
from pipeline.plots.distortion_by_bytes import distortion_by_bytes, read_reference
from pipeline.plots.stream_by_tokens import read, stream_by_tokens


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--benchmarks", type=Path, required=True, help="the long table, benchmarks.parquet")
    parser.add_argument("--ledger", type=Path, required=True, help="compression.csv")
    parser.add_argument("--stream", type=Path, help="the long form of the stream, stream.parquet")
    parser.add_argument("--output", type=Path, required=True, help="directory for the pictures")
    args = parser.parse_args(argv)
    figures = {
        "distortion_by_bytes": distortion_by_bytes(measurements.read(args.benchmarks), read_reference(args.ledger))
    }
    if args.stream:
        figures["stream_by_tokens"] = stream_by_tokens(read(args.stream))
    for name, figure in figures.items():
        written = style.write(figure, args.output / name)
        stage.log.info("%s", " ".join(map(str, written)))


if __name__ == "__main__":
    sys.exit(stage.run(main))
