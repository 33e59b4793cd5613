"""What the fused kernels of `leaky` are handed and hand back: tensors of one type and device, contiguous."""

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
    """Parameters, [N] or one for all, and the state before the first step [..., N]; None: there is none, all rest."""

    decay: Tensor
    threshold: Tensor
    strength: Tensor | None
    trace_decay: Tensor | None
    potential: Tensor | None
    spiked: Tensor | None
    trace: Tensor | None


class Outcome(NamedTuple):
    """Spikes [T, ..., N] and the state after the last step [..., N], as far as there is one; or the gradients by them.

    There is always a potential; its gradient may be missing.
    """

    spikes: Tensor
    potential: Tensor | None
    spiked: Tensor | None
    trace: Tensor | None


class Gradients(NamedTuple):
    """By the current [T, ..., N], by parameters [4, N] (without adaptation [2, N]), and by the state before the first
    step [..., N]; None where they are not wanted."""

    current: Tensor
    parameters: Tensor | None
    potential: Tensor | None
    trace: Tensor | None


class Wanted(NamedTuple):
    """Which gradients, beside the current's, are wanted."""

    parameters: bool
    state: bool
