"""The loops of `leaky_cpu`, compiled by numba: blocks of neurons, forward and backward, a job's addresses handed in.

All that is compiled stands in this one file: numba looks at the file of a cached function alone to see whether it is
still the same, so what it inlines from another file would stay as it was.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDEST = 512
"""Places of a block, at most."""
KINDS = {"atan": 0, "fast_sigmoid": 1, "sigmoid": 2, "triangle": 3}
_ATAN = KINDS["atan"]


class Fields(NamedTuple):
    """What a kernel is handed, and where: counts of blocks that are taken and done and of threads that have come;
    sizes; flags; whether each neuron has a parameter of its own; addresses, those from `out` on other ones forward than
    backward."""

    taken: int
    done: int
    came: int
    room: int
    blocks: int
    width: int
    steps: int
    places: int
    neurons: int
    immediate: int
    adaptive: int
    bounded: int
    kind: int
    each_decay: int
    each_threshold: int
    each_strength: int
    each_rho: int
    constants: int
    work: int
    current: int
    decay: int
    threshold: int
    strength: int
    rho: int
    potential: int
    spiked: int
    trace: int
    out: int


_AT = Fields(*range(len(Fields._fields)))
REST = (0,) * 4
"""A job is as long forward as backward."""

# A block's parameters and state lie in one array at distances that compilers know: with an array each, a loop has more
# pairs that might overlap than they check, and stays scalar. Vectorised, one loop a step goes through the cache once,
# several times as fast as a loop for each line of the equations. Its flags are constants where neither adaptation nor
# bounds are wanted: inlined, what is not meant is not there.
_V, _S, _A, _BETA, _TAU, _FULL, _KAPPA, _RHO = (i * WIDEST for i in range(8))
_BY_U, _BY_V, _BY_A, _SLOPE, _TO_BETA, _TO_FULL, _TO_KAPPA, _TO_RHO = (i * WIDEST for i in range(8, 16))
ROOM = 16 * WIDEST

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


@intrinsic
def _pointer(typing: Any, address: Any, real: Any) -> Any:
    """An address as one of numbers of a type."""
    found = types.CPointer(real.instance_type)

    def code(context: Any, builder: Any, _: Any, given: Any) -> Any:
        return builder.inttoptr(given[0], context.get_value_type(found))

    return found(types.int64, real), code


@intrinsic
def _count(typing: Any, job: Any, place: Any) -> Any:
    """How often a number of a job was counted before, by all threads; it is counted up."""

    def code(context: Any, builder: Any, _: Any, given: Any) -> Any:
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", builder.gep(given[0], [given[1]]), one, "acq_rel")

    return types.int64(job, types.int64), code


@intrinsic
def _fetch(typing: Any, values: Any, place: Any) -> Any:
    """Tell the processor that a value is wanted soon."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        at = builder.bitcast(builder.gep(array.data, [given[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [at.type, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(fetch, [at, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(values, types.int64), code


@_inlined
def _fetch_all(values):  # type: ignore[no-untyped-def]
    for j in range(0, len(values), 64 // values.itemsize):
        _fetch(values, j)


@_jit
def _spread(w, at, n, first, neurons, values, each):  # type: ignore[no-untyped-def]
    """A parameter of n places, the first of which is that of neuron `first`; a row of neurons follows another."""
    if not each:
        w[at : at + n] = values[0]
        return
    done = 0
    while done < n:
        some = min(n - done, neurons - first)
        w[at + done : at + done + some] = values[first : first + some]
        done += some
        first = 0


@_jit
def _fill(w, at, n, lo, values, zero):  # type: ignore[no-untyped-def]
    """Values of n places, or 0 where there are none."""
    if len(values):
        w[at : at + n] = values[lo : lo + n]
    else:
        w[at : at + n] = zero


@_jit
def _load_parameters(w, n, first, job, given):  # type: ignore[no-untyped-def]
    """Parameters of n places, the first of which is of neuron `first`."""
    decay, threshold, strength, rho, _v0, _s0, _a0 = given
    neurons = job[_AT.neurons]
    _spread(w, _BETA, n, first, neurons, decay, job[_AT.each_decay])
    _spread(w, _FULL, n, first, neurons, threshold, job[_AT.each_threshold])
    if job[_AT.immediate]:
        for j in range(n):
            w[_TAU + j] = 1 / (1 - np.float64(w[_BETA + j]))
    if job[_AT.adaptive]:
        _spread(w, _KAPPA, n, first, neurons, strength, job[_AT.each_strength])
        _spread(w, _RHO, n, first, neurons, rho, job[_AT.each_rho])


@_jit
def _load(w, loaded, n, lo, job, k, given):  # type: ignore[no-untyped-def]
    """Parameters, unless they are `loaded`, and the state before the first step of n places from `lo` on. Returns whose
    parameters are loaded: those of the first place's neuron and so many after it."""
    each = job[_AT.each_decay] or job[_AT.each_threshold] or job[_AT.each_strength] or job[_AT.each_rho]
    first = lo % job[_AT.neurons] if each else 0
    if loaded[0] != first or loaded[1] < n:
        _load_parameters(w, n, first, job, given)
        loaded = first, n
    _decay, _threshold, _strength, _rho, v0, s0, a0 = given
    _fill(w, _V, n, lo, v0, k[4])
    if not job[_AT.immediate]:
        _fill(w, _S, n, lo, s0, k[4])
    if job[_AT.adaptive]:
        _fill(w, _A, n, lo, a0, k[4])
    return loaded


@_inlined
def _within(charged, bounded, low, high):  # type: ignore[no-untyped-def]
    if bounded:
        charged = low if charged < low else charged
        charged = high if charged > high else charged
    return charged


@_inlined
def _step_as(w, x, immediate, adaptive, bounded, k, out, back):  # type: ignore[no-untyped-def]
    """One step; the state in w goes on by one. Out go spikes, or on the way back u, charged and not yet bounded."""
    low, high, zero, one = k[0], k[1], k[4], k[5]
    for j in range(len(x)):
        full, v = w[_FULL + j], w[_V + j]
        charged = v - v / w[_TAU + j] + x[j] if immediate else w[_BETA + j] * v + x[j] - w[_S + j] * full
        u = _within(charged, bounded, low, high)
        above = u - (full + w[_KAPPA + j] * w[_A + j] if adaptive else full)
        fired = one if above > zero or (immediate and above == zero) else zero
        w[_V + j] = u - fired * full if immediate else u
        if not immediate:
            w[_S + j] = fired
        if adaptive:
            w[_A + j] = w[_RHO + j] * w[_A + j] + fired
        out[j] = charged if back else fired


@_jit
def _step(w, x, immediate, adaptive, bounded, k, out, back):  # type: ignore[no-untyped-def]
    if adaptive or bounded:
        _step_as(w, x, immediate, adaptive, bounded, k, out, back)
    elif immediate:
        if back:
            _step_as(w, x, True, False, False, k, out, True)
        else:
            _step_as(w, x, True, False, False, k, out, False)
    elif back:
        _step_as(w, x, False, False, False, k, out, True)
    else:
        _step_as(w, x, False, False, False, k, out, False)


@_inlined
def _flags(job):  # type: ignore[no-untyped-def]
    return job[_AT.immediate] != 0, job[_AT.adaptive] != 0, job[_AT.bounded] != 0


@_inlined
def _next(job, counts):  # type: ignore[no-untyped-def]
    """The first place of a block that no thread has taken, and how many it has; not above 0: none is left."""
    lo = _count(counts, _AT.taken) * job[_AT.width]
    return lo, min(job[_AT.places] - lo, job[_AT.width])


@_jit
def _forward(job, counts, shared, v_last, s_last, a_last):  # type: ignore[no-untyped-def]
    k, work, current, neurons, spikes = shared
    steps = len(current)
    immediate, adaptive, bounded = _flags(job)
    w = work[_count(counts, _AT.came)]
    loaded = 0, 0
    while True:
        lo, n = _next(job, counts)
        if n <= 0:
            break
        loaded = _load(w, loaded, n, lo, job, k, neurons)
        for t in range(steps):
            if t + 1 < steps:
                _fetch_all(current[t + 1, lo : lo + n])
                _fetch_all(spikes[t + 1, lo : lo + n])
            _step(w, current[t, lo : lo + n], immediate, adaptive, bounded, k, spikes[t, lo : lo + n], False)
        v_last[lo : lo + n] = w[_V : _V + n]
        if len(s_last):
            s_last[lo : lo + n] = w[_S : _S + n]
        if len(a_last):
            a_last[lo : lo + n] = w[_A : _A + n]


@_jit
def _slopes(w, u, trace, g, adaptive, bounded, kind, k):  # type: ignore[no-untyped-def]
    """The surrogate's slope at each potential less the threshold, times the gradient of the spike."""
    low, high, alpha, factor, zero, one = k[0], k[1], k[2], k[3], k[4], k[5]
    n = len(u)
    for j in range(n):
        w[_SLOPE + j] = _within(u[j], bounded, low, high) - w[_FULL + j]
    if adaptive:
        for j in range(n):
            theta = w[_FULL + j] + w[_KAPPA + j] * trace[j]
            w[_SLOPE + j] = _within(u[j], bounded, low, high) - theta
    if kind == _ATAN:
        for j in range(n):
            w[_SLOPE + j] = g[j] * _atan(w[_SLOPE + j], alpha, factor, one, k[6])
    elif kind == 1:
        for j in range(n):
            y = one + factor * abs(w[_SLOPE + j])
            w[_SLOPE + j] = g[j] / (y * y)
    elif kind == 2:
        for j in range(n):
            p = one / (one + np.exp(-factor * w[_SLOPE + j]))
            w[_SLOPE + j] = g[j] * (alpha * p * (one - p))
    else:
        for j in range(n):
            y = one - abs(w[_SLOPE + j])
            w[_SLOPE + j] = g[j] * (alpha * (y if y > zero else zero))


@_inlined
def _atan(above, alpha, factor, one, half):  # type: ignore[no-untyped-def]
    y = factor * above
    return alpha * half / (one + y * y)


@_inlined
def _step_back_as(w, u, trace, g, immediate, adaptive, bounded, learned, atan, k, gx):  # type: ignore[no-untyped-def]
    """Gradients through one step: _BY_U is that of the step after, whose v and s are this one's. Without `atan` slopes
    are in w."""
    low, high, alpha, factor, zero, one, half = k[0], k[1], k[2], k[3], k[4], k[5], k[6]
    for j in range(len(u)):
        full, by_v = w[_FULL + j], w[_BY_V + j]
        charged = _within(u[j], bounded, low, high)
        above = charged - (full + w[_KAPPA + j] * trace[j] if adaptive else full)
        slope = g[j] * _atan(above, alpha, factor, one, half) if atan else w[_SLOPE + j]
        if learned:
            fired = one if above > zero or (immediate and above == zero) else zero
            w[_TO_BETA + j] += w[_BY_U + j] * (charged - fired * full if immediate else charged)
            w[_TO_FULL + j] -= slope + fired * (by_v if immediate else w[_BY_U + j])
        through = slope + by_v
        if bounded:
            through = through if charged == u[j] else zero
        gx[j] = through
        if learned:
            w[_BY_U + j] = through
        w[_BY_V + j] = w[_BETA + j] * through
        if adaptive:
            by_a = w[_BY_A + j]
            w[_TO_RHO + j] += by_a * trace[j]
            w[_TO_KAPPA + j] -= slope * trace[j]
            w[_BY_A + j] = w[_RHO + j] * by_a - slope * w[_KAPPA + j]


@_jit
def _step_back(w, u, trace, g, immediate, adaptive, bounded, learned, kind, k, gx):  # type: ignore[no-untyped-def]
    if adaptive or bounded or kind != _ATAN:
        _slopes(w, u, trace, g, adaptive, bounded, kind, k)
        _step_back_as(w, u, trace, g, immediate, adaptive, bounded, True, False, k, gx)
    elif not learned:  # then both resets are alike
        _step_back_as(w, u, trace, g, True, False, False, False, True, k, gx)
    elif immediate:
        _step_back_as(w, u, trace, g, True, False, False, True, True, k, gx)
    else:
        _step_back_as(w, u, trace, g, False, False, False, True, True, k, gx)


@_jit
def _add_rows(sums, totals):  # type: ignore[no-untyped-def]
    """Sums of each place as sums of each neuron, always in one order."""
    kinds, neurons = totals.shape
    rows = len(sums) // (kinds * neurons)
    for kind in range(kinds):
        for row in range(rows):
            start = (kind * rows + row) * neurons
            for n in range(neurons):
                totals[kind, n] += sums[start + n]


@_jit
def _backward(job, counts, shared, by_v, by_a, through, sums, totals, through_v, through_a):  # type: ignore[no-untyped-def]
    k, work, current, neurons, by_s = shared
    steps, places = current.shape
    blocks, width, kind = job[_AT.blocks], job[_AT.width], job[_AT.kind]
    immediate, adaptive, bounded = _flags(job)
    learned, zero = len(sums) > 0, k[4]
    own = work[_count(counts, _AT.came)]
    w = own[:ROOM]
    loaded = 0, 0
    while True:
        lo, n = _next(job, counts)
        if n <= 0:
            break
        loaded = _load(w, loaded, n, lo, job, k, neurons)
        for t in range(steps):
            kept = ROOM + t * width
            if adaptive:
                traces = ROOM + (steps + t) * width
                own[traces : traces + n] = w[_A : _A + n]
            if t + 1 < steps:
                _fetch_all(current[t + 1, lo : lo + n])
            _step(w, current[t, lo : lo + n], immediate, adaptive, bounded, k, own[kept : kept + n], True)
        w[_BY_U : _BY_U + n] = zero
        _fill(w, _BY_V, n, lo, by_v, zero)
        _fill(w, _BY_A, n, lo, by_a, zero)
        w[_TO_BETA:] = zero
        for t in range(steps - 1, -1, -1):
            kept = ROOM + t * width
            traces = ROOM + (steps + t) * width if adaptive else kept
            if t >= 1:
                _fetch_all(by_s[t - 1, lo : lo + n])
                _fetch_all(through[t - 1, lo : lo + n])
            _step_back(
                w, own[kept : kept + n], own[traces : traces + n], by_s[t, lo : lo + n],
                immediate, adaptive, bounded, learned, kind, k, through[t, lo : lo + n],
            )  # fmt: skip
        if learned:
            v0, s0 = neurons[4], neurons[5]
            for j in range(n if len(v0) else 0):
                w[_TO_BETA + j] += w[_BY_U + j] * v0[lo + j]
            for j in range(n if len(s0) and not immediate else 0):
                w[_TO_FULL + j] -= w[_BY_U + j] * s0[lo + j]
            for i in range(len(sums) // places):
                sums[i * places + lo : i * places + lo + n] = w[_TO_BETA + i * WIDEST : _TO_BETA + i * WIDEST + n]
        if len(through_v):
            through_v[lo : lo + n] = w[_BY_V : _BY_V + n]
        if len(through_a):
            through_a[lo : lo + n] = w[_BY_A : _BY_A + n]
        if _count(counts, _AT.done) == blocks - 1 and learned:
            _add_rows(sums, totals)


class Kernel(NamedTuple):
    """What is compiled, a function of a job's address; its own address; how it is called, without Python's lock."""

    made: Any
    address: int
    call: Callable[[int], None]


@_inlined
def _values(job, field, size, real):  # type: ignore[no-untyped-def]
    return numba.carray(_pointer(job[field], real), size if job[field] else 0)


@_inlined
def _shared(job, real):  # type: ignore[no-untyped-def]
    steps, places, neurons = job[_AT.steps], job[_AT.places], job[_AT.neurons]
    return (
        _values(job, _AT.constants, 7, real),
        numba.carray(_pointer(job[_AT.work], real), (1 << 20, job[_AT.room])),
        numba.carray(_pointer(job[_AT.current], real), (steps, places)),
        (
            _values(job, _AT.decay, neurons, real), _values(job, _AT.threshold, neurons, real),
            _values(job, _AT.strength, neurons, real), _values(job, _AT.rho, neurons, real),
            _values(job, _AT.potential, places, real), _values(job, _AT.spiked, places, real),
            _values(job, _AT.trace, places, real),
        ),
        numba.carray(_pointer(job[_AT.out], real), (steps, places)),
    )  # fmt: skip


@_inlined
def _ahead(counts, real):  # type: ignore[no-untyped-def]
    job = numba.carray(counts, _AT.out + 8)
    places = job[_AT.places]
    _forward(
        job, counts, _shared(job, real), _values(job, _AT.out + 1, places, real),
        _values(job, _AT.out + 2, places, real), _values(job, _AT.out + 3, places, real),
    )  # fmt: skip


@_inlined
def _back(counts, real):  # type: ignore[no-untyped-def]
    job = numba.carray(counts, _AT.out + 8)
    steps, places, kinds = job[_AT.steps], job[_AT.places], 4 if job[_AT.adaptive] else 2
    _backward(
        job, counts, _shared(job, real), _values(job, _AT.out + 1, places, real),
        _values(job, _AT.out + 2, places, real),
        numba.carray(_pointer(job[_AT.out + 3], real), (steps, places)),
        _values(job, _AT.out + 4, kinds * places, real),
        numba.carray(_pointer(job[_AT.out + 5], numba.float64), (kinds, job[_AT.neurons])),
        _values(job, _AT.out + 6, places, real), _values(job, _AT.out + 7, places, real),
    )  # fmt: skip


# What is compiled closes over nothing: numba looks a closure up by what it closes over, and never finds it again.
def _forward_float32(counts):  # type: ignore[no-untyped-def]
    _ahead(counts, numba.float32)


def _forward_float64(counts):  # type: ignore[no-untyped-def]
    _ahead(counts, numba.float64)


def _backward_float32(counts):  # type: ignore[no-untyped-def]
    _back(counts, numba.float32)


def _backward_float64(counts):  # type: ignore[no-untyped-def]
    _back(counts, numba.float64)


_ENTRIES = {
    ("forward", torch.float32): _forward_float32,
    ("forward", torch.float64): _forward_float64,
    ("backward", torch.float32): _backward_float32,
    ("backward", torch.float64): _backward_float64,
}


@cache
def kernel(name: str, dtype: torch.dtype) -> Kernel:
    made: Any = numba.cfunc(types.void(types.CPointer(types.int64)), cache=True)(_ENTRIES[name, dtype])
    return Kernel(made, made.address, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.address))
