"""`leaky` in one fused kernel over time with its own backward: `leaky_cpu` on the CPU, `leaky_triton` on GPUs where
Triton is installed. Other devices have none.

Spikes and potentials are those of `leaky`, gradients too but for rounding. Without gradients nothing is kept but the
spikes and the last state. float32 and float64 are computed as such, other types (autocast's bfloat16) as float32 and
given back as they came.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pipeline.neurons import leaky_cpu
from pipeline.neurons.frame import Frame, Neurons, Outcome
from pipeline.neurons.leaky import Adaptation, State, check, time_constant
from pipeline.neurons.surrogate import Surrogate

WIDTH = 1024
"""Rows of fewer neurons are laid side by side up to so many values, that loops over them are worth their start."""


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
    """As `leaky`, which says what is what. Raises ValueError as it does, and for a device that has no kernel.

    With `inplace`, spikes are written over the current where no gradient is wanted (and it is contiguous and of a type
    that is computed as such): at inference a layer then takes no memory but its state's.
    """
    check(current, reset)
    kernel = kernel or kernels(current.device)
    if kernel is None:
        raise ValueError(f"there is no fused kernel for {current.device}")
    given = state or State(None)  # type: ignore[arg-type]
    spikes, potential, spiked, trace = _Leaky.apply(
        kernel, Frame(reset, surrogate, adaptation is not None, bounds), inplace, current, decay, threshold,
        *(adaptation or (None, None)), given.potential, given.spiked, given.trace,
    )  # fmt: skip
    return spikes, State(potential, spiked if reset == "delayed" else None, None if adaptation is None else trace)


class _Leaky(torch.autograd.Function):
    """Shapes and types are brought to what kernels take, and back, in here: autograd would see a dozen steps more."""

    @staticmethod
    def forward(
        ctx: Any, kernel: ModuleType, frame: Frame, inplace: bool, current: Tensor, *given: Tensor | None
    ) -> tuple[Tensor, ...]:
        dtype = current.dtype if current.dtype in (torch.float32, torch.float64) else torch.float32
        shape, neurons = current.shape, current.shape[-1]
        rows = current[0].numel() // max(neurons, 1)
        beside = next((n for n in range(max(1, WIDTH // max(neurons, 1)), 0, -1) if rows % n == 0), 1)
        laid = current.detach().to(dtype).reshape(shape[0], -1, beside * neurons).contiguous()
        none, rest = laid.new_zeros(beside * neurons), laid.new_zeros(laid.shape[1:])

        def parameter(one: Tensor | None) -> Tensor:
            if one is None:
                return none
            one = one.detach().to(dtype).expand(neurons)
            return one.repeat(beside) if beside > 1 else one.contiguous()

        def before(one: Tensor | None) -> Tensor:
            if one is None:
                return rest
            return one.detach().to(dtype).expand(shape[1:]).reshape(rest.shape).contiguous()

        decay, threshold, strength, rho = map(parameter, given[:4])
        each = Neurons(decay, time_constant(decay, dtype), threshold, strength, rho, *map(before, given[4:]))
        keep = any(ctx.needs_input_grad)
        outcome, kept = kernel.forward(laid, each, frame, keep, inplace and not keep)
        if kept:
            ctx.kernel, ctx.frame, ctx.kept = kernel, frame, len(kept)
            ctx.given = [None if one is None else (one.shape, one.dtype) for one in (current, *given)]
            ctx.save_for_backward(*kept, *each)
        ctx.mark_non_differentiable(outcome.spiked)
        ctx.set_materialize_grads(False)
        return tuple(one.reshape(shape if one is outcome.spikes else shape[1:]).to(current.dtype) for one in outcome)

    @staticmethod
    def backward(ctx: Any, *by: Tensor | None) -> tuple[Tensor | None, ...]:
        saved: Sequence[Tensor] = ctx.saved_tensors
        kept, neurons = saved[: ctx.kept], Neurons(*saved[ctx.kept :])
        like, shape = kept[0], neurons.potential.shape
        rest = like.new_zeros(shape)

        def laid(one: Tensor | None) -> Tensor:
            return rest if one is None else one.to(like.dtype).reshape(shape).contiguous()

        by_spikes = like.new_zeros(like.shape) if by[0] is None else by[0].to(like.dtype).reshape(like.shape)
        whole = Outcome(by_spikes.contiguous(), laid(by[1]), rest, laid(by[3]))
        found = ctx.kernel.backward(kept, neurons, ctx.frame, whole)
        through = (found.current, *found[1:5], found.potential, None, found.trace)
        wanted = zip(through, ctx.given, ctx.needs_input_grad[3:], strict=True)
        return (
            None,
            None,
            None,
            *(_as_given(one, of) if one is not None and wants else None for one, of, wants in wanted),
        )


def _as_given(gradient: Tensor, given: tuple[torch.Size, torch.dtype]) -> Tensor:
    """A gradient by what was expanded, as one by what was given: sums over whatever it was expanded to."""
    shape, dtype = given
    if gradient.numel() != shape.numel():
        gradient = gradient.reshape(-1, shape.numel()).sum(0)
    return gradient.reshape(shape).to(dtype)
