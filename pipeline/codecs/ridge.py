"""Ridge regression in closed form, its strength by generalised cross-validation.

    W = (Z'Z + a I)^-1 Z'X,    a least of  |X - Z W|^2 / (n - tr Z (Z'Z + a I)^-1 Z')^2

(Hoerl and Kennard 1970; Golub, Heath and Wahba 1979): it reads the fit rows alone, and all of them are solved on. From
Z'Z = U S U', every strength costs one pass over k numbers, so all of `STRENGTHS` (in units of the mean eigenvalue, two
a decade) are tried.
"""

import numpy as np

from pipeline.codec import Array

STRENGTHS = 10.0 ** np.arange(-8, 2.5, 0.5)


def solve(z: Array, x: Array) -> Array:
    """W float64 [k, d] with z W near x; z [n, k], x [n, d]. All zero where z is."""
    z, x = z.astype(np.float64), x.astype(np.float64)
    values, vectors = np.linalg.eigh(z.T @ z)
    values = np.clip(values, 0, None)
    if not values.any():
        return np.zeros((z.shape[1], x.shape[1]))
    moments = vectors.T @ (z.T @ x)
    strengths = STRENGTHS * values.mean()
    powers = np.einsum("kd,kd->k", moments, moments)
    scores = []
    for strength in strengths:
        shrunk = 1 / (values + strength)
        residual = (x * x).sum() - ((2 * shrunk - values * shrunk**2) * powers).sum()
        freedom = max(len(z) - (values * shrunk).sum(), 0)
        scores.append(max(residual, 0) / freedom**2 if freedom > 1e-6 * len(z) else np.inf)
    best = strengths[int(np.argmin(scores))]
    return vectors @ (moments / (values + best)[:, None])
