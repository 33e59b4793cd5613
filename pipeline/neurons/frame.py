"""What the fused kernels of `leaky` are handed and hand back: tensors [T, M, N] of one type, contiguous."""

from typing import NamedTuple

from torch import Tensor

from pipeline.neurons.surrogate import Surrogate


class Frame(NamedTuple):
    """Which of the dynamics of `leaky` are meant."""

    reset: str
    surrogate: Surrogate
    adaptive: bool
    bounds: tuple[float, float] | None


class Neurons(NamedTuple):
    """Parameters [N] (`tau` is 1 / (1 - decay)) and the state before the first step [M, N]."""

    decay: Tensor
    tau: Tensor
    threshold: Tensor
    strength: Tensor
    trace_decay: Tensor
    potential: Tensor
    spiked: Tensor
    trace: Tensor


class Outcome(NamedTuple):
    """Spikes [T, M, N] and the state after the last step [M, N]; or the gradients by them."""

    spikes: Tensor
    potential: Tensor
    spiked: Tensor
    trace: Tensor


class Gradients(NamedTuple):
    """By the current [T, M, N], by parameters [N], by the state before the first step [M, N]."""

    current: Tensor
    decay: Tensor
    threshold: Tensor
    strength: Tensor
    trace_decay: Tensor
    potential: Tensor
    trace: Tensor
