"""`leaky` in one fused kernel over time with its own backward: `leaky_cpu` on the CPU, `leaky_triton` on GPUs where
Triton is installed. Other devices have none.

Spikes and potentials are those of `leaky`, gradients too but for rounding. Without gradients nothing is kept but the
spikes and the last state. float32 and float64 are computed as such, other types (autocast's bfloat16) as float32 and
given back as they came: a state that is carried on from call to call is rounded each time. On the CPU it runs on
torch's own threads, so as torch itself it must not run in a process that was forked after it ran.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.neurons import leaky_cpu
from pipeline.neurons.frame import Frame, Neurons, Outcome, Wanted
from pipeline.neurons.leaky import Adaptation, State, check
from pipeline.neurons.surrogate import Surrogate

COMPUTED = (torch.float32, torch.float64)


def kernels(device: torch.device) -> ModuleType | None:
    """The module of kernels for a device; None: there is none."""
    if device.type == "cpu":
        return leaky_cpu
    if device.type != "cuda":
        return None
    try:
        from pipeline.neurons import leaky_triton  # here: a machine without a GPU needs no Triton
    except ModuleNotFoundError:
        return None
    return leaky_triton


def fused_leaky(
    current: Tensor,
    decay: Tensor,
    threshold: Tensor,
    reset: str = "immediate",
    surrogate: Surrogate = Surrogate(),  # noqa: B008 (a constant)
    adaptation: Adaptation | None = None,
    bounds: tuple[float, float] | None = None,
    state: State | None = None,
    kernel: ModuleType | None = None,
    inplace: bool = False,
) -> tuple[Tensor, State]:
    """As `leaky`, which says what is what. Raises ValueError as it does, for a device that has no kernel, and for
    parameters and states on another device than the current.

    With `inplace`, spikes are written over the current where no gradient is wanted (and it is contiguous and of a type
    that is computed as such): at inference a layer then takes no memory but its state's.
    """
    check(current, reset, decay, threshold, adaptation, state)
    kernel = kernel or kernels(current.device)
    if kernel is None:
        raise ValueError(f"there is no fused kernel for {current.device}")
    strength, rho = adaptation or (None, None)
    potential, spiked, trace = state or (None, None, None)
    frame = Frame(reset, surrogate, adaptation is not None, bounds)
    found = _Leaky.apply(kernel, frame, inplace, current, decay, threshold, strength, rho, potential, spiked, trace)
    return found[0], State(*found[1:])


class _Leaky(torch.autograd.Function):
    """Types and shapes are brought to what kernels take, and back, in here: autograd would see a dozen steps more.

    What kernels are given is checked here, too: they take addresses, and trust them.
    """

    @staticmethod
    def forward(
        ctx: Any, kernel: ModuleType, frame: Frame, inplace: bool, current: Tensor, *given: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        computed = current.dtype if current.dtype in COMPUTED else torch.float32
        like = current if current.dtype == computed else current.to(computed)
        like = like if like.is_contiguous() else like.contiguous()
        row, width = like.shape[1:], like.shape[-1:]
        potential, spiked, trace = given[4:]
        states = (potential, spiked if frame.reset == "delayed" else None, trace if frame.adaptive else None)
        neurons = Neurons(
            *(_laid(one, like, one.shape if one is not None and one.ndim == 0 else width) for one in given[:4]),  # type: ignore[arg-type]
            *(_laid(one, like, row) for one in states),
        )
        keep = any(ctx.needs_input_grad)
        outcome, kept = kernel.forward(like, neurons, frame, keep, inplace and not keep)
        if keep:
            ctx.kernel, ctx.frame, ctx.kept = kernel, frame, len(kept)
            ctx.save_for_backward(*kept, *neurons)
            wants = zip((current, *given), ctx.needs_input_grad[3:], strict=True)
            ctx.given = [(one.shape, one.dtype) if one is not None and want else None for one, want in wants]
            if outcome.spiked is not None:
                ctx.mark_non_differentiable(outcome.spiked)
            ctx.set_materialize_grads(False)
        if computed == current.dtype:
            return outcome
        return tuple(None if one is None else one.to(current.dtype) for one in outcome)

    @staticmethod
    @once_differentiable  # a gradient of it would be missing, and nothing would say so
    def backward(ctx: Any, *by: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, given = ctx.saved_tensors, ctx.given
        kept, neurons = saved[: ctx.kept], Neurons(*saved[ctx.kept :])
        like = kept[0]
        row = like.shape[1:]
        spikes = like.new_zeros(like.shape) if by[0] is None else by[0]
        outcome = Outcome(
            _laid(spikes, like, like.shape),  # type: ignore[arg-type]
            _laid(by[1], like, row),
            None,
            _laid(by[3], like, row),
        )
        wanted = Wanted(any(given[1:5]), any(given[5:]))
        found = ctx.kernel.backward(kept, neurons, ctx.frame, outcome, wanted)
        parameters: tuple[Tensor | None, ...] = (None,) * 4
        if found.parameters is not None:
            parameters = (*found.parameters.unbind(), None, None)[:4]
        through = (found.current, *parameters, found.potential, None, found.trace)
        return (None, None, None, *map(_as_given, through, given))


def _laid(one: Tensor | None, like: Tensor, shape: torch.Size) -> Tensor | None:
    """A tensor as kernels take it: contiguous, of a shape, of the type and on the device of `like`."""
    if one is None:
        return None
    if one.device != like.device:
        raise ValueError(f"a tensor on {one.device}, the current on {like.device}")
    if one.dtype != like.dtype:
        one = one.to(like.dtype)
    if one.shape != shape:
        one = one.expand(shape)
    return one if one.is_contiguous() else one.contiguous()


def _as_given(gradient: Tensor | None, given: tuple[torch.Size, torch.dtype] | None) -> Tensor | None:
    """A gradient by what was expanded, as one by what was given: sums over whatever it was expanded to."""
    if gradient is None or given is None:
        return None
    shape, dtype = given
    if gradient.shape != shape:
        gradient = gradient.sum_to_size(shape)
    return gradient if gradient.dtype == dtype else gradient.to(dtype)
