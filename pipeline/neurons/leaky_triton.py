"""The neurons of `leaky` over time on a GPU, in Triton: a program takes a block of neurons through all steps, its state
in registers. One launch forward, one backward.

Forward nothing is written but spikes, the last state and, if gradients are wanted, the state every `CHUNK` steps.
Backward a chunk's potentials are computed again from the current and its first state, bit for bit, in registers: less
memory is read and written than if all potentials were kept. A chunk's loads come first, all at once, lest each step
wait for its own. No multiply and add are fused into one rounding, and division is rounded as IEEE 754 says, so spikes
and potentials are those of the reference. A program writes sums over time of its own neurons, and rows are added up
afterwards: the same inputs give the same gradients, bit for bit.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.neurons.frame import Frame, Gradients, Neurons, Outcome, Wanted

BLOCK = 128
"""Neurons of a program, one a thread."""
CHUNK = 16
"""Steps whose potentials are in registers at once."""
OPTIONS = {"num_warps": BLOCK // 32, "num_stages": 1, "enable_fp_fusion": False}
READY = 256
"""Launches that are remembered."""
_ALIGNED = 16
"""Triton compiles for pointers that are multiples of this, or for any."""
_READY: dict[tuple[Any, ...], Any] = {}
"""What was compiled, by all that it depends on: to look here takes a fraction of the time in which Triton finds it."""


def forward(
    current: Tensor, neurons: Neurons, frame: Frame, keep: bool, inplace: bool = False
) -> tuple[Outcome, tuple[Tensor, ...]]:
    """Spikes and the last state of a current [T, ..., N]; what `backward` is to be given (nothing if not `keep`).

    With `inplace` spikes take the place of the current.
    """
    delayed, row = frame.reset == "delayed", current.shape[1:]
    spikes = current if inplace else torch.empty_like(current)
    last = [current.new_empty(row) if used else None for used in (True, delayed, frame.adaptive)]
    chunks = -(-len(current) // CHUNK) - 1  # the first begins with what is given
    marks = current.new_empty((1 + delayed + frame.adaptive, chunks, *row)) if keep and chunks else None
    _launch(_forward, current, neurons, (spikes, *last, marks), _constants(frame))
    return Outcome(spikes, *last), (current, *([] if marks is None else [marks])) if keep else ()


def backward(kept: Sequence[Tensor], neurons: Neurons, frame: Frame, by: Outcome, wanted: Wanted) -> Gradients:
    """Gradients of all inputs that are `wanted`, given those `by` what came out."""
    current, marks = kept[0], kept[1] if len(kept) > 1 else None
    row = current.shape[1:]
    through = torch.empty_like(current)
    sums = current.new_empty((4 if frame.adaptive else 2, *row)) if wanted.parameters else None
    states = [current.new_empty(row) if wanted.state and used else None for used in (True, frame.adaptive)]
    _launch(
        _backward, current, neurons, (by.spikes, by.potential, by.trace, marks, through, sums, *states),
        (*_constants(frame), *_slope(frame)),
    )  # fmt: skip
    parameters = None if sums is None else sums.reshape(len(sums), -1, row[-1]).sum(1)
    return Gradients(through, parameters, *states)


def _launch(
    kernel: Any, current: Tensor, neurons: Neurons, tensors: tuple[Tensor | None, ...], constants: tuple[Any, ...]
) -> None:
    """One launch over all places of a step."""
    steps, width, places = len(current), current.shape[-1], current[0].numel()
    if not places:
        return
    if current.is_cuda and current.get_device() != torch.cuda.current_device():
        with torch.cuda.device_of(current):
            return _launch(kernel, current, neurons, tensors, constants)
    each = [one is not None and one.numel() > 1 for one in neurons[:4]]
    fixed = (steps, places, width, steps % CHUNK, CHUNK, BLOCK, *each, *constants)
    given = (current, *neurons, *tensors)
    grid = (triton.cdiv(places, BLOCK), 1, 1)
    known = kernel, current.get_device(), current.dtype, *fixed, *[one is None for one in given]
    aligned = not any(one.data_ptr() % _ALIGNED for one in given if one is not None)
    if aligned and (ready := _READY.get(known)) is not None:
        ready[grid](*given, *fixed)
        return
    made = kernel[grid](*given, *fixed, **OPTIONS)
    if aligned and made is not None:  # an interpreter makes nothing
        if len(_READY) == READY:
            _READY.clear()
        _READY[known] = made


def _constants(frame: Frame) -> tuple[Any, ...]:
    """Constants of compilation: a float argument would be float32 where neurons are float64."""
    low, high = frame.bounds or (0.0, 0.0)
    return frame.reset == "immediate", frame.adaptive, frame.bounds is not None, float(low), float(high)


def _slope(frame: Frame) -> tuple[Any, ...]:
    """A surrogate's name, its height alpha and its factor of x."""
    name, alpha = frame.surrogate
    return name, float(alpha), math.pi / 2 * alpha if name == "atan" else float(alpha)


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
def _places(width, places, decay, threshold, strength, trace_decay, BLOCK, EACH_BETA, EACH_FULL, EACH_KAPPA, EACH_RHO):  # type: ignore[no-untyped-def]  # noqa: N803
    """Where a program's neurons lie, which of them there are, and their parameters."""
    here = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = here < places
    n = (here % width).to(tl.int32)
    beta = tl.load(decay + n * EACH_BETA, live, 0)
    full = tl.load(threshold + n * EACH_FULL, live, 1)
    kappa, rho = full, full
    if strength is not None:
        kappa = tl.load(strength + n * EACH_KAPPA, live, 0)
        rho = tl.load(trace_decay + n * EACH_RHO, live, 0)
    tau = (1 / (1 - beta.to(tl.float64))).to(beta.dtype)
    return here, live, beta, tau, full, kappa, rho


@triton.jit
def _read(start, stride, live, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """A chunk's values, a step's each."""
    found = ()
    for t in tl.static_range(COUNT):
        found = found + (tl.load(start + t * stride, live, 0),)  # type: ignore[assignment]  # noqa: RUF005
    return found


@triton.jit
def _optional(start, here, live, like):  # type: ignore[no-untyped-def]
    """Values, or zeros where there are none."""
    found = like * 0
    if start is not None:
        found = tl.load(start + here, live, 0)
    return found


@triton.jit
def _marked(marks, at, apart, live, v, s, a, IMMEDIATE, ADAPTIVE):  # type: ignore[no-untyped-def]  # noqa: N803
    """The state before a chunk, as `_mark` wrote it."""
    v = tl.load(marks + at, live, 0)
    if not IMMEDIATE:
        at += apart
        s = tl.load(marks + at, live, 0)
    if ADAPTIVE:
        at += apart
        a = tl.load(marks + at, live, 0)
    return v, s, a


@triton.jit
def _mark(marks, at, apart, live, v, s, a, IMMEDIATE, ADAPTIVE):  # type: ignore[no-untyped-def]  # noqa: N803
    tl.store(marks + at, v, live)
    if not IMMEDIATE:
        at += apart
        tl.store(marks + at, s, live)
    if ADAPTIVE:
        at += apart
        tl.store(marks + at, a, live)


@triton.jit
def _ahead(  # type: ignore[no-untyped-def]
    current, spikes, at, stride, live, v, s, a, beta, tau, full, kappa, rho,
    IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH, COUNT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """A chunk of COUNT steps."""
    xs = _read(current + at, stride, live, COUNT)
    for t in tl.static_range(COUNT):
        _u, v, s, a = _step(xs[t], v, s, a, beta, tau, full, kappa, rho, IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH)
        tl.store(spikes + at + t * stride, s, live)
    return v, s, a


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    current, decay, threshold, strength, trace_decay, v0, s0, a0, spikes, v_last, s_last, a_last, marks,
    steps, places, width,
    REST: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
    EACH_BETA: tl.constexpr, EACH_FULL: tl.constexpr, EACH_KAPPA: tl.constexpr, EACH_RHO: tl.constexpr,  # noqa: N803
    IMMEDIATE: tl.constexpr, ADAPTIVE: tl.constexpr, BOUNDED: tl.constexpr,  # noqa: N803
    LOW: tl.constexpr, HIGH: tl.constexpr,  # noqa: N803
):  # fmt: skip
    here, live, beta, tau, full, kappa, rho = _places(
        width, places, decay, threshold, strength, trace_decay, BLOCK, EACH_BETA, EACH_FULL, EACH_KAPPA, EACH_RHO
    )
    v, s, a = _optional(v0, here, live, beta), _optional(s0, here, live, beta), _optional(a0, here, live, beta)
    at, stride = here, tl.cast(places, tl.int64)
    mark, apart = here, stride * ((steps + CHUNK - 1) // CHUNK - 1)
    for chunk in range(steps // CHUNK):
        v, s, a = _ahead(
            current, spikes, at, stride, live, v, s, a, beta, tau, full, kappa, rho,
            IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH, CHUNK,
        )  # fmt: skip
        at += CHUNK * stride
        if marks is not None:
            _mark(marks, mark, apart, live & ((chunk + 1) * CHUNK < steps), v, s, a, IMMEDIATE, ADAPTIVE)
            mark += stride
    v, s, a = _ahead(
        current, spikes, at, stride, live, v, s, a, beta, tau, full, kappa, rho,
        IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH, REST,
    )  # fmt: skip
    tl.store(v_last + here, v, live)
    if s_last is not None:
        tl.store(s_last + here, s, live)
    if a_last is not None:
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
def _back(  # type: ignore[no-untyped-def]
    current, by_spikes, through, at, stride, live, v, s, a, by_u, by_v, by_a,
    sum_beta, sum_full, sum_kappa, sum_rho, beta, tau, full, kappa, rho,
    IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH, SLOPE, ALPHA, FACTOR, COUNT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Gradients through a chunk of COUNT steps, given the state before it; by_u is that of the step after the chunk,
    whose v and s are the last step's."""
    xs, gs = _read(current + at, stride, live, COUNT), _read(by_spikes + at, stride, live, COUNT)
    us, traces = (), ()
    for t in tl.static_range(COUNT):
        traces = traces + (a,)  # type: ignore[assignment]  # noqa: RUF005
        u, v, s, a = _step(xs[t], v, s, a, beta, tau, full, kappa, rho, IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH)
        us = us + (u,)  # type: ignore[assignment]  # noqa: RUF005
    for t in tl.static_range(COUNT - 1, -1, -1):
        bounded, above = _excess(us[t], traces[t], full, kappa, ADAPTIVE, BOUNDED, LOW, HIGH)
        fired = _fires(above, IMMEDIATE)
        slope = gs[t] * _bump(above, SLOPE, ALPHA, FACTOR)
        if IMMEDIATE:
            sum_beta += by_u * (bounded - fired * full)
            sum_full -= slope + fired * by_v
        else:
            sum_beta += by_u * bounded
            sum_full -= slope + fired * by_u
        by_u = slope + by_v
        if BOUNDED:
            by_u = tl.where(us[t] == bounded, by_u, by_u * 0)
        tl.store(through + at + t * stride, by_u, live)
        by_v = beta * by_u
        if ADAPTIVE:
            sum_rho += by_a * traces[t]
            sum_kappa -= slope * traces[t]
            by_a = rho * by_a - slope * kappa
    return by_u, by_v, by_a, sum_beta, sum_full, sum_kappa, sum_rho


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    current, decay, threshold, strength, trace_decay, v0, s0, a0, by_spikes, by_potential, by_trace, marks,
    through, sums, through_v, through_a,
    steps, places, width,
    REST: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
    EACH_BETA: tl.constexpr, EACH_FULL: tl.constexpr, EACH_KAPPA: tl.constexpr, EACH_RHO: tl.constexpr,  # noqa: N803
    IMMEDIATE: tl.constexpr, ADAPTIVE: tl.constexpr, BOUNDED: tl.constexpr,  # noqa: N803
    LOW: tl.constexpr, HIGH: tl.constexpr, SLOPE: tl.constexpr, ALPHA: tl.constexpr, FACTOR: tl.constexpr,  # noqa: N803
):  # fmt: skip
    here, live, beta, tau, full, kappa, rho = _places(
        width, places, decay, threshold, strength, trace_decay, BLOCK, EACH_BETA, EACH_FULL, EACH_KAPPA, EACH_RHO
    )
    stride = tl.cast(places, tl.int64)
    whole = steps // CHUNK
    at = here + stride * CHUNK * whole
    apart = stride * ((steps + CHUNK - 1) // CHUNK - 1)
    mark = here + stride * (whole - 1)
    v0_, s0_, a0_ = _optional(v0, here, live, beta), _optional(s0, here, live, beta), _optional(a0, here, live, beta)
    by_u = beta * 0
    by_v, by_a = _optional(by_potential, here, live, beta), _optional(by_trace, here, live, beta)
    sum_beta, sum_full, sum_kappa, sum_rho = by_u, by_u, by_u, by_u
    if REST:
        v, s, a = v0_, s0_, a0_
        if marks is not None:
            v, s, a = _marked(marks, mark, apart, live, v, s, a, IMMEDIATE, ADAPTIVE)
        by_u, by_v, by_a, sum_beta, sum_full, sum_kappa, sum_rho = _back(
            current, by_spikes, through, at, stride, live, v, s, a, by_u, by_v, by_a,
            sum_beta, sum_full, sum_kappa, sum_rho, beta, tau, full, kappa, rho,
            IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH, SLOPE, ALPHA, FACTOR, REST,
        )  # fmt: skip
    for chunk in range(whole):
        at -= CHUNK * stride
        mark -= stride
        v, s, a = v0_, s0_, a0_
        if marks is not None:  # noqa: SIM102
            if chunk + 1 < whole:  # not joined: one is known to the compiler, the other is not
                v, s, a = _marked(marks, mark, apart, live, v, s, a, IMMEDIATE, ADAPTIVE)
        by_u, by_v, by_a, sum_beta, sum_full, sum_kappa, sum_rho = _back(
            current, by_spikes, through, at, stride, live, v, s, a, by_u, by_v, by_a,
            sum_beta, sum_full, sum_kappa, sum_rho, beta, tau, full, kappa, rho,
            IMMEDIATE, ADAPTIVE, BOUNDED, LOW, HIGH, SLOPE, ALPHA, FACTOR, CHUNK,
        )  # fmt: skip
    if sums is not None:
        sum_beta += by_u * v0_
        if not IMMEDIATE:
            sum_full -= by_u * s0_
        tl.store(sums + here, sum_beta, live)
        tl.store(sums + stride + here, sum_full, live)
        if ADAPTIVE:
            tl.store(sums + 2 * stride + here, sum_kappa, live)
            tl.store(sums + 3 * stride + here, sum_rho, live)
    if through_v is not None:
        tl.store(through_v + here, by_v, live)
    if through_a is not None:
        tl.store(through_a + here, by_a, live)
