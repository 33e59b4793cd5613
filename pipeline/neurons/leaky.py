"""Leaky integrate-and-fire over time, in plain torch: the reference that the fused kernels have to equal.

With input i[t], decay beta, threshold theta, and [.] 1 where it is true and 0 elsewhere:

    immediate   u[t] = v[t-1] - v[t-1] / tau + i[t],         s[t] = [u[t] >= theta[t]],   v[t] = u[t] - theta s[t]
    delayed     u[t] = beta u[t-1] + i[t] - theta s[t-1],    s[t] = [u[t] > theta[t]]

tau = 1 / (1 - beta) in steps, so v - v / tau is beta v but for rounding: it is rounded as SpikingJelly rounds.

`immediate` takes a spike's size away at once, and what is left decays: SpikingJelly's LIFNode(tau=1 / (1 - beta),
decay_input=False, v_reset=None, detach_reset=True). `delayed` takes it away one step later, after the decay, undecayed:
snnTorch's Leaky(reset_mechanism="subtract"). Both begin with u, v, s = 0, and agree bit for bit with those libraries.

In the same frame, each left out where it is not given:

    adaptation   theta[t] = theta + kappa a[t],   a[t] = rho a[t-1] + s[t-1]     (ALIF: Bellec et al. 2020, "A solution
                 to the learning dilemma for recurrent networks of spiking neurons"); a reset still takes theta away
    bounds       u[t] is clamped to low .. high before it is compared: no gradient where it was outside

Backward, s has a surrogate gradient (`surrogate`), in a reset and in a[t] it is a constant (detached): there gradients
would go around the step function a second time.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.neurons.surrogate import Surrogate, spike

RESETS = ("immediate", "delayed")


class Adaptation(NamedTuple):
    """`strength` kappa and `decay` rho of the threshold's trace, each [N] or a scalar."""

    strength: Tensor
    decay: Tensor


class State(NamedTuple):
    """What a neuron carries from step to step, each [..., N]: its potential after the last step (`immediate`: v;
    `delayed`: u, its spike in `spiked`) and its trace a, already decayed for the next step; None where it has none."""

    potential: Tensor
    spiked: Tensor | None = None
    trace: Tensor | None = None


def time_constant(decay: Tensor, dtype: torch.dtype) -> Tensor:
    """tau = 1 / (1 - beta), rounded once: what Python's floats give SpikingJelly."""
    return (1 / (1 - decay.double())).to(dtype)


def check(
    current: Tensor,
    reset: str,
    decay: Tensor,
    threshold: Tensor,
    adaptation: Adaptation | None = None,
    state: State | None = None,
) -> None:
    """Raises ValueError for a reset that there is not, for T = 0, for a current without an axis of neurons, and, naming
    it, for a parameter or state of another shape."""
    if current.ndim < 2:
        raise ValueError(f"current of shape {list(current.shape)}: expected [T, ..., N]")
    if reset not in RESETS:
        raise ValueError(f"reset {reset!r} is not one of {', '.join(RESETS)}")
    if not len(current):
        raise ValueError("no time steps: T is 0")
    row = current.shape[1:]
    strength, rho = adaptation or (None, None)
    parameters = (
        ("decay", decay),
        ("threshold", threshold),
        ("adaptation strength", strength),
        ("adaptation decay", rho),
    )
    for name, one in parameters:
        if one is not None and (one.ndim > 1 or one.numel() not in (1, row[-1])):
            raise ValueError(f"{name} of shape {list(one.shape)}: expected [{row[-1]}] or one for all neurons")
    for name, one in zip(State._fields, state or (), strict=False):
        if one is not None and one.shape != row and not _expands(one.shape, row):
            raise ValueError(f"{name} of shape {list(one.shape)}: expected {list(row)}")


def _expands(shape: torch.Size, to: torch.Size) -> bool:
    """Whether a tensor of a shape is one of another if it is repeated."""
    return len(shape) <= len(to) and all(
        one in (1, other) for one, other in zip(reversed(shape), reversed(to), strict=False)
    )


def leaky(
    current: Tensor,
    decay: Tensor,
    threshold: Tensor,
    reset: str = "immediate",
    surrogate: Surrogate = Surrogate(),  # noqa: B008 (a constant)
    adaptation: Adaptation | None = None,
    bounds: tuple[float, float] | None = None,
    state: State | None = None,
) -> tuple[Tensor, State]:
    """Spikes [T, ..., N] of 0 and 1 in the current's type, and the state after the last step.

    Args:
        current: i [T, ..., N].
        decay, threshold: beta and theta, [N] or scalars.
        state: where to go on from; None: all 0.

    Raises ValueError as `check`.
    """
    check(current, reset, decay, threshold, adaptation, state)
    nothing = torch.zeros_like(current[0])
    potential, spiked, trace = state or State(nothing)
    spiked = nothing if spiked is None else spiked.detach()
    if trace is None:
        trace = nothing
    tau = time_constant(decay, current.dtype)
    spikes = []
    for i in current:
        rest = decay * potential if reset == "delayed" else potential - potential / tau
        u = rest + i
        if reset == "delayed":
            u = u - spiked * threshold
        if bounds is not None:
            u = u.clamp(*bounds)
        theta = threshold if adaptation is None else threshold + adaptation.strength * trace
        s = spike(u - theta, surrogate, at_threshold=reset == "immediate")
        spiked = s.detach()
        potential = u - spiked * threshold if reset == "immediate" else u
        if adaptation is not None:
            trace = adaptation.decay * trace + spiked
        spikes.append(s)
    last = State(potential, spiked if reset == "delayed" else None, trace if adaptation is not None else None)
    return torch.stack(spikes), last
