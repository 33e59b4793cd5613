"""The neurons of `leaky` over time on the CPU: a loop in blocks of neurons that stay in the cache, on all threads.

Forward nothing is kept but spikes and the last state. Backward the potentials of a block are computed again from the
current, bit for bit, which costs less than writing and reading them would. No multiply and add are fused into one
rounding, so spikes and potentials are those of the reference.

What a step is to read next is fetched a step before, since one step lies far from another. A kernel is handed the
addresses of what it reads and writes: a layer would spend more time on naming tensors than on neurons. It runs in the
threads of torch's own OpenMP: others would take processors from those, which wait for work spinning.
"""

import ctypes
import math
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

from pipeline.neurons.frame import Frame, Gradients, Neurons, Outcome, Wanted
from pipeline.neurons.leaky_kernels import KINDS, REST, ROOM, WIDEST, kernel
from pipeline.neurons.recycled import Recycled

CACHED = 1 << 16
"""Values of a block over all steps: 256 KiB of float32 in a cache of 1 MiB or so."""
NARROWEST = 64
SMALL = 1 << 17
"""Values under which a second thread costs more than it does: one that comes late is waited for."""


def forward(
    current: Tensor, neurons: Neurons, frame: Frame, keep: bool, inplace: bool = False
) -> tuple[Outcome, tuple[Tensor, ...]]:
    """Spikes and the last state of a current [T, ..., N]; what `backward` is to be given (nothing if not `keep`).

    With `inplace` spikes take the place of the current.
    """
    row = current.shape[1:]
    spikes = current if inplace else _memory().empty(current.shape, current.dtype)
    last = [
        _memory().empty(row, current.dtype) if used else None
        for used in (True, frame.reset == "delayed", frame.adaptive)
    ]
    _run("forward", current, neurons, frame, 0, (spikes, *last))
    return Outcome(spikes, *last), (current,) if keep else ()


def backward(kept: Sequence[Tensor], neurons: Neurons, frame: Frame, by: Outcome, wanted: Wanted) -> Gradients:
    """Gradients of all inputs that are `wanted`, given those `by` what came out."""
    (current,) = kept
    row = current.shape[1:]
    through = _memory().empty(current.shape, current.dtype)
    sums = parameters = None
    if wanted.parameters:
        count = 4 if frame.adaptive else 2
        sums = _memory().empty((count, *row), current.dtype)
        parameters = torch.zeros(count, current.shape[-1], dtype=torch.float64)
    states = [_memory().empty(row, current.dtype) if wanted.state and used else None for used in (True, frame.adaptive)]
    each = 1 + frame.adaptive
    given = by.spikes, by.potential, by.trace, through, sums, parameters, *states
    _run("backward", current, neurons, frame, each, given)
    return Gradients(through, parameters, *states)


def _run(
    name: str, current: Tensor, neurons: Neurons, frame: Frame, kept: int, tensors: tuple[Tensor | None, ...]
) -> None:
    """A kernel over all blocks of neurons; `kept` is how many values of each neuron it keeps of each step."""
    steps, size = current.shape[0], current.numel()
    places = size // steps
    width = min(WIDEST, max(NARROWEST, CACHED // steps // 16 * 16))
    blocks = -(-places // width)
    threads = min(torch.get_num_threads(), blocks) if size > SMALL else 1
    room = ROOM + kept * steps * width
    work = _memory().empty((max(threads, 1), room), current.dtype)
    reset, (slope, _), adaptive, bounds = frame
    job = array(
        "q",
        (
            *(0, 0, 0),
            *(room, blocks, width, steps, places, current.shape[-1]),
            *(reset == "immediate", adaptive, bounds is not None, KINDS[slope]),
            *[one is not None and one.numel() > 1 for one in neurons[:4]],
            *(_constants(frame, current.dtype).data_ptr(), work.data_ptr(), current.data_ptr()),
            *[0 if one is None else one.data_ptr() for one in (*neurons, *tensors)],
            *REST,
        ),
    )
    handed, work_on = job.buffer_info()[0], kernel(name, current.dtype)
    if threads <= 1:
        work_on.call(handed)
    elif (parallel := _openmp()) is not None:
        parallel(work_on.address, handed, threads, 0)
    else:
        for one in [_pool(threads).submit(work_on.call, handed) for _ in range(threads)]:
            one.result()


@cache
def _openmp() -> Callable[..., None] | None:
    """Runs a function in threads of the OpenMP that torch runs in; None: torch has none that is called so."""
    try:
        parallel = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None
    parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    parallel.restype = None
    return parallel


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "leaky")


@cache
def _memory() -> Recycled:
    return Recycled()


@cache
def _constants(frame: Frame, dtype: torch.dtype) -> Tensor:
    """In the current's type, lest loops be widened to float64: low, high, alpha, a slope's factor of x, 0, 1, 1/2."""
    alpha = frame.surrogate.alpha
    factor = math.pi / 2 * alpha if frame.surrogate.name == "atan" else alpha
    low, high = frame.bounds or (-math.inf, math.inf)
    return torch.tensor([low, high, alpha, factor, 0, 1, 0.5], dtype=dtype)
