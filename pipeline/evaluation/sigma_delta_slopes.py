"""How the error of sigma-delta distances falls with the number of bits, on pairs of rows of a table.

    python -m pipeline.evaluation.sigma_delta_slopes --embedding data/embeddings/minilm.parquet \\
        --output results/sigma_delta/minilm.parquet

p blocks of lambda steps are condensed to p numbers by V (pipeline/codecs/condensation.py); m = p lambda grows, p stays.
With drives y = A x and signs q of rows a and b, e(q) = |V (q_a - q_b)|_1 and e(y) = |V (y_a - y_b)|_1 are estimates:

    residual      = mean |e(q) - e(y)| / |a - b|
    sketch_error  = mean |V (q_a - q_b) - V (y_a - y_b)|_1 / |a - b|, no less than the residual: nothing cancels in it
    total         = mean |e(q) / |a - b| - 1|

Residual and sketch error fall as m^-(r - 1/2) (Zhang and Saab, ICLR 2021); at r = 1 the residual falls a little faster,
for noise that is not small against the sketch also adds to its length, as m^-1. The total stops at the floor that p
Gaussian rows have, sqrt(pi/2 - 1) sqrt(2/pi) / sqrt(p) = 0.603 / sqrt(p), by the central limit theorem. So slopes are
those of the residual. One scale serves all vectors of a draw, the largest that is stable.

Makes a Parquet file, a row an order, frame and m: embedding, order, frame, length, p, m, residual,
sketch_error, total, floor, draws, pairs.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from pipeline import bits, stage
from pipeline.codec import Array
from pipeline.codecs import projection
from pipeline.codecs.condensation import Window
from pipeline.neurons import sigma_delta
from pipeline.stage import UserError
from pipeline.store import array_digest, read_embedding, unit_rows, versions, write_parquet

FRAMES = ("gaussian", "fast_jl")
BLOCK_SIZES = (64, 128, 256, 512)  # lambda, about: above the modulators' memory of 25 steps


def floor(p: int) -> float:
    """Mean absolute relative error of the l1 estimate from p Gaussian rows without quantisation."""
    return float(np.sqrt(np.pi / 2 - 1) * np.sqrt(2 / np.pi) / np.sqrt(p))


def draw(frame: str, x: Array, most: int, seed: int) -> Callable[[int], Array]:
    """m -> drives float32 [m, n] of the rows x, for m up to `most`. Rows of a Gaussian frame are independent, so that
    the first m of one that is larger are a frame of m rows; of fast JL each m has its own."""
    if frame == "gaussian":
        whole = projection.dense_gaussian(x, most, seed)
        return lambda steps: whole[:steps]
    return lambda steps: projection.fast_jl(x, steps, seed)


def sketches(drive: Array, window: Window) -> tuple[Array, Array]:
    """V (q_a - q_b) and V (y_a - y_b) of the first half of the vectors and the second, float64 [n / 2, p] each."""
    limit = sigma_delta.bound(window.order)
    assert limit is not None
    scale = np.abs(drive).max() / np.float32(float(limit) * sigma_delta.BELOW)
    scaled = drive / scale
    signs = bits.signs(sigma_delta.modulate(scaled, window.order), len(scaled))
    found = []
    for series in (signs, scaled.T):
        first, second = np.split(series.astype(np.float64), 2)
        found.append(window.sums(first - second) * window.factor * float(scale))
    return found[0], found[1]


def errors(x: Array, y: Array, frame: str, chosen: Sequence[Window], seeds: Sequence[int]) -> dict[str, list[float]]:
    """Mean residual, sketch_error and total over pairs of rows x, y float32 [n, d] and draws of the frame, a window."""
    true = np.linalg.norm(x.astype(np.float64) - y, axis=1)
    found = np.zeros((3, len(seeds), len(chosen)))
    for place, seed in enumerate(seeds):
        drives = draw(frame, np.concatenate([x, y]), max(one.blocks * one.size for one in chosen), seed)
        for i, window in enumerate(chosen):
            coded, exact = sketches(drives(window.blocks * window.size), window)
            from_signs, from_drives = (np.abs(sketch).sum(axis=1) for sketch in (coded, exact))
            apart = np.abs(coded - exact).sum(axis=1)
            for k, error in enumerate((np.abs(from_signs - from_drives), apart, np.abs(from_signs - true))):
                found[k, place, i] = np.mean(error / true)
    return dict(zip(("residual", "sketch_error", "total"), found.mean(axis=1).tolist(), strict=True))


def windows(order: int, p: int) -> list[Window]:
    """Windows of growing length with p blocks each, lambda at or just above BLOCK_SIZES."""
    lengths = [-(-(size - 1) // order) + 1 for size in BLOCK_SIZES]
    return [Window(order, length, p * (order * (length - 1) + 1)) for length in lengths]


def slope(steps: Sequence[float], residuals: Sequence[float]) -> float:
    """Of log residual against log m, by least squares."""
    return float(np.polyfit(np.log(steps), np.log(residuals), 1)[0])


def pick_pairs(unit: Array, count: int, seed: int) -> tuple[Array, Array]:
    """Up to `count` pairs of rows that differ. Raises UserError where there is none."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(unit), count)
    second = (first + rng.integers(1, max(2, len(unit)), count)) % len(unit)
    apart = (unit[first] != unit[second]).any(axis=1)
    if not apart.any():
        raise UserError("no two rows of the table differ: there are no distances to estimate")
    return unit[first[apart]], unit[second[apart]]


def measure(unit: Array, p: int, pairs: int, draws: int, seed: int) -> list[dict[str, Any]]:
    """A row an order, frame and m, of unit rows [n, d]."""
    x, y = pick_pairs(unit, pairs, seed)
    chosen = [window for order in (1, 2, 3) for window in windows(order, p)]
    rows = []
    for frame in stage.progress(FRAMES, "sigma-delta slopes", unit="frame"):
        found = errors(x, y, frame, chosen, range(seed, seed + draws))
        for i, window in enumerate(chosen):
            rows.append(
                {
                    **{"order": window.order, "frame": frame, "length": window.length, "p": p, "m": p * window.size},
                    **{name: values[i] for name, values in found.items()},
                    **{"floor": floor(p), "draws": draws, "pairs": len(x)},
                }
            )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table")
    parser.add_argument("--p", type=int, default=64, help="numbers that a code is condensed to")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of rows")
    parser.add_argument("--draws", type=int, default=5, help="draws of the frame")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    args = parser.parse_args(argv)
    if min(args.p, args.pairs, args.draws) < 1 or args.seed < 0:
        raise UserError("--p, --pairs and --draws must be at least 1, --seed at least 0")
    table = read_embedding(args.embedding)
    with threadpool_limits(1):
        rows = measure(unit_rows(table.vectors), args.p, args.pairs, args.draws, args.seed)
    for order in (1, 2, 3):
        for frame in FRAMES:
            own = [row for row in rows if (row["order"], row["frame"]) == (order, frame)]
            found = [
                slope([row["m"] for row in own], [row[key] for row in own]) for key in ("residual", "sketch_error")
            ]
            text = "order %d, %s: residual falls as m^%.2f, sketch error as m^%.2f (theory %.1f)"
            stage.log.info(text, order, frame, *found, 0.5 - order)
    named = pa.Table.from_pylist([{"embedding": args.embedding.stem, **row} for row in rows])
    facts = {"embedding_digest": array_digest(table.vectors), "versions": str(versions("numpy", "numba"))}
    write_parquet(args.output, named, facts)


if __name__ == "__main__":
    sys.exit(stage.run(main))
