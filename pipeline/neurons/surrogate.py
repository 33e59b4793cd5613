"""Spikes with surrogate gradients: the step function forward, a bump around the threshold backward.

    s = [x > 0] or [x >= 0],    ds/dx := g(x),    x = u - theta

(Neftci, Mostafa and Zenke 2019, arXiv:1901.09948.) The bumps are those that snnTorch and SpikingJelly use:

    atan           g = (alpha / 2) / (1 + (pi alpha x / 2)^2)      snnTorch and SpikingJelly: alpha = 2
    fast_sigmoid   g = 1 / (1 + alpha |x|)^2                       snnTorch: alpha = 25
    sigmoid        g = alpha p (1 - p), p = 1 / (1 + e^(-alpha x)) snnTorch: alpha = 25; SpikingJelly: 4
    triangle       g = alpha max(0, 1 - |x|)                       Bellec et al. 2018 (arXiv:1803.09574): alpha = 0.3
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

DEFAULTS = {"atan": 2.0, "fast_sigmoid": 25.0, "sigmoid": 25.0, "triangle": 0.3}


class Surrogate(NamedTuple):
    """A bump by `name` and its `alpha`; those of `DEFAULTS` where nothing else is wanted."""

    name: str = "atan"
    alpha: float = 2.0


def named(name: str, alpha: float | None = None) -> Surrogate:
    """Raises ValueError for a name that there is not, and for an alpha that is not above 0."""
    if name not in DEFAULTS:
        raise ValueError(f"surrogate {name!r} is not one of {', '.join(DEFAULTS)}")
    alpha = DEFAULTS[name] if alpha is None else alpha
    if not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"surrogate {name}: alpha is {alpha}, not above 0")
    return Surrogate(name, alpha)


def _atan(x: Tensor, alpha: float) -> Tensor:
    return alpha / 2 / (1 + (math.pi / 2 * alpha * x) ** 2)


def _fast_sigmoid(x: Tensor, alpha: float) -> Tensor:
    return 1 / (1 + alpha * x.abs()) ** 2


def _sigmoid(x: Tensor, alpha: float) -> Tensor:
    p = torch.sigmoid(alpha * x)
    return alpha * p * (1 - p)


def _triangle(x: Tensor, alpha: float) -> Tensor:
    return alpha * (1 - x.abs()).clamp(min=0)


SLOPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "atan": _atan,
    "fast_sigmoid": _fast_sigmoid,
    "sigmoid": _sigmoid,
    "triangle": _triangle,
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate, at_threshold: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return (x >= 0 if at_threshold else x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * SLOPES[ctx.surrogate.name](x, ctx.surrogate.alpha), None, None


def spike(x: Tensor, surrogate: Surrogate, at_threshold: bool) -> Tensor:
    """0 and 1 in x's type: whether x, the potential less the threshold, is above 0, or 0 too if `at_threshold`."""
    return _Spike.apply(x, surrogate, at_threshold)
