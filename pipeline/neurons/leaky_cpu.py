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

T = TypeVar("T")

CACHED = 1 << 14
"""Values of a block over all steps: 64 KiB of float32 beside the current and the gradient in a cache of 1 MiB."""
NARROWEST, WIDEST = 64, 1024
SMALL = 1 << 14
"""Values under which a second thread costs more than it does."""
KINDS = {"atan": 0, "fast_sigmoid": 1, "sigmoid": 2, "triangle": 3}


def forward(current: Tensor, neurons: Neurons, frame: Frame, keep: bool) -> tuple[Outcome, tuple[Tensor, ...]]:
    """Spikes and the last state of a current [T, M, N]; what `backward` is to be given (nothing if not `keep`)."""
    spikes = torch.empty_like(current)
    last = [torch.empty_like(current[0]) for _ in range(3)]
    arrays = [one.numpy() for one in neurons]
    _over_blocks(
        current,
        lambda first, end, width: _forward(  # type: ignore[call-arg]
            current.numpy(), *arrays, *_flags(frame), _constants(frame, current),
            *(first, end, width, spikes.numpy()), *(one.numpy() for one in last),
        ),
    )  # fmt: skip
    return Outcome(spikes, *last), (current,) if keep else ()


def backward(kept: Sequence[Tensor], neurons: Neurons, frame: Frame, by: Outcome) -> Gradients:
    """Gradients of all inputs, given those `by` what came out."""
    (current,) = kept
    through = torch.empty_like(current)
    states = [torch.empty_like(current[0]) for _ in range(2)]
    arrays = [one.numpy() for one in neurons]

    def work(first: int, end: int, width: int) -> np.ndarray:
        sums = np.zeros((4, current.shape[2]))
        _backward(  # type: ignore[call-arg]
            current.numpy(), *arrays, *_flags(frame), KINDS[frame.surrogate.name], _constants(frame, current),
            *(first, end, width), by.spikes.numpy(), by.potential.numpy(), by.trace.numpy(),
            through.numpy(), *(one.numpy() for one in states), sums,
        )  # fmt: skip
        return sums

    sums = torch.from_numpy(sum(_over_blocks(current, work))).to(current.dtype)
    return Gradients(through, *sums, *states)


def _flags(frame: Frame) -> tuple[bool, bool, bool]:
    return frame.reset == "immediate", frame.adaptive, frame.bounds is not None


def _constants(frame: Frame, current: Tensor) -> np.ndarray:
    """In the current's type, lest loops be widened to float64: low, high, alpha, a slope's factor of x, 0, 1, 1/2."""
    alpha = frame.surrogate.alpha
    factor = math.pi / 2 * alpha if frame.surrogate.name == "atan" else alpha
    low, high = frame.bounds or (-math.inf, math.inf)
    return np.array([low, high, alpha, factor, 0, 1, 0.5], current.numpy().dtype)


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
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "leaky")


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _charge(v, x, s, decay, tau, threshold, immediate, u):  # type: ignore[no-untyped-def]
    if immediate:
        for j in range(len(u)):
            u[j] = v[j] - v[j] / tau[j] + x[j]
    else:
        for j in range(len(u)):
            u[j] = decay[j] * v[j] + x[j] - s[j] * threshold[j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fire(u, theta, threshold, immediate, bounded, k, v, s):  # type: ignore[no-untyped-def]
    """s and v of a charged u, which is left as it is."""
    low, high, zero, one = k[0], k[1], k[4], k[5]
    if bounded:
        for j in range(len(u)):
            c = u[j]
            c = low if c < low else c
            v[j] = high if c > high else c
    else:
        for j in range(len(u)):
            v[j] = u[j]
    if immediate:
        for j in range(len(u)):
            s[j] = one if v[j] - theta[j] >= zero else zero
            v[j] = v[j] - s[j] * threshold[j]
    else:
        for j in range(len(u)):
            s[j] = one if v[j] - theta[j] > zero else zero


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _forward(  # type: ignore[no-untyped-def]
    current, decay, tau, threshold, strength, rho, v0, s0, a0,
    immediate, adaptive, bounded, k, first, end, width, spikes, v_last, s_last, a_last,
):  # fmt: skip
    steps, _, neurons = current.shape
    across = -(-neurons // width)
    u = np.empty(width, current.dtype)
    theta = np.empty(width, current.dtype)
    for block in range(first, end):
        m, lo = block // across, block % across * width
        hi = min(neurons, lo + width)
        n = hi - lo
        v, a, s = v_last[m, lo:hi], a_last[m, lo:hi], s_last[m, lo:hi]
        v[:] = v0[m, lo:hi]
        a[:] = a0[m, lo:hi]
        s[:] = s0[m, lo:hi]
        theta[:n] = threshold[lo:hi]
        for t in range(steps):
            _charge(v, current[t, m, lo:hi], s, decay[lo:hi], tau[lo:hi], threshold[lo:hi], immediate, u[:n])
            if adaptive:
                for j in range(n):
                    theta[j] = threshold[lo + j] + strength[lo + j] * a[j]
            s = spikes[t, m, lo:hi]
            _fire(u[:n], theta[:n], threshold[lo:hi], immediate, bounded, k, v, s)
            if adaptive:
                for j in range(n):
                    a[j] = rho[lo + j] * a[j] + s[j]
        s_last[m, lo:hi] = s


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _backward(  # type: ignore[no-untyped-def]
    current, decay, tau, threshold, strength, rho, v0, s0, a0,
    immediate, adaptive, bounded, kind, k, first, end, width, by_s, by_v, by_a, through, through_v, through_a, sums,
):  # fmt: skip
    steps, _, neurons = current.shape
    across = -(-neurons // width)
    kept = np.empty((steps, width), current.dtype)  # u, before it is bounded
    rest = np.empty((steps + 1, width), current.dtype)  # v, what a step begins with
    fired = np.empty((steps + 1, width), current.dtype)
    traces = np.empty((steps + 1 if adaptive else 1, width), current.dtype)
    theta = np.empty(width, current.dtype)
    slope = np.empty(width, current.dtype)
    part = np.empty((4, width), current.dtype)
    low, high, alpha, factor, zero, one = k[0], k[1], k[2], k[3], k[4], k[5]
    for block in range(first, end):
        m, lo = block // across, block % across * width
        hi = min(neurons, lo + width)
        n = hi - lo
        beta, full = decay[lo:hi], threshold[lo:hi]
        rest[0, :n] = v0[m, lo:hi]
        fired[0, :n] = s0[m, lo:hi]
        traces[0, :n] = a0[m, lo:hi]
        theta[:n] = full
        for t in range(steps):
            _charge(rest[t, :n], current[t, m, lo:hi], fired[t, :n], beta, tau[lo:hi], full, immediate, kept[t, :n])
            if adaptive:
                for j in range(n):
                    theta[j] = full[j] + strength[lo + j] * traces[t, j]
            _fire(kept[t, :n], theta[:n], full, immediate, bounded, k, rest[t + 1, :n], fired[t + 1, :n])
            if adaptive:
                for j in range(n):
                    traces[t + 1, j] = rho[lo + j] * traces[t, j] + fired[t + 1, j]
        gv, ga = through_v[m, lo:hi], through_a[m, lo:hi]
        gv[:] = by_v[m, lo:hi]
        ga[:] = by_a[m, lo:hi]
        part[:] = zero
        to_beta, to_full, to_strength, to_rho = part[0, :n], part[1, :n], part[2, :n], part[3, :n]
        for t in range(steps - 1, -1, -1):
            gs, gx = by_s[t, m, lo:hi], through[t, m, lo:hi]
            u, v, s, before = kept[t, :n], rest[t, :n], fired[t + 1, :n], fired[t, :n]
            if adaptive:
                for j in range(n):
                    theta[j] = full[j] + strength[lo + j] * traces[t, j]
            if bounded:
                for j in range(n):
                    c = low if u[j] < low else u[j]
                    slope[j] = (high if c > high else c) - theta[j]
            else:
                for j in range(n):
                    slope[j] = u[j] - theta[j]
            if kind == 0:
                for j in range(n):
                    x = factor * slope[j]
                    slope[j] = gs[j] * (alpha * k[6] / (one + x * x))
            elif kind == 1:
                for j in range(n):
                    x = one + factor * abs(slope[j])
                    slope[j] = gs[j] / (x * x)
            elif kind == 2:
                for j in range(n):
                    p = one / (one + np.exp(-factor * slope[j]))
                    slope[j] = gs[j] * (alpha * p * (one - p))
            else:
                for j in range(n):
                    x = one - abs(slope[j])
                    slope[j] = gs[j] * (alpha * (x if x > zero else zero))
            if immediate:
                for j in range(n):
                    to_full[j] -= slope[j] + gv[j] * s[j]
            else:
                for j in range(n):
                    to_full[j] -= slope[j]
            for j in range(n):  # apart: compilers check few arrays of a loop for overlap, or leave it scalar
                gx[j] = slope[j] + gv[j]
            if bounded:
                for j in range(n):
                    gx[j] = gx[j] if u[j] >= low and u[j] <= high else zero
            if not immediate:
                for j in range(n):
                    to_full[j] -= gx[j] * before[j]
            for j in range(n):
                to_beta[j] += gx[j] * v[j]
            for j in range(n):
                gv[j] = beta[j] * gx[j]
            if adaptive:
                for j in range(n):
                    to_rho[j] += ga[j] * traces[t, j]
                    to_strength[j] -= slope[j] * traces[t, j]
                    ga[j] = rho[lo + j] * ga[j] - slope[j] * strength[lo + j]
        for i in range(4):
            for j in range(n):
                sums[i, lo + j] += part[i, j]
