"""A block of a spiking transformer: phase-shifted attention and a spiking MLP on a stream of membrane currents.

    x <- x + W_o s_o,   s_o = LIF(N(o)),   o = attention(q, k, v),   (q, k, v) = LIF(W_qkv LIF(N(x)) + r)
    x <- x + W_2 LIF(W_1 LIF(N(x)))

The shortcut adds currents, not spikes (the membrane shortcut of Spike-driven Transformer V2, Yao et al. 2024,
arXiv:2404.03663): every matrix sees spikes of 0 and 1, and gradients pass the stream unchanged. N is a division by the
root mean square over the neurons of a token and micro-step (o: of a head), a gain and a bias; it is no batch statistic,
so a token's output depends on no other row, and on no later token. r [T, 3 dims] is a rhythm: a current of each neuron
at each micro-step, the same for all tokens. It lets a neuron keep to a micro-step, which is what phases shift.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from pipeline.neurons.lif import LIF
from pipeline.snn.attention import Phases, PhaseShiftedAttention

EPSILON = 1e-5


class Shape(NamedTuple):
    """`dims` neurons in `heads` heads, `hidden` neurons in the MLP, T micro-steps; `decay` of attention, dropout."""

    dims: int
    heads: int
    hidden: int
    timesteps: int
    decay: str
    dropout: float


class Normalised(nn.Module):
    """x / rms(x) g + b over groups of the last axis, g and b [dims]."""

    def __init__(self, dims: int, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.gain, self.bias = nn.Parameter(torch.ones(dims)), nn.Parameter(torch.zeros(dims))

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.unflatten(-1, (self.groups, -1))
        return torch.addcmul(self.bias, rms_norm(grouped, grouped.shape[-1:], eps=EPSILON).flatten(-2), self.gain)


class SharedDropout(nn.Module):
    """Dropout whose mask is the same at all micro-steps of a token."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.share):
            return x
        kept = torch.empty(x.shape[1:], device=x.device, dtype=x.dtype).bernoulli_(1 - self.share)
        return x * kept.div_(1 - self.share)


class Block(nn.Module):
    """[T, B, tokens, dims] to the same."""

    def __init__(self, shape: Shape, phases: Phases, blocks: int) -> None:
        super().__init__()
        dims, heads, hidden, steps = shape.dims, shape.heads, shape.hidden, shape.timesteps
        self.phases = phases
        self.normalised_in, self.lif_in = Normalised(dims), LIF(dims)
        self.qkv = nn.Linear(dims, 3 * dims, bias=False)
        turn = torch.arange(steps)[:, None] / steps - torch.rand(3 * dims)
        self.rhythm = nn.Parameter(0.5 * torch.cos(2 * math.pi * turn))
        self.lif_qkv = LIF(3 * dims)
        self.attention = PhaseShiftedAttention(heads, shape.decay)
        self.normalised_out, self.lif_out = Normalised(dims, heads), LIF(dims)
        self.out = nn.Linear(dims, dims, bias=False)
        self.normalised_mlp, self.lif_mlp = Normalised(dims), LIF(dims)
        self.up, self.lif_up = nn.Linear(dims, hidden), LIF(hidden)
        self.down = nn.Linear(hidden, dims, bias=False)
        self.dropout = SharedDropout(shape.dropout)
        # About a fifth of the inputs are 1: currents of about 1 as they come to a threshold of 1, and a stream that
        # grows by as much in all, however many blocks there are.
        for layer in (self.qkv, self.up):
            nn.init.normal_(layer.weight, std=(0.2 * dims) ** -0.5)
        for layer in (self.out, self.down):
            nn.init.normal_(layer.weight, std=(0.2 * layer.in_features * 2 * blocks) ** -0.5)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif_in(self.normalised_in(x))
        q, k, v = self.lif_qkv(self.qkv(spikes) + self.rhythm[:, None, None]).chunk(3, -1)
        heard = self.attention(q, k, v, self.phases(x.shape[2]))
        x = x + self.dropout(self.out(self.lif_out(self.normalised_out(heard))))
        return x + self.dropout(self.down(self.lif_up(self.up(self.lif_mlp(self.normalised_mlp(x))))))
