"""The entropy line of the picture of spikes: the fewest spikes a value that a uniform quantizer's integers take.

    python -m pipeline.evaluation.spike_bound --embeddings data/embeddings/minilm.parquet --seeds 0 1 2 \\
        --output results/spike_bound.csv

Makes a CSV file with a row for each embedding x bits x kind of slots: `entropy_bits`, that of the histogram of a
quantizer's integers over all values of the test rows (its range is calibrated on fit rows, as that of all codes of
integers); `relative_mse` of the values that they stand for; and `least_spikes_per_value`, the least w at which so many
slots of a value, each a spike with probability w / slots, carry the entropy, where spikes are `signed` with their signs
(`spikes/entropy_bound.py`). All are means over seeds.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline import stage
from pipeline.codec import Array
from pipeline.evaluation import fidelity
from pipeline.evaluation.table import write_csv
from pipeline.spikes import calibration
from pipeline.spikes.entropy_bound import least_spikes
from pipeline.split import check_rows, check_seeds, split
from pipeline.stage import UserError
from pipeline.store import read_embedding, unit_rows

BITS = range(2, 17)
SLOTS = ((16, False), (16, True), (256, False))
"""(slots a value, whether spikes have signs)"""


class Bound(NamedTuple):
    """A row of the file."""

    embedding: str
    bits: int
    slots: int
    signed: bool
    entropy_bits: float
    relative_mse: float
    least_spikes_per_value: float


def entropy(integers: Array) -> float:
    """Bits a value of the histogram of integers, of any shape."""
    counts = np.unique(integers, return_counts=True)[1]
    return float(np.log2(integers.size / counts) @ counts / integers.size)


def quantized(unit: Array, seed: int, bits: int, chosen: calibration.Choice | None = None) -> tuple[float, float]:
    """Entropy and relative mean squared error of test rows in integers of so many bits."""
    parts, highest = split(len(unit), seed), 2**bits - 1
    fit, test = unit[parts.fit], unit[parts.test]
    per = (chosen or calibration.Choice())._replace(beyond="clip")
    shared = calibration.fitted(fit, highest, False, per)
    q = calibration.integers(test, shared, 0, highest)
    errors = fidelity.squared_errors(test, calibration.values(q, shared), fit.mean(axis=0, dtype=np.float64))
    return entropy(q), float(errors[0].sum() / errors[1].sum())


def bounds(name: str, unit: Array, seeds: Sequence[int], chosen: calibration.Choice | None = None) -> list[Bound]:
    """The rows of one embedding; unit: its float32 rows [n, d]."""
    found = []
    for bits in BITS:
        rates, errors = zip(*(quantized(unit, seed, bits, chosen) for seed in seeds), strict=True)
        rate, error = float(np.mean(rates)), float(np.mean(errors))
        for slots, signed in SLOTS:
            least = float(np.mean([least_spikes(one, slots, signed) for one in rates]))
            found.append(Bound(name, bits, slots, signed, rate, error, least))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embeddings", nargs="+", type=Path, required=True, help="embedding tables")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--options", default="{}", help="`spikes` of the configuration, as JSON")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to make")
    args = parser.parse_args(argv)
    check_seeds(args.seeds)
    chosen = calibration.choice(stage.options(args.options))
    if twice := {path.stem for path in args.embeddings if [p.stem for p in args.embeddings].count(path.stem) > 1}:
        raise UserError(f"--embeddings: {min(twice)} is given twice")
    rows: list[Bound] = []
    for path in stage.progress(args.embeddings, "entropy line", unit="table"):
        table = read_embedding(path)
        check_rows(len(table.words), str(path))
        rows += bounds(path.stem, unit_rows(table.vectors), args.seeds, chosen)
    write_csv(args.output, Bound._fields, [row._asdict() for row in rows])


if __name__ == "__main__":
    sys.exit(stage.run(main))
