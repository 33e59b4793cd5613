"""A nested binary code that learns: its encoder through straight-through bits, one decoder for all its prefixes.

    y = (F + r S) (x - mean),    v_j = the mean of y_j's cell after b bits,
    x' = mean + P v + e_b W_o (g_b * relu(W_i u + h_b)),    u_j = v_j |P_j| (k / variance)^(1/2)

F, the cells and P (F's pseudo-inverse) are those of `successive_refinement`, and S and W_o begin as 0: step 0 is that
code. S is learned through the cells as if they were not there, dv/dy = 1 (straight-through estimator, Bengio et al.
2013, arXiv:1308.3432); P follows to the first order, P - r P S P. The network says what the cells cannot: rows are no
Gaussian, their components not independent. Its two matrices serve every prefix. What a prefix has of its own are h_b
and g_b, and e_b, the root mean square error that it begins with.

Each step trains one size, drawn anew (Matryoshka representation learning, Kusupati et al. 2022, arXiv:2205.13147, sums
over all instead). The parts of the loss, over a batch, the first three in units of the error that the size begins with,
so that all sizes weigh alike:

    reconstruction   mean |x' - x|^2
    similarity       mean over pairs of (cos(x_i, x'_j) - cos(x_i, x_j))^2
    ranking          mean KL of softmax_j(cos(x_i, x'_j) / t) from softmax_j(cos(x_i, x_j) / t), j != i
    balance          mean over components of (mean of the first bit, +-1)^2
    decorrelation    mean squared correlation of two components' first bits (`terms`)

With `ternary` W_i and W_o are trits in each step, straight-through (BitNet b1.58, Ma et al. 2024, arXiv:2402.17764).
Codes that cannot be learned through (`bit_planes`) have the decoder alone: `Decoder`, and their values among the data.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, normalize, pad

from pipeline.training import terms
from pipeline.training.task import Array, Context, HeldOut, Part

GROUP = 128  # weights of a column that share a scale, where they are ternary
NEAREST = 10


class Start(NamedTuple):
    """A closed-form code. `sizes` [s] bits rise; `used` [s] components have bits, `errors` [s] are mean squared errors,
    `variance` is that of no bits. For an encoder that learns: `cuts` [s, k, c] rise, infinite where a size has no more,
    and `values` [s, k, c + 1] are the means between them."""

    mean: Array  # [d]
    backward: Array  # P, [k, d]
    sizes: Sequence[int]
    used: Sequence[int]
    errors: Array
    variance: float
    forward: Array | None = None  # F, [d, k]
    cuts: Array | None = None
    values: Array | None = None


class How(NamedTuple):
    """What is learned, and how much at a time."""

    hidden: int
    encoder_rate: float = 0.0  # r, in units of the root mean square of F's column; 0: the encoder stays as it is
    dropout: float = 0.0  # share of the hidden units that a step leaves out for a row
    temperature: float = 0.05  # t
    ternary: bool = False


class Decoder(nn.Module):
    """Values [n, k] of `sizes[which]` bits to rows x' [n, d]. Samples are [x, values of each size], n x (d + s k)."""

    mean: Tensor
    synthesis: Tensor
    errors: Tensor
    variance: Tensor
    units: Tensor

    def __init__(self, start: Start, how: How) -> None:
        super().__init__()
        self.how, self.sizes, self.used = how, tuple(start.sizes), tuple(start.used)
        components, dims = start.backward.shape
        self._keep("mean", start.mean)
        self._keep("synthesis", start.backward)
        self._keep("errors", start.errors)
        self._keep("variance", start.variance)
        units = self.synthesis.norm(dim=1) * (components / self.variance).sqrt()
        self.register_buffer("units", units, persistent=False)
        self.inner = nn.Parameter(torch.randn(components, how.hidden) * components**-0.5)
        self.biases = nn.Parameter(torch.zeros(len(self.sizes), how.hidden))
        self.gates = nn.Parameter(torch.ones(len(self.sizes), how.hidden))
        self.outer = nn.Parameter(torch.zeros(how.hidden, dims))

    def _keep(self, name: str, value: Array | float) -> None:
        real = torch.as_tensor(value).to(torch.get_default_dtype())
        self.register_buffer(name, real.clone(), persistent=False)  # of the data, not of the training

    def read(self, samples: Tensor, which: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """x [n, d], its values [n, used[which]], and its components [n, k] if an encoder makes them."""
        components, dims = self.synthesis.shape
        first = dims + which * components
        return samples[:, :dims], samples[:, first : first + self.used[which]], None

    def linear(self, v: Tensor) -> Tensor:
        """P v, [n, d]."""
        return v @ self.synthesis[: v.shape[1]]

    def forward(self, v: Tensor, which: int, keep: Tensor | None = None) -> Tensor:
        """x' [n, d] of v [n, used[which]]; `keep` [n, hidden], where it is given, is what dropout leaves, scaled."""
        inner = self.weights(self.inner)[: v.shape[1]]
        hidden = ((v * self.units[: v.shape[1]]) @ inner + self.biases[which]).relu() * self.gates[which]
        hidden = hidden if keep is None else hidden * keep
        return self.mean + self.linear(v) + self.gains()[which] * (hidden @ self.weights(self.outer))

    def gains(self) -> Tensor:
        """e_b [s], a value's root mean square error before training."""
        return (self.errors / self.synthesis.shape[1]).sqrt()

    def weights(self, w: Tensor) -> Tensor:
        """w [inputs, outputs] as it is used: trits times scales, with w's own gradient, where it is ternary."""
        return w + (ternary(w.detach()) - w).detach() if self.how.ternary else w


class Embedder(Decoder):
    """With the encoder that makes the values. Samples are rows x [n, d]."""

    analysis: Tensor
    cuts: Tensor
    values: Tensor
    rate: Tensor

    def __init__(self, start: Start, how: How) -> None:
        super().__init__(start, how)
        assert start.forward is not None
        assert start.cuts is not None
        assert start.values is not None
        self._keep("analysis", start.forward)
        self._keep("cuts", start.cuts)
        self._keep("values", start.values)
        self.register_buffer("rate", how.encoder_rate * self.analysis.square().mean(0).sqrt(), persistent=False)
        self.shift = nn.Parameter(torch.zeros(start.forward.shape)) if how.encoder_rate else None

    def read(self, samples: Tensor, which: int) -> tuple[Tensor, Tensor, Tensor | None]:
        y = (samples - self.mean) @ self.encoder()
        return samples, self.cells(y[:, : self.used[which]], which), y

    def encoder(self) -> Tensor:
        """F + r S, [d, k]."""
        return self.analysis if self.shift is None else self.analysis + self.rate * self.shift

    def cells(self, y: Tensor, which: int) -> Tensor:
        """The means of the cells that y [n, used[which]] is in, with y's own gradient."""
        columns = y.detach().T.contiguous()
        found = torch.searchsorted(self.cuts[which, : len(columns)].contiguous(), columns, right=True)
        v = self.values[which, : len(columns)].gather(1, found).T
        return v if self.shift is None else v + (y - y.detach())

    def linear(self, v: Tensor) -> Tensor:
        rows = super().linear(v)
        if self.shift is None:
            return rows
        return super().linear(v - rows @ (self.rate * self.shift)[:, : v.shape[1]])


def ternary(w: Tensor) -> Tensor:
    """w [inputs, outputs] in trits times scales, one for GROUP inputs of an output: clip(round(w / mean |w|), -1, 1),
    and the scale of least squared error."""
    groups = pad(w, (0, 0, 0, -len(w) % GROUP)).reshape(-1, GROUP, w.shape[1])
    counts = torch.full((len(groups), 1, 1), GROUP, dtype=w.dtype, device=w.device)
    counts[-1] -= -len(w) % GROUP
    trits = (groups / (groups.abs().sum(1, keepdim=True) / counts).clamp_min(1e-12)).round().clamp(-1, 1)
    scales = (groups * trits).sum(1, keepdim=True) / trits.square().sum(1, keepdim=True).clamp_min(1)
    return (trits * scales).reshape(-1, w.shape[1])[: len(w)]


def loss(model: nn.Module, samples: Tensor, context: Context) -> dict[str, Part]:
    """The parts for the samples of this process; all processes draw the same size."""
    assert isinstance(model, Decoder)
    which = int(torch.randint(len(model.sizes), (), generator=context.generator, device=context.generator.device))
    x, v, y = model.read(samples, which)
    keep = None
    if model.how.dropout:
        drawn = torch.rand(context.rows, model.how.hidden, generator=context.generator, device=x.device)
        keep = (drawn[context.mine] >= model.how.dropout).to(x.dtype) / (1 - model.how.dropout)
    found = model(v, which, keep)
    share = model.errors[which] / model.variance  # of the error without any bits
    true = normalize(x)
    mine, originals = true @ normalize(context.gather(found)).T, true @ context.gather(true).T

    def ranking() -> Tensor:
        own = torch.zeros(originals.shape, dtype=torch.bool, device=x.device)
        own[:, context.mine].fill_diagonal_(True)
        found, wanted = (log_softmax((s / model.how.temperature).masked_fill(own, -1e4), 1) for s in (mine, originals))
        return kl_div(found, wanted, reduction="batchmean", log_target=True) / share

    parts: dict[str, Part] = {
        "reconstruction": (found - x).square().sum(1).mean() / model.errors[which],
        "similarity": lambda: (mine - originals).square().mean() * x.shape[1] / share,
        "ranking": ranking,
    }
    if y is not None:
        first = y.sign() + (y.clamp(-1, 1) - y.clamp(-1, 1).detach())
        parts["balance"] = lambda: context.gather(first).mean(0).square().mean()
        parts["decorrelation"] = lambda: terms.decorrelation(first, context.gather)
    return parts


def held_out(samples: Array, trained: Array) -> HeldOut:
    """On samples that are not trained on: `recall`, the mean over sizes of the share of a row's nearest others by
    cosine that are nearest among decoded others, `trained` samples (some of those trained on) among them; `error`, of
    the squared error in units of its first; and both of each size."""
    count, every = len(samples), torch.from_numpy(np.concatenate([samples, trained]))

    def measure(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Decoder)
        base, found = every.to(model.mean), {}
        for which, bits in enumerate(model.sizes):
            x, v, _ = model.read(base, which)
            decoded, true = model(v, which), normalize(x)
            k = min(NEAREST, len(x) - 1)
            near = _nearest(true[:count] @ normalize(decoded).T, k)
            same = (near[:, :, None] == _nearest(true[:count] @ true.T, k)[:, None, :]).sum() / max(1, k * count)
            found[f"recall_{bits}"] = float(same)
            error = (decoded - x)[:count].square().sum(1).mean() / model.errors[which]
            found[f"error_{bits}"] = float(error)
        means = {what: [found[f"{what}_{bits}"] for bits in model.sizes] for what in ("recall", "error")}
        return {**{what: sum(values) / len(values) for what, values in means.items()}, **found}

    return measure


def _nearest(similarities: Tensor, k: int) -> Tensor:
    return similarities.fill_diagonal_(-torch.inf).topk(k, 1).indices
