"""What the dimensions of a row say about each other: a Gaussian for each value, given the values before it in its row.

For whole numbers S (bins of the values, of steps about 1/64 of the spread), dimension after dimension:

    S_j ~ N(mu_j, (s_j v_j)^2),   mu_j = 1 / F_j sum_(k<j) w_kj G_k S_k,   v_j^2 = (8 + sum_(k<j) t_k^2) / (8 + j),

S_j counted from the dimension's median, F and G powers of two, t_k = (S_k - mu_k) / s_k the residuals before. The
weights come from the Cholesky factor of the fit rows' correlation with a small ridge: the Gaussian of full covariance,
written as a chain. v follows the length of the row, which differs widely between words, without being stored. Weights
are small whole numbers, entropy-coded in `shared`; they are kept only if they save more on held-out fit rows than they
cost.

Coder and decoder must compute the same to the last bit. Sums are of whole numbers in float64 (exact in any order, so
for any BLAS), all else is single IEEE operations on elements.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.codec import Array
from pipeline.codecs.positional import NO_BIN
from pipeline.codecs.range_coder import Reader, Writer

LIMIT = 1 << 13  # bins from the mean; farther ones, and values without a bin, are an escape
ESCAPE = -LIMIT
MOST = 127  # the largest weight
RIDGE = 0.01
PRIOR = 8.0  # what the row's scale starts with, in values
BLOCK = 32
LEAST = 0.2  # of a bin: the smallest deviation
Code = Callable[[int, Array, Array], Array]
"""(dimension, mean [n], deviation [n]) -> symbols int64 [n], bins from the dimension's centre or ESCAPE."""


@dataclass(frozen=True)
class Chain:
    """Weights int8 [d, d], strictly upper triangular; `gain` and `shift` int8 [d], the exponents of G and F."""

    weights: Array
    gain: Array
    shift: Array


@dataclass(frozen=True)
class RowModel:
    """`centre` and `deviation` float32 [d] in bins, and what predicts a dimension from those before it, if anything."""

    centre: Array
    deviation: Array
    chain: Chain | None


def walk(model: RowModel, rows: int, code: Code) -> Array:
    """Have every dimension coded (or decoded) in turn; the symbols, int64 [rows, d]."""
    dims = len(model.centre)
    symbols = np.empty((rows, dims), np.int64)
    scaled = np.empty((rows, dims))  # G_k S_k: whole numbers
    known = np.zeros((rows, dims))  # the weighted sums over the blocks before
    squares, chain = np.full(rows, PRIOR), model.chain
    weights = None if chain is None else chain.weights.astype(np.float64)
    for start in range(0, dims, BLOCK):
        stop = min(start + BLOCK, dims)
        for j in range(start, stop):
            mean = np.zeros(rows)
            if chain is not None and weights is not None:
                mean = (known[:, j] + scaled[:, start:j] @ weights[start:j, j]) / 2.0 ** int(chain.shift[j])
            deviation = np.maximum(float(model.deviation[j]) * np.sqrt(squares / (PRIOR + j)), LEAST)
            column = symbols[:, j] = code(j, mean, deviation)
            escaped = column == ESCAPE
            scaled[:, j] = np.where(escaped, 0, column) * (1 if chain is None else 2.0 ** int(chain.gain[j]))
            squares += np.where(escaped, 1, np.minimum(((column - mean) / float(model.deviation[j])) ** 2, 64))
        if weights is not None:
            known[:, stop:] += scaled[:, start:stop] @ weights[start:stop, stop:]
    return symbols


def write(model: RowModel, symbols: Array, writer: Writer) -> None:
    """Code symbols int64 [n, d]."""

    def code(j: int, mean: Array, deviation: Array) -> Array:
        writer.gaussian(symbols[:, j], LIMIT, mean, deviation)
        return symbols[:, j]

    walk(model, len(symbols), code)


def read(model: RowModel, rows: int, reader: Reader) -> Array:
    """The symbols that `write` coded, int64 [rows, d]."""
    return walk(model, rows, lambda _, mean, deviation: reader.gaussian(LIMIT, mean, deviation))


def expected_bits(model: RowModel, symbols: Array) -> float:
    """Bits of these symbols under the model, as a density: what is compared, not what is stored."""
    bits = 0.0

    def code(j: int, mean: Array, deviation: Array) -> Array:
        nonlocal bits
        distance = np.where(symbols[:, j] == ESCAPE, 0, (symbols[:, j] - mean) / deviation)
        bits += float(np.sum(np.log2(deviation) + distance**2 * (np.log2(np.e) / 2)))
        return symbols[:, j]

    walk(model, len(symbols), code)
    return bits


def relative(numbers: Array, centre: Array) -> Array:
    """Bin numbers int64 [n, d] -> symbols: bins from the centre, ESCAPE where that is too far."""
    symbols = numbers - np.rint(centre).astype(np.int64)
    return np.where((np.abs(symbols) < LIMIT) & (numbers != NO_BIN), symbols, ESCAPE)


def absolute(symbols: Array, centre: Array) -> Array:
    """Bin numbers back from symbols that are no ESCAPE."""
    return symbols + np.rint(centre).astype(np.int64)


def fit(numbers: Array, held: Array) -> RowModel:
    """The model of bin numbers int64 [n, d] (those too far out for any use are left to the escape).

    `held` bool [n]: rows by which it is decided whether weights are worth their bytes.
    """
    centre = np.rint(np.median(numbers, axis=0)).astype(np.float32)
    symbols = relative(numbers, centre)
    plain = _plain(symbols, centre)
    if len(symbols) < 20 or symbols.shape[1] < 2:
        return plain
    trial, alone = _weighted(symbols[~held], plain), _plain(symbols[~held], centre)
    saved = expected_bits(alone, symbols[held]) - expected_bits(trial, symbols[held])
    cost = (
        8 * sum(array.nbytes for array in packed(trial.chain).values()) * held.mean()
    )  # the fit rows together pay for the weights
    return _weighted(symbols, plain) if saved > cost else plain


def _plain(symbols: Array, centre: Array) -> RowModel:
    values = np.where(symbols == ESCAPE, 0, symbols)
    return RowModel(centre, np.maximum(np.sqrt(np.mean(values**2.0, axis=0)), LEAST).astype(np.float32), None)


def _weighted(symbols: Array, plain: RowModel) -> RowModel:
    """Weights from the correlation's Cholesky factor L: row j of I - diag(L) L^-1 predicts z_j from those before."""
    values = np.where(symbols == ESCAPE, 0, symbols).astype(np.float64)
    spread = np.maximum(np.sqrt(np.mean(values**2, axis=0)), LEAST)
    z = values / spread
    dims = z.shape[1]
    factor = np.linalg.cholesky(z.T @ z / len(z) + RIDGE * np.eye(dims))
    chain = np.eye(dims) - np.diag(factor)[:, None] * np.linalg.inv(factor)
    left = np.maximum((z - z @ chain.T).std(axis=0) * spread, LEAST)
    # Inputs are brought near 512, so that all weights are alike; a weight's unit is then 1/64 of what is left to say of
    # the output, or as much more as the column's largest weight needs.
    gain = np.clip(np.rint(9 - np.log2(spread)), 0, 12)
    exact = np.triu(chain.T * (spread[None, :] / (spread * np.exp2(gain))[:, None]), 1)
    most = np.maximum(np.abs(exact).max(axis=0), 1e-6)
    shift = np.floor(np.minimum(15 - np.log2(left), np.log2(MOST / most)))
    weights = np.rint(exact * np.exp2(shift)).astype(np.int8)
    return RowModel(plain.centre, left.astype(np.float32), Chain(weights, gain.astype(np.int8), shift.astype(np.int8)))


def packed(chain: Chain | None) -> dict[str, Array]:
    """A chain as named arrays: `weights` uint8, entropy-coded by `weight_counts` uint8 [255], `gain` and `shift`."""
    if chain is None:
        return {}
    values = chain.weights[np.triu_indices(len(chain.weights), 1)].astype(np.int64) + MOST
    counts = np.bincount(values, minlength=2 * MOST + 1)
    table = np.ceil(counts * (255 / max(counts.max(), 1))).astype(np.uint8)
    writer = Writer()
    writer.categorical(values, _chances(table))
    data = np.frombuffer(writer.bytes(), np.uint8)
    return {"weights": data, "weight_counts": table, "gain": chain.gain, "shift": chain.shift}


def unpacked(arrays: Mapping[str, Array]) -> Chain | None:
    """The chain that `packed` made these arrays of (among others); None where they hold none."""
    if "weights" not in arrays:
        return None
    dims = len(arrays["gain"])
    weights = np.zeros((dims, dims), np.int8)
    values = Reader(arrays["weights"].tobytes()).categorical(dims * (dims - 1) // 2, _chances(arrays["weight_counts"]))
    weights[np.triu_indices(dims, 1)] = values - MOST
    return Chain(weights, arrays["gain"], arrays["shift"])


def _chances(table: Array) -> Array:
    return (table / table.sum(dtype=np.float64)).astype(np.float64)
