"""Sobolev duals: the linear decoder of a sigma-delta code that needs no training.

The code holds y - q = N v with |v| <= 1 and N the modulator's noise filter. Of all F with F A = I, the one for which
|F N|_F is least is

    F = (N^-1 A)^+ N^-1

(Blum, Lammers, Powell and Yilmaz 2010, for N = D^r, the r-th difference: the Sobolev dual). Here N = delta - h is the
modulator's own filter, of which D^r is a factor: at r = 1 they are equal, at r = 2 and 3 the error is lower with the
own one. N is triangular, so N^-1 is a recursion. Order 0 has N = I and F = A^+. Computed in float64, by a QR.
"""

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.signal import lfilter

from pipeline.codec import Array, NotApplicableError, dimensions
from pipeline.neurons.sigma_delta import TAPS

SINGULAR = 1e-9  # relative pivot below which a frame does not tell all vectors apart


def noise_filter(order: int) -> Array:
    """Coefficients of delta - h, float64, by delay."""
    filter_ = np.zeros(1 + max(TAPS[order], default=0))
    filter_[0] = 1
    for delay, weight in TAPS[order].items():
        filter_[delay] = -float(weight)
    return filter_


def difference(order: int) -> Array:
    """Coefficients of D^r = (1 - z)^r, float64: with them `sobolev` is the Sobolev dual of the literature."""
    filter_ = np.ones(1)
    for _ in range(order):
        filter_ = np.convolve(filter_, [1.0, -1.0])
    return filter_


def sobolev(frame: Array, noise: Array) -> Array:
    """F float64 [d, m] for a frame A [m, d]. Raises NotApplicableError where m < d or A has not full rank."""
    steps, dims = frame.shape
    if steps < dims:
        raise NotApplicableError(f"{steps} bits cannot be decoded to {dimensions(dims)} by a dual frame")
    shaped = lfilter([1.0], noise, frame.astype(np.float64), axis=0)
    orthogonal, triangle = qr(shaped, mode="economic", overwrite_a=True, check_finite=False)
    pivots = np.abs(np.diag(triangle))
    if pivots.min() <= SINGULAR * pivots.max():
        raise NotApplicableError(f"the frame of {steps} rows does not tell all vectors of {dimensions(dims)} apart")
    # Q' N^-1 is (N'^-1 Q)', and N' is the recursion that runs backwards.
    backwards = lfilter([1.0], noise, orthogonal[::-1], axis=0)[::-1]
    return solve_triangular(triangle, backwards.T, check_finite=False)
