"""The neurons of `leaky` over time on the CPU: a loop in blocks of neurons that stay in the cache, on all threads.

Forward nothing is kept but spikes and the last state. Backward the potentials of a block are computed again from the
current, bit for bit, which costs less than writing and reading them would. No multiply and add are fused into one
rounding, so spikes and potentials are those of the reference.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import numba
import numpy as np
import torch
from torch import Tensor

from pipeline.neurons.frame import Frame, Gradients, Neurons, Outcome
from pipeline.neurons.recycled import Recycled

T = TypeVar("T")

CACHED = 1 << 16
"""Values of a block over all steps: 256 KiB of float32 in a cache of 1 MiB or so."""
NARROWEST, WIDEST = 64, 512
SMALL = 1 << 19
"""Values under which a second thread costs more than it does."""
KINDS = {"atan": 0, "fast_sigmoid": 1, "sigmoid": 2, "triangle": 3}


def forward(
    current: Tensor, neurons: Neurons, frame: Frame, keep: bool, inplace: bool = False
) -> tuple[Outcome, tuple[Tensor, ...]]:
    """Spikes and the last state of a current [T, M, N]; what `backward` is to be given (nothing if not `keep`).

    With `inplace` spikes take the place of the current.
    """
    spikes = current if inplace else _memory().empty(current.shape, current.dtype)
    last = [torch.empty_like(current[0]) for _ in range(3)]
    arrays = [one.numpy() for one in neurons]
    _over_blocks(
        current,
        lambda first, end, width: _forward(  # type: ignore[call-arg]
            current.numpy(), *arrays, *_flags(frame), _constants(frame, current.dtype),
            *(first, end, width, spikes.numpy()), *(one.numpy() for one in last),
        ),
    )  # fmt: skip
    return Outcome(spikes, *last), (current,) if keep else ()


def backward(kept: Sequence[Tensor], neurons: Neurons, frame: Frame, by: Outcome) -> Gradients:
    """Gradients of all inputs, given those `by` what came out."""
    (current,) = kept
    through = _memory().empty(current.shape, current.dtype)
    states = [torch.empty_like(current[0]) for _ in range(2)]
    arrays = [one.numpy() for one in neurons]

    def work(first: int, end: int, width: int) -> np.ndarray:
        sums = np.zeros((4, current.shape[2]))
        _backward(  # type: ignore[call-arg]
            current.numpy(), *arrays, *_flags(frame), KINDS[frame.surrogate.name], _constants(frame, current.dtype),
            *(first, end, width), by.spikes.numpy(), by.potential.numpy(), by.trace.numpy(),
            through.numpy(), *(one.numpy() for one in states), sums,
        )  # fmt: skip
        return sums

    sums = torch.from_numpy(sum(_over_blocks(current, work))).to(current.dtype)
    return Gradients(through, *sums, *states)


def _flags(frame: Frame) -> tuple[bool, bool, bool]:
    return frame.reset == "immediate", frame.adaptive, frame.bounds is not None


@cache
def _constants(frame: Frame, dtype: torch.dtype) -> np.ndarray:
    """In the current's type, lest loops be widened to float64: low, high, alpha, a slope's factor of x, 0, 1, 1/2."""
    alpha = frame.surrogate.alpha
    factor = math.pi / 2 * alpha if frame.surrogate.name == "atan" else alpha
    low, high = frame.bounds or (-math.inf, math.inf)
    return torch.tensor([low, high, alpha, factor, 0, 1, 0.5], dtype=dtype).numpy()


def _over_blocks(current: Tensor, work: Callable[[int, int, int], T]) -> list[T]:
    steps, rows, neurons = current.shape
    width = min(WIDEST, max(NARROWEST, CACHED // steps // 16 * 16))
    blocks = rows * -(-neurons // width)
    threads = min(torch.get_num_threads(), blocks) if current.numel() > SMALL else 1
    if threads == 1:
        return [work(0, blocks, width)]
    edges = [blocks * i // threads for i in range(threads + 1)]
    others = [_pool(threads - 1).submit(work, *pair, width) for pair in pairwise(edges[1:])]
    return [work(0, edges[1], width), *(one.result() for one in others)]


@cache
def _memory() -> Recycled:
    return Recycled()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "leaky")


# A block's parameters and state lie in one array at distances that compilers know: with an array each, a loop has more
# pairs that might overlap than they check, and stays scalar. Vectorised, one loop a step goes through the cache once,
# several times as fast as a loop for each line of the equations. Its flags are constants where neither adaptation nor
# bounds are wanted: inlined, what is not meant is not there.
_V, _S, _A, _BETA, _TAU, _FULL, _KAPPA, _RHO = (i * WIDEST for i in range(8))
_X, _SLOPE, _BY_U, _BY_V, _BY_A, _TO_BETA, _TO_FULL, _TO_KAPPA, _TO_RHO = (i * WIDEST for i in range(8, 17))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _load(w, n, lo, m, decay, tau, threshold, strength, rho, v0, s0, a0):  # type: ignore[no-untyped-def]
    w[_V : _V + n] = v0[m, lo : lo + n]
    w[_S : _S + n] = s0[m, lo : lo + n]
    w[_A : _A + n] = a0[m, lo : lo + n]
    w[_BETA : _BETA + n] = decay[lo : lo + n]
    w[_TAU : _TAU + n] = tau[lo : lo + n]
    w[_FULL : _FULL + n] = threshold[lo : lo + n]
    w[_KAPPA : _KAPPA + n] = strength[lo : lo + n]
    w[_RHO : _RHO + n] = rho[lo : lo + n]


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _step_as(w, x, immediate, adaptive, bounded, k, u, s):  # type: ignore[no-untyped-def]
    """u, charged and not yet bounded, and s of a step; the state in w goes on by one."""
    low, high, zero, one = k[0], k[1], k[4], k[5]
    for j in range(len(x)):
        full, v = w[_FULL + j], w[_V + j]
        charged = v - v / w[_TAU + j] + x[j] if immediate else w[_BETA + j] * v + x[j] - w[_S + j] * full
        u[j] = charged
        if bounded:
            charged = low if charged < low else charged
            charged = high if charged > high else charged
        theta = full + w[_KAPPA + j] * w[_A + j] if adaptive else full
        above = charged - theta
        fired = one if above > zero or (immediate and above == zero) else zero
        w[_V + j] = charged - fired * full if immediate else charged
        w[_S + j] = fired
        if adaptive:
            w[_A + j] = w[_RHO + j] * w[_A + j] + fired
        s[j] = fired


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _step(w, x, immediate, adaptive, bounded, k, u, s):  # type: ignore[no-untyped-def]
    if adaptive or bounded:
        _step_as(w, x, immediate, adaptive, bounded, k, u, s)
    elif immediate:
        _step_as(w, x, True, False, False, k, u, s)
    else:
        _step_as(w, x, False, False, False, k, u, s)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _forward(  # type: ignore[no-untyped-def]
    current, decay, tau, threshold, strength, rho, v0, s0, a0,
    immediate, adaptive, bounded, k, first, end, width, spikes, v_last, s_last, a_last,
):  # fmt: skip
    steps, _, neurons = current.shape
    across = -(-neurons // width)
    w = np.empty(8 * WIDEST, current.dtype)
    u = np.empty(width, current.dtype)
    for block in range(first, end):
        m, lo = block // across, block % across * width
        n = min(neurons - lo, width)
        _load(w, n, lo, m, decay, tau, threshold, strength, rho, v0, s0, a0)
        for t in range(steps):
            _step(
                w, current[t, m, lo : lo + n], immediate, adaptive, bounded, k, u[:n], spikes[t, m, lo : lo + n]
            )  # fmt: skip
        v_last[m, lo : lo + n] = w[_V : _V + n]
        s_last[m, lo : lo + n] = w[_S : _S + n]
        a_last[m, lo : lo + n] = w[_A : _A + n]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _excess(w, u, trace, adaptive, bounded, k):  # type: ignore[no-untyped-def]
    """x: the potential less the threshold, of a step's u."""
    low, high = k[0], k[1]
    for j in range(len(u)):
        charged = u[j]
        if bounded:
            charged = low if charged < low else charged
            charged = high if charged > high else charged
        w[_X + j] = charged - (w[_FULL + j] + w[_KAPPA + j] * trace[j] if adaptive else w[_FULL + j])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _slopes(w, gs, kind, k):  # type: ignore[no-untyped-def]
    """The surrogate's slope at x, times the gradient of the spikes."""
    alpha, factor, zero, one = k[2], k[3], k[4], k[5]
    n = len(gs)
    if kind == 0:
        top = alpha * k[6]
        for j in range(n):
            x = factor * w[_X + j]
            w[_SLOPE + j] = gs[j] * (top / (one + x * x))
    elif kind == 1:
        for j in range(n):
            x = one + factor * abs(w[_X + j])
            w[_SLOPE + j] = gs[j] / (x * x)
    elif kind == 2:
        for j in range(n):
            p = one / (one + np.exp(-factor * w[_X + j]))
            w[_SLOPE + j] = gs[j] * (alpha * p * (one - p))
    else:
        for j in range(n):
            x = one - abs(w[_X + j])
            w[_SLOPE + j] = gs[j] * (alpha * (x if x > zero else zero))


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _step_back_as(w, u, trace, immediate, adaptive, bounded, k, gx):  # type: ignore[no-untyped-def]
    """Gradients through one step, its slopes known: _BY_U is that of the step after, whose v and s are this one's."""
    low, high, zero, one = k[0], k[1], k[4], k[5]
    for j in range(len(u)):
        charged, full, slope, by_v = u[j], w[_FULL + j], w[_SLOPE + j], w[_BY_V + j]
        inside = charged >= low and charged <= high
        if bounded:
            charged = low if charged < low else charged
            charged = high if charged > high else charged
        above = w[_X + j]
        fired = one if above > zero or (immediate and above == zero) else zero
        w[_TO_BETA + j] += w[_BY_U + j] * (charged - fired * full if immediate else charged)
        w[_TO_FULL + j] -= slope + fired * (by_v if immediate else w[_BY_U + j])
        through = slope + by_v
        if bounded:
            through = through if inside else zero
        gx[j] = through
        w[_BY_U + j] = through
        w[_BY_V + j] = w[_BETA + j] * through
        if adaptive:
            by_a = w[_BY_A + j]
            w[_TO_RHO + j] += by_a * trace[j]
            w[_TO_KAPPA + j] -= slope * trace[j]
            w[_BY_A + j] = w[_RHO + j] * by_a - slope * w[_KAPPA + j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _step_back(w, u, trace, immediate, adaptive, bounded, k, gx):  # type: ignore[no-untyped-def]
    if adaptive or bounded:
        _step_back_as(w, u, trace, immediate, adaptive, bounded, k, gx)
    elif immediate:
        _step_back_as(w, u, trace, True, False, False, k, gx)
    else:
        _step_back_as(w, u, trace, False, False, False, k, gx)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _backward(  # type: ignore[no-untyped-def]
    current, decay, tau, threshold, strength, rho, v0, s0, a0,
    immediate, adaptive, bounded, kind, k, first, end, width, by_s, by_v, by_a, through, through_v, through_a, sums,
):  # fmt: skip
    steps, _, neurons = current.shape
    across = -(-neurons // width)
    w = np.empty(17 * WIDEST, current.dtype)
    kept = np.empty((steps, width), current.dtype)
    traces = np.empty((steps if adaptive else 1, width), current.dtype)
    spikes = np.empty(width, current.dtype)
    zero = k[4]
    for block in range(first, end):
        m, lo = block // across, block % across * width
        n = min(neurons - lo, width)
        _load(w, n, lo, m, decay, tau, threshold, strength, rho, v0, s0, a0)
        for t in range(steps):
            if adaptive:
                traces[t, :n] = w[_A : _A + n]
            _step(w, current[t, m, lo : lo + n], immediate, adaptive, bounded, k, kept[t, :n], spikes[:n])
        w[_BY_U : _BY_U + n] = zero
        w[_BY_V : _BY_V + n] = by_v[m, lo : lo + n]
        w[_BY_A : _BY_A + n] = by_a[m, lo : lo + n]
        w[_TO_BETA:] = zero
        for t in range(steps - 1, -1, -1):
            u, trace = kept[t, :n], traces[t if adaptive else 0, :n]
            _excess(w, u, trace, adaptive, bounded, k)
            _slopes(w, by_s[t, m, lo : lo + n], kind, k)
            _step_back(w, u, trace, immediate, adaptive, bounded, k, through[t, m, lo : lo + n])
        for j in range(n):
            w[_TO_BETA + j] += w[_BY_U + j] * v0[m, lo + j]
            if not immediate:
                w[_TO_FULL + j] -= w[_BY_U + j] * s0[m, lo + j]
        through_v[m, lo : lo + n] = w[_BY_V : _BY_V + n]
        through_a[m, lo : lo + n] = w[_BY_A : _BY_A + n]
        sums[0, lo : lo + n] += w[_TO_BETA : _TO_BETA + n]
        sums[1, lo : lo + n] += w[_TO_FULL : _TO_FULL + n]
        sums[2, lo : lo + n] += w[_TO_KAPPA : _TO_KAPPA + n]
        sums[3, lo : lo + n] += w[_TO_RHO : _TO_RHO + n]
