"""A layer of leaky integrate-and-fire neurons, each with a decay and a threshold of its own that can be learned.

    spikes = LIF(neurons=256)(current)      current, spikes float [T, ..., 256]

The dynamics are those of `leaky`. A learned decay is sigmoid(w), a learned threshold exp(w): both stay where they make
sense. Membrane control is `bounds` of the potential and `homeostasis`: while training, each neuron's threshold is moved
by `speed` times its firing rate less `target`, so that none falls silent or fires always (no gradient: a slow rule of
its own, as in Diehl and Cook 2015, "Unsupervised learning of digit recognition using STDP"). Processes that train
together move it by the rate over all of them, as one process with all rows would; each has as many rows.
"""

import math
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.neurons import surrogate
from pipeline.neurons.fused import fused_leaky, kernels
from pipeline.neurons.leaky import RESETS, Adaptation, State, leaky

BACKENDS = ("auto", "fused", "reference")


class Homeostasis(NamedTuple):
    """`target` spikes a step, 0 .. 1, and how far (`speed`, at least 0) a forward pass moves the threshold for each
    spike a step more."""

    target: float = 0.1
    speed: float = 0.01


class LIF(nn.Module):
    """Args:
        neurons: N, the last axis of what comes in.
        decay, threshold: beta in 0 .. 1 and theta above 0, of all neurons at the beginning.
        reset: `immediate` or `delayed` (see `leaky`).
        learned: which of decay and threshold (and `adaptation`'s) gradients reach.
        adaptation: strength kappa, at least 0, and decay rho in 0 .. 1 of an adaptive threshold (ALIF).
        bounds: low and high of the potential, low below high.
        homeostasis: target and speed of the slow rule.
        backend: `fused` (one kernel over time), `reference` (plain torch), or `auto`: fused where the device has it.
        inplace: where no gradient is wanted, the fused kernel writes spikes over the current.

    Raises ValueError, naming it, for a value that is out of range.
    """

    fixed_decay: Tensor
    fixed_threshold: Tensor
    adaptation_strength: Tensor
    adaptation_decay: Tensor
    raised: Tensor

    def __init__(
        self,
        neurons: int,
        decay: float = 0.5,
        threshold: float = 1.0,
        reset: str = "immediate",
        slope: surrogate.Surrogate = surrogate.Surrogate(),  # noqa: B008 (a constant)
        learned: bool = True,
        adaptation: tuple[float, float] | None = None,
        bounds: tuple[float, float] | None = None,
        homeostasis: Homeostasis | None = None,
        backend: str = "auto",
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if neurons < 1:
            raise ValueError(f"neurons is {neurons}: expected at least 1")
        if not 0 < decay <= 1 or (learned and decay == 1):
            raise ValueError(f"decay is {decay}: expected above 0 and at most 1, below 1 where it is learned")
        if not (math.isfinite(threshold) and threshold > 0):
            raise ValueError(f"threshold is {threshold}: expected above 0")
        if reset not in RESETS:
            raise ValueError(f"reset {reset!r} is not one of {', '.join(RESETS)}")
        if backend not in BACKENDS:
            raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
        if adaptation is not None and not (0 <= adaptation[0] < math.inf and 0 <= adaptation[1] <= 1):
            raise ValueError(f"adaptation is {adaptation}: expected a strength of at least 0 and a decay in 0 .. 1")
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds are {bounds}: expected the low one below the high one")
        if homeostasis is not None and not (0 <= homeostasis.target <= 1 and 0 <= homeostasis.speed < math.inf):
            raise ValueError(f"{homeostasis}: expected a target in 0 .. 1 and a speed of at least 0")
        self.backend, self.inplace = backend, inplace
        self.neurons, self.reset, self.slope, self.bounds, self.learned = neurons, reset, slope, bounds, learned
        self.homeostasis = homeostasis
        full = torch.full((neurons,), 1.0)
        if learned:
            self.decay_logit = nn.Parameter(full * math.log(decay / (1 - decay)))
            self.log_threshold = nn.Parameter(full * math.log(threshold))
        else:
            self.register_buffer("fixed_decay", full * decay)
            self.register_buffer("fixed_threshold", full * threshold)
        self.adapts = adaptation is not None
        if adaptation is not None:
            self.register_buffer("adaptation_strength", full * adaptation[0])
            self.register_buffer("adaptation_decay", full * adaptation[1])
        if homeostasis is not None:
            self.register_buffer("raised", torch.zeros(neurons))

    @property
    def decay(self) -> Tensor:
        """beta [N]."""
        return torch.sigmoid(self.decay_logit) if self.learned else self.fixed_decay

    @property
    def threshold(self) -> Tensor:
        """theta [N]."""
        base: Tensor = self.log_threshold.exp() if self.learned else self.fixed_threshold
        return base if self.homeostasis is None else (base + self.raised).clamp(min=1e-3)

    @property
    def adaptation(self) -> Adaptation | None:
        return Adaptation(self.adaptation_strength, self.adaptation_decay) if self.adapts else None

    def move_threshold(self, factor: float) -> None:
        """Multiply theta by a factor, outside of what gradients do."""
        with torch.no_grad():
            if self.learned:
                self.log_threshold.add_(math.log(factor))
            else:
                self.fixed_threshold *= factor

    def forward(self, current: Tensor) -> Tensor:
        """Spikes [T, ..., N] of a current [T, ..., N], all neurons at rest before."""
        return self.run(current)[0]

    def run(self, current: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Spikes, and the state after the last step, to go on from."""
        if current.shape[-1] != self.neurons:
            raise ValueError(f"current of shape {list(current.shape)}: its last axis is not of {self.neurons} neurons")
        kernel = None if self.backend == "reference" else kernels(current.device)
        given = current, self.decay, self.threshold, self.reset, self.slope, self.adaptation, self.bounds, state
        if kernel is None and self.backend != "fused":
            spikes, state = leaky(*given)
        else:
            spikes, state = fused_leaky(*given, kernel, self.inplace)
        if self.homeostasis is not None and self.training:
            with torch.no_grad():
                rate = _over_processes(spikes.mean(dim=tuple(range(spikes.ndim - 1))))
                self.raised += self.homeostasis.speed * (rate - self.homeostasis.target)
        return spikes, state


def _over_processes(rate: Tensor) -> Tensor:
    """The mean over the processes of a run, lest each go its own way."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(rate)
        rate = rate / dist.get_world_size()
    return rate
