"""The neurons of `leaky` over time on a GPU, in Triton: a program takes a block of neurons of a row through all steps,
its state in registers.

Forward nothing is written but spikes and the last state. Backward the potentials are computed again from the current,
bit for bit, into the memory that its gradient is to take. No multiply and add are fused into one rounding, and division
is rounded as IEEE 754 says, so spikes and potentials are those of the reference. A program writes sums over time of its
own neurons, and rows are added up afterwards: the same inputs give the same gradients, bit for bit.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.neurons.frame import Frame, Gradients, Neurons, Outcome

BLOCK = 128
"""Neurons of a program, one a thread: where threads shared one, a gradient could be written before its u is read."""
OPTIONS = {"num_warps": BLOCK // 32, "num_stages": 1, "enable_fp_fusion": False}


def forward(
    current: Tensor, neurons: Neurons, frame: Frame, keep: bool, inplace: bool = False
) -> tuple[Outcome, tuple[Tensor, ...]]:
    """Spikes and the last state of a current [T, M, N]; what `backward` is to be given (nothing if not `keep`).

    With `inplace` spikes take the place of the current.
    """
    spikes = current if inplace else torch.empty_like(current)
    outcome = Outcome(spikes, *(torch.empty_like(current[0]) for _ in range(3)))
    _over_blocks(_forward, current, neurons, *outcome, **_constants(frame))
    return outcome, (current,) if keep else ()


def backward(kept: Sequence[Tensor], neurons: Neurons, frame: Frame, by: Outcome) -> Gradients:
    """Gradients of all inputs, given those `by` what came out."""
    (current,) = kept
    through = torch.empty_like(current)
    traces = torch.empty_like(current) if frame.adaptive else through  # not written to where there are none
    states = [torch.empty_like(current[0]) for _ in range(2)]
    sums = current.new_zeros(4, *current.shape[1:])
    _over_blocks(
        _backward, current, neurons, by.spikes, by.potential, by.trace, through, traces, *states, *sums,
        **_constants(frame), **_slope(frame),
    )  # fmt: skip
    return Gradients(through, *sums.sum(1), *states)


def _over_blocks(kernel: Any, current: Tensor, neurons: Neurons, *tensors: Tensor, **constants: Any) -> None:
    steps, rows, width = current.shape
    across = triton.cdiv(width, BLOCK)
    if rows * across:
        with torch.cuda.device_of(current):
            kernel[(rows * across,)](
                current, *neurons, *tensors, steps, rows * width, width, across, BLOCK=BLOCK, **constants, **OPTIONS
            )


def _constants(frame: Frame) -> dict[str, Any]:
    """Constants of compilation: a float argument would be float32 where neurons are float64."""
    low, high = frame.bounds or (0.0, 0.0)
    flags = {"IMMEDIATE": frame.reset == "immediate", "ADAPTIVE": frame.adaptive, "BOUNDED": frame.bounds is not None}
    return {**flags, "LOW": float(low), "HIGH": float(high)}


def _slope(frame: Frame) -> dict[str, Any]:
    """A surrogate's name, its height alpha and its factor of x."""
    name, alpha = frame.surrogate
    return {"SLOPE": name, "ALPHA": float(alpha), "FACTOR": math.pi / 2 * alpha if name == "atan" else float(alpha)}


@triton.jit
def _excess(u, a, full, kappa, ADAPTIVE, BOUNDED, LOW, HIGH):  # type: ignore[no-untyped-def]  # noqa: N803
    """u within its bounds, and what it is above the threshold."""
    if BOUNDED:
        u = tl.where(u < LOW, tl.full(u.shape, LOW, u.dtype), u)
        u = tl.where(u > HIGH, tl.full(u.shape, HIGH, u.dtype), u)
    theta = full
    if ADAPTIVE:
        theta = full + kappa * a
    return u, u - theta


@triton.jit
def _fires(above, IMMEDIATE):  # type: ignore[no-untyped-def]  # noqa: N803
    fired = above >= 0 if IMMEDIATE else above > 0
    return fired.to(above.dtype)


@triton.jit
def _step(  # type: ignore[no-untyped-def]
    x, v, s, a, beta, tau, full, kappa, rho,
    IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH,  # noqa: N803
):  # fmt: skip
    """u, charged and not yet bounded, and the state after the step."""
    if IMMEDIATE:
        leak = tl.div_rn(v, tau) if x.dtype == tl.float32 else v / tau  # float32's / is an approximation
        u = v - leak + x
    else:
        u = beta * v + x - s * full
    bounded, above = _excess(u, a, full, kappa, ADAPTIVE, BOUNDED, LOW, HIGH)
    fired = _fires(above, IMMEDIATE)
    after = bounded
    if IMMEDIATE:
        after = bounded - fired * full
    trace = a
    if ADAPTIVE:
        trace = rho * a + fired
    return u, after, fired, trace


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    current, decay, tau, threshold, strength, trace_decay, v0, s0, a0, spikes, v_last, s_last, a_last,
    steps, stride, width, across,
    BLOCK: tl.constexpr, IMMEDIATE: tl.constexpr, ADAPTIVE: tl.constexpr, BOUNDED: tl.constexpr,  # noqa: N803
    LOW: tl.constexpr, HIGH: tl.constexpr,  # noqa: N803
):  # fmt: skip
    block = tl.program_id(0)
    n = block % across * BLOCK + tl.arange(0, BLOCK)
    live = n < width
    here = (block // across).to(tl.int64) * width + n
    beta, full = tl.load(decay + n, live, 0), tl.load(threshold + n, live, 0)
    time, kappa = tl.load(tau + n, live, 1), tl.load(strength + n, live, 0)
    rho = tl.load(trace_decay + n, live, 0)
    v, s, a = tl.load(v0 + here, live, 0), tl.load(s0 + here, live, 0), tl.load(a0 + here, live, 0)
    at = here
    for _ in range(steps):
        x = tl.load(current + at, live, 0)
        _u, v, s, a = _step(x, v, s, a, beta, time, full, kappa, rho, IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH)
        tl.store(spikes + at, s, live)
        at += stride
    tl.store(v_last + here, v, live)
    tl.store(s_last + here, s, live)
    tl.store(a_last + here, a, live)


@triton.jit
def _bump(x, SLOPE, ALPHA, FACTOR):  # type: ignore[no-untyped-def]  # noqa: N803
    """The surrogate's slope at x."""
    if SLOPE == "atan":
        y = FACTOR * x
        slope = (ALPHA / 2) / (1 + y * y)
    elif SLOPE == "fast_sigmoid":
        y = 1 + FACTOR * tl.abs(x)
        slope = 1 / (y * y)
    elif SLOPE == "sigmoid":
        p = 1 / (1 + tl.exp(-FACTOR * x))
        slope = ALPHA * p * (1 - p)
    else:
        tl.static_assert(SLOPE == "triangle")
        y = 1 - tl.abs(x)
        slope = ALPHA * tl.where(y > 0, y, y * 0)
    return slope


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    current, decay, tau, threshold, strength, trace_decay, v0, s0, a0, by_spikes, by_potential, by_trace,
    through, traces, through_v, through_a, to_beta, to_full, to_kappa, to_rho,
    steps, stride, width, across,
    BLOCK: tl.constexpr, IMMEDIATE: tl.constexpr, ADAPTIVE: tl.constexpr, BOUNDED: tl.constexpr,  # noqa: N803
    LOW: tl.constexpr, HIGH: tl.constexpr, SLOPE: tl.constexpr, ALPHA: tl.constexpr, FACTOR: tl.constexpr,  # noqa: N803
):  # fmt: skip
    block = tl.program_id(0)
    n = block % across * BLOCK + tl.arange(0, BLOCK)
    live = n < width
    here = (block // across).to(tl.int64) * width + n
    beta, full = tl.load(decay + n, live, 0), tl.load(threshold + n, live, 0)
    time, kappa = tl.load(tau + n, live, 1), tl.load(strength + n, live, 0)
    rho = tl.load(trace_decay + n, live, 0)
    v, s, a = tl.load(v0 + here, live, 0), tl.load(s0 + here, live, 0), tl.load(a0 + here, live, 0)
    at = here
    for _ in range(steps):
        x = tl.load(current + at, live, 0)
        if ADAPTIVE:
            tl.store(traces + at, a, live)
        u, v, s, a = _step(x, v, s, a, beta, time, full, kappa, rho, IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH)
        tl.store(through + at, u, live)
        at += stride
    tl.debug_barrier()
    by_u = tl.zeros_like(v)  # of the step after, whose v and s are this one's
    by_v, by_a = tl.load(by_potential + here, live, 0), tl.load(by_trace + here, live, 0)
    sum_beta, sum_full, sum_kappa, sum_rho = by_u, by_u, by_u, by_u
    for _ in range(steps):
        at -= stride
        u = tl.load(through + at, live, 0)
        if ADAPTIVE:
            a = tl.load(traces + at, live, 0)
        bounded, above = _excess(u, a, full, kappa, ADAPTIVE, BOUNDED, LOW, HIGH)
        fired = _fires(above, IMMEDIATE)
        slope = tl.load(by_spikes + at, live, 0) * _bump(above, SLOPE, ALPHA, FACTOR)
        if IMMEDIATE:
            sum_beta += by_u * (bounded - fired * full)
            sum_full -= slope + fired * by_v
        else:
            sum_beta += by_u * bounded
            sum_full -= slope + fired * by_u
        by_u = slope + by_v
        if BOUNDED:
            by_u = tl.where(u == bounded, by_u, by_u * 0)
        tl.store(through + at, by_u, live)
        by_v = beta * by_u
        if ADAPTIVE:
            sum_rho += by_a * a
            sum_kappa -= slope * a
            by_a = rho * by_a - slope * kappa
    sum_beta += by_u * tl.load(v0 + here, live, 0)
    if not IMMEDIATE:
        sum_full -= by_u * tl.load(s0 + here, live, 0)
    tl.store(through_v + here, by_v, live)
    tl.store(through_a + here, by_a, live)
    tl.store(to_beta + here, sum_beta, live)
    tl.store(to_full + here, sum_full, live)
    if ADAPTIVE:
        tl.store(to_kappa + here, sum_kappa, live)
        tl.store(to_rho + here, sum_rho, live)
