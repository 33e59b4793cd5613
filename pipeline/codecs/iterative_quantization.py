"""Iterative quantization: the rotation of centred rows whose signs lie nearest to them (Gong and Lazebnik 2011).

    minimise |B - Y R|^2,    B = sign(Y R),  R orthogonal

in turns: B from R, then R = U V' from the singular value decomposition Y' B = U S V'. It begins with a random rotation.
"""

import numpy as np

from pipeline.codec import Array

TURNS = 10


def rotation(y: Array, seed: int) -> Array:
    """R, float64 [k, k], for rows y float64 [n, k]."""
    found = np.linalg.qr(np.random.default_rng(seed).standard_normal((y.shape[1], y.shape[1])))[0]
    for _ in range(TURNS):
        left, _, right = np.linalg.svd(y.T @ np.where(y @ found > 0, 1.0, -1.0))
        found = left @ right
    return found
