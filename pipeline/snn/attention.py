"""Phase-shifted spiking self-attention: each head reads keys and values at a phase of its own, and phases tell places.

A token has T micro-steps. For head h, token i, micro-step t, spikes q, k, v in {0, 1}^d:

    o_h[t, i] = c sum_{j <= i} g_h^(i - j) (q_h[t, i] . k_h[s, j]) v_h[s, j],    s = (t + f_h + p_h(i) - p_h(j)) mod T

f_h is the head's constant shift; p_h(i) = floor(w_h i) the phase of token i, which advances with the tokens at the
head's pace w_h; g_h in (0, 1] a decay over tokens; c = 1 / d. As p_h(i) - p_h(j) is (nearly) a function of i - j, a
head whose keys fire at one micro-step and whose queries fire at another hears the tokens at some distances alone: a
relative code of places, circular with a period of T / w_h tokens. There is no softmax: weights are counts of coincident
spikes.

How it is computed. With k'[u, j] = k[(u - p(j)) mod T, j], v' likewise, and q'[u, i] = q[(u - f - p(i)) mod T, i],

    o'[u, i] = c sum_{j <= i} g^(i - j) (q'[u, i] . k'[u, j]) v'[u, j],    o[t, i] = o'[(t + f + p(i)) mod T, i]:

rolled by the phases, every micro-step is causal linear attention of its own, of state S[u, i] = g S[u, i-1] + k' v'^T
and o' = c q' S. It is computed in chunks of tokens: within a chunk by masked products, across them by the state, so
linearly in the number of tokens; `operations` counts what an event-driven machine does, which is linear in spikes.

Shifts may be learned. They are real numbers then, floored forward. Backward is straight through, as if the roll were
linear interpolation between neighbouring micro-steps: with y[u] = x[(u - s) mod T], dy[u]/ds := y[u - 1] - y[u].
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CHUNK = 64


class Shifts(NamedTuple):
    """In micro-steps, whole numbers in a floating type: `tokens` p_h(i) [H, N] and `heads` f_h [H]."""

    tokens: Tensor
    heads: Tensor


class _Rolled(torch.autograd.Function):
    """y[u, b, h, n] = x[(u - s[h, n]) mod T, b, n, h], in one copy; x [T, B, N, H, d], y [T, B, H, N, d]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor) -> Tensor:
        steps, batch, tokens, heads, dims = x.shape
        index = _places(steps, batch, shift)
        y = x.reshape(-1, dims).index_select(0, index).view(steps, batch, heads, tokens, dims)
        ctx.save_for_backward(shift, y if ctx.needs_input_grad[1] else shift)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        (gradient,) = gradients
        shift, y = ctx.saved_tensors
        of_shift = (gradient * (y.roll(1, 0) - y)).sum((0, 1, 4)) if ctx.needs_input_grad[1] else None
        return _unroll(gradient, shift), of_shift


class _Unrolled(torch.autograd.Function):
    """x[t, b, n, h] = y[(t + s[h, n]) mod T, b, h, n]: what `_Rolled` did, undone."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(shift, y if ctx.needs_input_grad[1] else shift)
        return _unroll(y, shift)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        steps, batch, tokens, heads, dims = gradients[0].shape
        shift, y = ctx.saved_tensors
        index = _places(steps, batch, shift)
        rolled = gradients[0].reshape(-1, dims).index_select(0, index).view(steps, batch, heads, tokens, dims)
        of_shift = (rolled * (y.roll(-1, 0) - y)).sum((0, 1, 4)) if ctx.needs_input_grad[1] else None
        return rolled, of_shift


def _places(steps: int, batch: int, shift: Tensor) -> Tensor:
    """Which row of x [T B N H, d] each row of y [T B H N, d] is, int64."""
    heads, tokens = shift.shape
    whole = shift.detach().long()
    u, b, h, n = (torch.arange(size, device=shift.device) for size in (steps, batch, heads, tokens))
    t = (u[:, None, None] - whole) % steps  # [T, H, N]
    return (((t[:, None] * batch + b[:, None, None]) * tokens + n) * heads + h[:, None]).flatten()


def _unroll(y: Tensor, shift: Tensor) -> Tensor:
    steps, batch, heads, tokens, dims = y.shape
    whole = shift.detach().long()
    t, b, h, n = (torch.arange(size, device=y.device) for size in (steps, batch, heads, tokens))
    u = (t[:, None, None] + whole.T) % steps  # [T, N, H]
    index = (((u[:, None] * batch + b[:, None, None]) * heads + h) * tokens + n[:, None]).flatten()
    return y.reshape(-1, dims).index_select(0, index).view(steps, batch, tokens, heads, dims)


def causal(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, chunk: int = CHUNK) -> Tensor:
    """sum_{j <= i} g^(i - j) (q[i] . k[j]) v[j], for [B, H, N, d], decay [H] in (0, 1]; in chunks of tokens."""
    tokens, state = q.shape[-2], None
    out = []
    for start in range(0, max(1, tokens), chunk):  # of no tokens too, an empty chunk: a shape and a gradient
        part = slice(start, min(start + chunk, tokens))
        a, b, c = q[..., part, :], k[..., part, :], v[..., part, :]
        place = torch.arange(a.shape[-2], device=q.device)
        distance = (place[:, None] - place).clamp(min=0)
        mask = torch.where(place[:, None] >= place, decay[:, None, None] ** distance, 0)
        here = (a @ b.transpose(-1, -2) * mask) @ c
        since = (decay[:, None] ** (place + 1))[..., None]  # [H, n, 1], decay from the end of the last chunk
        out.append(here if state is None else here + since * (a @ state))
        if part.stop < tokens:
            until = (decay[:, None] ** place.flip(0))[..., None]
            added = (b * until).transpose(-1, -2) @ c
            state = added if state is None else (decay ** a.shape[-2])[:, None, None] * state + added
    return out[0] if len(out) == 1 else torch.cat(out, -2)


def attend(q: Tensor, k: Tensor, v: Tensor, shifts: Shifts, decay: Tensor, chunk: int = CHUNK) -> Tensor:
    """o of the equation, [T, B, N, H, d], for spikes of that shape.

    Raises ValueError for T = 0, and for shifts of other numbers of heads or tokens.
    """
    steps, batch, tokens, heads, dims = q.shape
    if not steps:
        raise ValueError("no time steps: T is 0")
    if shifts.tokens.shape != (heads, tokens) or shifts.heads.shape != (heads,):
        raise ValueError(f"shifts of {list(shifts.tokens.shape)} for {heads} heads and {tokens} tokens")
    of_query = shifts.tokens + shifts.heads[:, None]
    q, k, v = _Rolled.apply(q, of_query), _Rolled.apply(k, shifts.tokens), _Rolled.apply(v, shifts.tokens)
    a, b, c = (one.view(steps * batch, heads, tokens, dims) for one in (q, k, v))
    out = causal(a, b, c, decay, chunk).view(steps, batch, heads, tokens, dims) / dims
    return _Unrolled.apply(out, of_query)


def operations(q: Tensor, k: Tensor, v: Tensor, decaying: bool) -> dict[str, float]:
    """What an event-driven machine does for spikes [T, B, N, H, d], exactly, all of them together.

    `accumulates`: at each token and micro-step every coincidence of a key's spike and a value's is one addition into S,
    |k| |v|, and every spike of the query adds a row of S, |q| d; the phases move addresses and cost nothing.
    `decays`: the numbers of S that decay, d^2 a token and micro-step of a head whose g is below 1. `state`: numbers
    in S, all heads and micro-steps of one sequence.
    """
    steps, batch, tokens, heads, dims = q.shape
    writes = (k.sum(-1, dtype=torch.float64) * v.sum(-1, dtype=torch.float64)).sum()
    reads = q.sum(dtype=torch.float64) * dims
    decayed = steps * batch * tokens * heads * dims * dims if decaying else 0
    return {"accumulates": float(writes + reads), "decays": float(decayed), "state": float(steps * heads * dims**2)}


def decays(heads: int, kind: str) -> Tensor:
    """g [H]: all 1 (`none`), or a head's memory 1 / (1 - g) is 1.5 tokens and doubles from head to head."""
    if kind == "none":
        return torch.ones(heads)
    return 1 - 1 / (1.5 * 2.0 ** torch.arange(heads))


class PhaseShiftedAttention(nn.Module):
    """The equation for layers of N = `heads` x d neurons; in: q, k, v [T, B, tokens, N] spikes, out of the same shape.

    decay: `none` (g = 1), `fixed` (spread over the heads) or `learned` (begins so). `operations` is what the last
    forward pass out of training did.
    """

    fixed: Tensor

    def __init__(self, heads: int, decay: str) -> None:
        super().__init__()
        self.heads, self.kind = heads, decay
        self.operations: dict[str, float] = {}
        begin = decays(heads, decay)
        if decay == "learned":
            self.decay_logit = nn.Parameter(torch.log(begin / (1 - begin)))
        else:
            self.register_buffer("fixed", begin, persistent=False)

    @property
    def decay(self) -> Tensor:
        """g [H]."""
        return torch.sigmoid(self.decay_logit) if self.kind == "learned" else self.fixed

    def forward(self, q: Tensor, k: Tensor, v: Tensor, shifts: Shifts) -> Tensor:
        q, k, v = (one.unflatten(-1, (self.heads, -1)) for one in (q, k, v))
        if not self.training:
            self.operations = operations(q.detach(), k.detach(), v.detach(), self.kind != "none")
        return attend(q, k, v, shifts, self.decay.to(q)).flatten(-2)


class Phases(nn.Module):
    """The shifts of `heads` heads for sequences of up to `length` tokens.

    kind: `none` (no shift at all), `constant` (f_h = h mod T alone), `fixed` (p_h too, whose paces fall geometrically
    from one micro-step a token to one that takes `length` tokens to go round), `learned` (f_h and w_h, begin as fixed).
    """

    fixed_pace: Tensor
    fixed_shift: Tensor

    def __init__(self, heads: int, timesteps: int, length: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        slowest = min(1.0, timesteps / length)
        pace = slowest ** (torch.arange(heads) / max(1, heads - 1)) * float(kind in ("fixed", "learned"))
        shift = torch.arange(heads) % timesteps * float(kind != "none")
        if kind == "learned":
            # A half more: a learned shift begins where its floor is not about to change.
            # A pace is learned as micro-steps over the whole length: a step of the optimizer moves no phase further
            # than a shift.
            self.turn, self.shift = nn.Parameter(pace * length), nn.Parameter(shift + 0.5)
            self.length = length
        else:
            self.register_buffer("fixed_pace", pace, persistent=False)
            self.register_buffer("fixed_shift", shift, persistent=False)

    def forward(self, tokens: int) -> Shifts:
        learned = self.kind == "learned"
        pace, shift = (self.turn / self.length, self.shift) if learned else (self.fixed_pace, self.fixed_shift)
        place = torch.arange(tokens, device=pace.device, dtype=pace.dtype)
        return Shifts(_floor(pace[:, None] * place + 1e-4), _floor(shift))  # 1e-4: 1/3 of the third token is 1


def _floor(x: Tensor) -> Tensor:
    """Straight through: the gradient of x itself."""
    return x + (x.floor() - x).detach()
