"""`leaky` in one fused kernel over time with its own backward: `leaky_cpu` on the CPU. Other devices have none.

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
    return leaky_cpu if device.type == "cpu" else None


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
) -> tuple[Tensor, State]:
    """As `leaky`, which says what is what. Raises ValueError as it does, and for a device that has no kernel."""
    check(current, reset)
    kernel = kernel or kernels(current.device)
    if kernel is None:
        raise ValueError(f"there is no fused kernel for {current.device}")
    dtype = current.dtype if current.dtype in (torch.float32, torch.float64) else torch.float32
    shape, neurons = current.shape, current.shape[-1]
    rows = current[0].numel() // max(neurons, 1)
    beside = next((n for n in range(max(1, WIDTH // max(neurons, 1)), 0, -1) if rows % n == 0), 1)

    def parameter(one: Tensor | None) -> Tensor:
        one = current.new_zeros(()) if one is None else one
        return one.to(dtype).expand(neurons).repeat(beside)

    def rest(one: Tensor | None) -> Tensor:
        one = current.new_zeros((), dtype=dtype) if one is None else one
        return one.to(dtype).expand(shape[1:]).reshape(-1, beside * neurons).contiguous()

    given = state or State(current.new_zeros(()))
    outcome = _Leaky.apply(
        kernel, Frame(reset, surrogate, adaptation is not None, bounds),
        current.to(dtype).reshape(shape[0], -1, beside * neurons).contiguous(),
        *(parameter(decay), parameter(threshold)),
        *(parameter(adaptation and adaptation.strength), parameter(adaptation and adaptation.decay)),
        *(rest(given.potential), rest(given.spiked), rest(given.trace)),
    )  # fmt: skip
    spikes, potential, spiked, trace = (one.to(current.dtype) for one in outcome)
    last = State(
        potential.reshape(shape[1:]),
        spiked.reshape(shape[1:]) if reset == "delayed" else None,
        trace.reshape(shape[1:]) if adaptation is not None else None,
    )
    return spikes.reshape(shape), last


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: ModuleType, frame: Frame, current: Tensor, decay: Tensor, threshold: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        neurons = Neurons(decay, time_constant(decay, current.dtype), threshold, *rest)
        outcome, kept = kernel.forward(current.detach(), _detached(neurons), frame, any(ctx.needs_input_grad))
        ctx.kernel, ctx.frame, ctx.kept = kernel, frame, len(kept)
        if kept:
            ctx.save_for_backward(*kept, *neurons)
        ctx.mark_non_differentiable(outcome.spiked)
        return tuple(outcome)

    @staticmethod
    def backward(ctx: Any, *by: Tensor) -> tuple[Tensor | None, ...]:
        saved: Sequence[Tensor] = ctx.saved_tensors
        kept, neurons = [one.detach() for one in saved[: ctx.kept]], Neurons(*saved[ctx.kept :])
        whole = Outcome(*(one.contiguous() for one in by))
        found = ctx.kernel.backward(kept, _detached(neurons), ctx.frame, whole)
        return None, None, *found[:6], None, found.trace


def _detached(neurons: Neurons) -> Neurons:
    return Neurons(*(one.detach() for one in neurons))
