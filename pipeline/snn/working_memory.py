"""Working memory of bits: a recurrent state that a spike of a write gate replaces, and that silence keeps.

    x[t] = LIF(W_x i[t])                             the layer's input spikes; adaptive thresholds (ALIF)
    w[t] = LIF(W_w x[t]),   z[t] = LIF(W_z x[t])     write gates and what they write, spikes
    c[t] = c[t-1] + w[t] (z[t] - c[t-1])             the state, c[0] = 0

w and z are 0 or 1, so c is: where w is silent, c[t] = c[t-1] to the bit, over however many steps. Backward, 1 - w is
what an LSTM's forget gate is (Hochreiter and Schmidhuber 1997; Gers et al. 2000): gradients pass unchanged where
nothing is written, and reach w by its surrogate. Gates read spikes of the layer below and not the state, so that their
neurons run over all steps at once (the simplification of Martin and Cundy 2018, arXiv:1709.04057).

Without memory the layer is x[t] = LIF(W_x i[t]), c[t] = z[t] = LIF(W_z x[t]): no gate, no adaptation; what remains is
the leak of a potential.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.neurons.leaky import State
from pipeline.neurons.lif import LIF

ADAPTATION = (0.1, 0.9)  # kappa in units of the first threshold, rho: a trace of some ten steps
SHUT = -1.5  # the gates' first bias, in thresholds: a state lasts from the beginning, as behind a forget gate that is
# open (Gers et al. 2000; Jozefowicz et al. 2015)
ACTIVE = 0.15  # the share of a layer's neurons that fire in a step, about, with the weights below


class Memory(NamedTuple):
    """What the layer carries from step to step: states of its neurons, and c [..., N]."""

    inputs: State
    values: State
    gates: State | None
    held: Tensor


def gated(write: Tensor, value: Tensor, held: Tensor | None = None) -> Tensor:
    """c [T, ..., N] of spikes w and z [T, ..., N]; `held` c[0] [..., N], 0 if None."""
    c = torch.zeros_like(value[0]) if held is None else held
    states = []
    for w, z in zip(write, value, strict=True):
        c = c + w * (z - c)
        states.append(c)
    return torch.stack(states)


def spiking_linear(inputs: int, outputs: int, active: float) -> nn.Linear:
    """A linear layer whose current has unit variance where `active` of its inputs are 1 in a step, so that neurons of
    threshold 1 fire from the beginning (Rossbroich, Gygax and Zenke 2022, arXiv:2206.10226)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(max(active, 1)))
    nn.init.zeros_(layer.bias)
    return layer


class WorkingMemory(nn.Module):
    """Spikes [T, ..., inputs] to the spikes x and the state c, side by side [T, ..., 2 width].

    Args:
        active: how many inputs are 1 in a step, about; for the first weights.
        memory: with gates and adaptive thresholds, or without either.
    """

    def __init__(self, inputs: int, width: int, active: float, memory: bool) -> None:
        super().__init__()
        self.memory, self.operations = memory, dict[str, float]()
        self.to_inputs = spiking_linear(inputs, width, active)
        self.inputs = LIF(width, adaptation=ADAPTATION if memory else None)
        self.to_values = spiking_linear(width, width, ACTIVE * width)
        self.values = LIF(width)
        if memory:
            self.to_gates = spiking_linear(width, width, ACTIVE * width)
            nn.init.constant_(self.to_gates.bias, SHUT)
            self.gates = LIF(width)

    def forward(self, spikes: Tensor) -> Tensor:
        """[T, ..., 2 width], from rest."""
        x = self.inputs(self.to_inputs(spikes))
        z = self.values(self.to_values(x))
        return torch.cat([x, self._state(z, self.gates(self.to_gates(x))) if self.memory else z], dim=-1)

    def run(self, spikes: Tensor, before: Memory | None = None) -> tuple[Tensor, Memory]:
        """The same, and what to go on from."""
        x, inputs = self.inputs.run(self.to_inputs(spikes), before.inputs if before else None)
        z, values = self.values.run(self.to_values(x), before.values if before else None)
        c, gates = z, None
        if self.memory:
            w, gates = self.gates.run(self.to_gates(x), before.gates if before else None)
            c = self._state(z, w, before.held if before else None)
        return torch.cat([x, c], dim=-1), Memory(inputs, values, gates, c[-1])

    def _state(self, value: Tensor, write: Tensor, held: Tensor | None = None) -> Tensor:
        # A gate's spike is one synapse: it writes one number. What no gate writes is not touched.
        self.operations = {"accumulates": float(write.detach().sum()), "state": float(write.shape[-1])}
        return gated(write, value, held)
