"""Ternary weights of a solved decoder: its matrix in 1.6 bits a weight, scales of its groups beside it.

After BitNet b1.58 (Ma et al. 2024), but post-training: the weights are solved for first. In each column (what one
output is made of) every `group` rows share a scale. Within a group, with g = mean |w|,

    t = clip(round(w / (c g)), -1, 1),    w' = s t,    s = sum w t / sum t^2  (least squares),

c the factor of least squared error over the whole matrix, found instead of assumed to be 1. Trits are packed five a
byte down the columns, scales are float16: 32 / (1.6 + 16 / group) times smaller than float32, 18.6 times at 128.
"""

import numpy as np

from pipeline.codec import Array
from pipeline.codecs import trits
from pipeline.codecs.ternary import best_factor, least_squares, ternarize
from pipeline.stage import UserError

GROUP = 128
LARGEST = float(np.finfo(np.float16).max)


def ternarize_weights(weights: Array, group: int = GROUP) -> tuple[Array, Array]:
    """float [bits, d] -> packed trits uint8 [d, ceil(bits / 5)] and scales float16 [d, ceil(bits / group)].

    Raises UserError where a scale is beyond float16.
    """
    bits, dims = weights.shape
    count = -(-bits // group)
    grouped = np.zeros((count * group, dims), np.float32)
    grouped[:bits] = weights
    grouped = grouped.reshape(count, group, dims).transpose(1, 2, 0).reshape(group, -1)  # a group a column
    size = np.abs(grouped).sum(axis=0, dtype=np.float64) / np.repeat(_sizes(bits, group)[None], dims, 0).ravel()
    found = ternarize(grouped, (best_factor(grouped, size) * size).astype(np.float32))
    exact = least_squares(grouped, found)
    if not exact.max() <= LARGEST:
        raise UserError(f"ternary weights of about {exact.max():.3g}: their scales are float16, up to {LARGEST:,.0f}")
    scales = exact.astype(np.float16).reshape(dims, count)
    columns = found.reshape(group, dims, count).transpose(1, 2, 0).reshape(dims, -1)[:, :bits]
    return trits.pack(columns), scales


def restore_weights(packed: Array, scales: Array, bits: int, group: int = GROUP) -> Array:
    """float32 [bits, d] from what `ternarize_weights` made. Raises UserError where the trits are none."""
    return (trits.unpack(packed, bits) * np.repeat(scales.astype(np.float32), group, axis=1)[:, :bits]).T


def _sizes(bits: int, group: int) -> Array:
    """How many rows each group has: the last one may have fewer."""
    return np.diff(np.append(np.arange(0, bits, group), bits))
