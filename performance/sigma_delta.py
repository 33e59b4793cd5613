"""How fast sigma-delta encoding is, against a NumPy loop over coordinates that is vectorised over the vectors.

Both are given the same drives float32 [m, vectors], time first and contiguous (the layout that favours the loop), and
make the same packed signs, which is checked; one thread, interleaved, medians. Ours is the fused kernel of
pipeline/neurons/sigma_delta.py. Projection (fast JL) is timed apart; its peer is scipy's Hadamard matrix by BLAS.

What the kernel's time is made of: a drive is read once (4 bytes a bit) and a bit written, so `traffic` is what it moves
a second, and beside it, `copying`, what a NumPy copy of the same drives does: neither has a peer, so neither has a
ratio. `arithmetic` counts the additions, multiplications, comparison, subtraction and the two that pack a bit. Traffic
well below a copy's says that the kernel is bound by its arithmetic and the nearest caches, not by memory.

Makes   a CSV: what, size, unit, ours, peer, peer_value, ratio (above 1: ours is faster; empty: there is no peer).
"""

import sys
from collections.abc import Sequence

import numpy as np
from scipy.linalg import hadamard
from threadpoolctl import threadpool_limits

from performance.measurement import alone, medians, row, write_rows
from pipeline import bits, stage
from pipeline.codecs import projection
from pipeline.neurons import sigma_delta
from pipeline.stage import UserError

VECTORS = 1000
DIMS = 512  # of the projection's measurement: a power of two, so that both transform the same


def encoding(order: int, steps: int, runs: int) -> list[dict[str, str]]:
    """Bits a second of both, the kernel's traffic beside a copy's, and its operations beside the loop's."""
    limit = float(sigma_delta.bound(order) or 1) * sigma_delta.BELOW
    drive = np.random.default_rng(0).uniform(-limit, limit, (steps, VECTORS)).astype(np.float32)
    copy = np.empty_like(drive)

    def ours() -> np.ndarray:
        return sigma_delta.modulate(drive, order)

    def peer() -> np.ndarray:
        return bits.pack(numpy_loop(drive, order))

    if not (ours() == peer()).all():
        raise UserError("the kernel and the loop differ: nothing to compare")
    name = f"sigma-delta encoding, r = {order}"
    ours_s, peer_s, copy_s = medians(runs, name, ours, peer, lambda: np.copyto(copy, drive))
    coded, size = drive.size, f"{steps} bits x {VECTORS} vectors"
    operations = 2 * len(sigma_delta.TAPS[order]) + 4
    loop = "NumPy loop over coordinates"
    return [
        row(name, size, "bits/s", coded / ours_s, loop, coded / peer_s),
        row(
            f"{name}: arithmetic", size, "operations/s",
            operations * coded / ours_s, loop, operations * coded / peer_s,
        ),
        alone(f"{name}: traffic", size, "bytes/s", (drive.nbytes + coded / 8) / ours_s),
        alone(f"{name}: copying of the drives", size, "bytes/s", 2 * drive.nbytes / copy_s),
    ]  # fmt: skip


def numpy_loop(drive: np.ndarray, order: int) -> np.ndarray:
    """Signs bool [vectors, m]: what one writes without a kernel, a ring of the last errors, nothing allocated."""
    taps = [(delay, np.float32(float(weight))) for delay, weight in sigma_delta.TAPS[order].items()]
    errors = np.zeros((sigma_delta.MEMORY, drive.shape[1]), np.float32)
    high = np.empty(drive.shape, bool)
    part, sign = np.empty((2, drive.shape[1]), np.float32)
    for i, y in enumerate(drive):
        now = errors[i % len(errors)]
        if not taps:
            now[:] = y
        for place, (delay, weight) in enumerate(taps):
            np.multiply(errors[(i - delay) % len(errors)], weight, out=part)
            np.add(now if place else y, part, out=now)
        np.greater_equal(now, 0, out=high[i])
        np.multiply(high[i], np.float32(2), out=sign)
        np.subtract(sign, np.float32(1), out=sign)
        np.subtract(now, sign, out=now)
    return np.ascontiguousarray(high.T)


def projecting(steps: int, runs: int) -> dict[str, str]:
    """Drives a second of fast JL, against the same frame as a matrix."""
    x = np.random.default_rng(0).standard_normal((VECTORS, DIMS)).astype(np.float32)
    matrix = projection.fast_jl(np.eye(DIMS, dtype=np.float32), steps, 0)
    if not np.allclose(matrix @ x.T, projection.fast_jl(x, steps, 0), atol=1e-3):
        raise UserError("the transform and the matrix differ: nothing to compare")
    assert set(np.unique(matrix)) == set(np.unique(hadamard(DIMS).astype(np.float32)))
    ours_s, peer_s = medians(runs, "projection", lambda: projection.fast_jl(x, steps, 0), lambda: matrix @ x.T)
    size, count = f"{DIMS} values to {steps} x {VECTORS} vectors", steps * VECTORS
    return row("fast JL projection", size, "drives/s", count / ours_s, "the frame as a matrix, BLAS", count / peer_s)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--bits", type=int, default=4096, help="of a code")
    parser.add_argument("--runs", type=int, default=7, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    if args.runs < 1 or args.bits < 1:
        raise UserError("--runs and --bits must be at least 1")
    with threadpool_limits(1):
        rows = [one for order in (0, 1, 2, 3) for one in encoding(order, args.bits, args.runs)]
        write_rows(args.output, [*rows, projecting(args.bits, args.runs)])


if __name__ == "__main__":
    sys.exit(stage.run(main))
