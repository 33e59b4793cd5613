"""A trained network beside a closed-form decoder: what components, or what is known of them, say of a row beyond it.

    r = e_b W_o (g_b * relu(W_i u + h_b)),    u the components' values, as long as what they add to a row

One pair of matrices serves every size b of a nested code. e_b, g_b and h_b lie between those of the sizes that it was
trained for, by log b; beyond the largest of them e_b falls to 0 at twice that size, where the cells say all: longer
codes hold the network for their prefixes alone. Matrices are shared as int8 (a scale a column), float32, or trits (a
scale for GROUP weights of a column).

`pipeline/training/matryoshka.py` trains it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.codec import Array
from pipeline.codecs.trits import PER_BYTE, pack, unpack, width

INT8, FLOAT, TERNARY = "int8", "float", "ternary"
LEVELS = 127
GROUP = 128


class Network(NamedTuple):
    """`inner` [k, h], `outer` [h, d]; `biases`, `gates` [s, h] and `gains` [s] of the `sizes` [s], in bits."""

    inner: Array
    outer: Array
    biases: Array
    gates: Array
    gains: Array
    sizes: Array


def stored(network: Network, form: str) -> dict[str, Array]:
    """The arrays that a codec shares. In the ternary form the matrices hold trits times scales already."""
    kept: dict[str, Array] = {
        "network_sizes": network.sizes.astype(np.uint32),
        "network_gains": network.gains.astype(np.float32),
        "network_biases": network.biases.astype(np.float16),
        "network_gates": network.gates.astype(np.float16),
    }
    for name, matrix in (("inner", network.inner), ("outer", network.outer)):
        kept |= {f"network_{name}{part}": array for part, array in _stored(matrix, form).items()}
    return kept


def _stored(matrix: Array, form: str) -> dict[str, Array]:
    if form == FLOAT:
        return {"": matrix.astype(np.float32)}
    if form == INT8:
        scale = np.abs(matrix).max(axis=0) / LEVELS
        levels = np.rint(np.divide(matrix, scale, out=np.zeros_like(matrix), where=scale > 0))
        return {"": levels.astype(np.int8), "_scale": scale.astype(np.float32)}
    scales = np.stack([np.abs(part).max(axis=0) for part in _groups(matrix)])  # of trits: of those that are not 0
    return {"": pack(np.sign(matrix).astype(np.int8).T), "_scale": scales.astype(np.float32)}


def _groups(matrix: Array) -> list[Array]:
    return [matrix[start : start + GROUP] for start in range(0, len(matrix), GROUP)]


def restored(shared: Mapping[str, Array], components: int) -> Network:
    """The network of what `stored` made, for the first so many components."""
    biases, gates = (shared[f"network_{name}"].astype(np.float32) for name in ("biases", "gates"))
    inner = _restored(shared, "network_inner", None)[:components]
    outer = _restored(shared, "network_outer", biases.shape[1])
    return Network(inner, outer, biases, gates, shared["network_gains"], shared["network_sizes"])


def _restored(shared: Mapping[str, Array], name: str, rows: int | None) -> Array:
    matrix, scale = shared[name], shared.get(f"{name}_scale")
    if scale is None:
        return matrix
    if matrix.dtype == np.int8:
        return matrix * scale
    spread = np.repeat(scale.astype(np.float32), GROUP, axis=0)
    trits = unpack(matrix, rows or matrix.shape[1] * PER_BYTE).T
    return trits * spread[: len(trits)]


def cut(shared: Mapping[str, Array], components: int) -> dict[str, Array]:
    """The same arrays for a code of the first so many components; nothing, if there is no network."""
    name, found = "network_inner", dict(shared)
    if not found:
        return found
    if shared["network_outer"].dtype == np.uint8:  # trits of an output side by side
        found[name] = shared[name][:, : width(components)]
        found[f"{name}_scale"] = shared[f"{name}_scale"][: -(-components // GROUP)]
    else:
        found[name] = shared[name][:components]
    return found


def serves(network: Network, bits: int) -> bool:
    """Whether the network has anything to say of a code of so many bits."""
    return bits < 2 * int(network.sizes[-1])


def residual(network: Network, u: Array, bits: int) -> Array:
    """r, float32 [n, d], of components u float32 [n, at least k]: those behind have bits only in longer codes."""
    places = np.log2(np.append(network.sizes, 2 * network.sizes[-1]).astype(np.float64))
    at = np.log2(bits)
    gain = np.float32(np.interp(at, places, np.append(network.gains, 0)))
    share = np.interp(at, places[:-1], np.arange(len(network.sizes)))
    below = min(int(share), len(network.sizes) - 1)
    above, part = min(below + 1, len(network.sizes) - 1), np.float32(share - int(share))
    bias, gate = ((1 - part) * of[below] + part * of[above] for of in (network.biases, network.gates))
    return gain * ((gate * np.maximum(u[:, : len(network.inner)] @ network.inner + bias, 0)) @ network.outer)
