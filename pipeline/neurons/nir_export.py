"""Layers of `LIF` as graphs of NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024, "Neuromorphic
intermediate representation: A unified instruction set for interoperable brain-inspired computing", Nature
Communications 15:8122), for simulators and neuromorphic hardware.

    nir.write("network.nir", export([linear, lif, linear, lif], dt=1e-3))

NIR states neurons as differential equations, ours (`leaky`) are steps: a step lasts dt. nir.LIF sets the potential to
v_reset at a spike, where ours is lowered by the threshold, so a layer becomes a loop of four nodes:

    LI          tau dv/dt = (v_leak - v) + R I,   v_leak = 0
    Threshold   s = [v > theta]
    Delay       s(t - dt)
    Scale       c s(t - dt), added to what else flows into the LI

A reader has to know all four: snnTorch 1.0 and SpikingJelly 2.0 refuse the graph for its nir.Delay.

With I held through a step and the threshold read at its end, v is u of `leaky`. R = 1 / (1 - beta) either way, and

    euler         v[t] = v[t-1] + (dt / tau) (R I[t] - v[t-1]),                     tau = dt / (1 - beta)
    exponential   v[t] = e^(-dt / tau) v[t-1] + (1 - e^(-dt / tau)) R I[t],         tau = -dt / ln beta

both are v[t] = beta v[t-1] + I[t]: `euler` is for a reader that takes forward Euler steps (what snnTorch's and
SpikingJelly's own exports suppose), `exponential` for one that solves the equation. The two resets differ in the
loop's factor alone:

    delayed      u[t] = beta u[t-1] + i[t] - theta s[t-1],                          c = -theta
    immediate    u[t] = beta (u[t-1] - theta s[t-1]) + i[t],                        c = -beta theta

Spikes are ours but for rounding, and for `immediate` at the threshold itself: it fires at u >= theta, nir.Threshold at
v > theta, so that u = theta is a spike here and none there. Rest is v = 0 and nothing in the delay. Metadata of the
graph say `dt` and `discretisation`. How gradients pass a spike (`surrogate`) is no part of NIR.

The package is the extra `nir`, imported at the first export.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.neurons.lif import LIF
from pipeline.stage import UserError

if TYPE_CHECKING:
    from nir import NIRGraph

DISCRETISATIONS = ("euler", "exponential")


def graph(layer: LIF, dt: float, discretisation: str = "euler") -> NIRGraph:
    """One layer as a graph, from current [N] to spikes [N]. Arguments and errors as in `export`."""
    return export([layer], dt, discretisation)


def export(layers: Iterable[nn.Module], dt: float, discretisation: str = "euler") -> NIRGraph:
    """A feed-forward stack as a graph, each layer fed by the one before it in the same step.

    Nodes of layer k are `linear_<k>`, or `lif_<k>_integrator`, `_threshold`, `_delay` and `_scale`; arrays are float64.

    Args:
        layers: of `torch.nn.Linear` and `LIF`, in order; an `nn.Sequential` of them too.
        dt: how long a step lasts, in seconds; tau and delays are then in seconds too.
        discretisation: by which steps a reader will run the graph, `euler` or `exponential`.

    Raises ValueError, naming the layer and why, for what is not the same in NIR: a layer of another class, adaptation,
    bounds, homeostasis in training, a decay that is not between 0 and 1, a threshold or weight that is not finite,
    widths that do not follow on each other; and for a dt or discretisation that there is not.
    Raises UserError where the package `nir` is not installed.
    """
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"dt is {dt}: expected seconds above 0")
    if discretisation not in DISCRETISATIONS:
        raise ValueError(f"discretisation {discretisation!r} is not one of {', '.join(DISCRETISATIONS)}")
    layers = list(layers)
    if not layers:
        raise ValueError("no layers to export")
    nir = _nir()
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    last, width = "input", None
    for k, layer in enumerate(layers):
        if type(layer) is nn.Linear:
            taken, given = layer.in_features, layer.out_features
            name = output = f"linear_{k}"
            nodes[name] = _linear(nir, layer, f"layer {k}")
        elif type(layer) is LIF:
            taken = given = layer.neurons
            loop = _loop(nir, layer, dt, discretisation, f"layer {k}")
            name, output, delay, scale = (f"lif_{k}_{part}" for part in loop)
            nodes |= zip((name, output, delay, scale), loop.values(), strict=True)
            edges += [(name, output), (output, delay), (delay, scale), (scale, name)]
        else:  # a subclass may compute anything
            raise ValueError(f"layer {k} is a {type(layer).__name__}: only torch.nn.Linear and LIF can be said in NIR")
        if width is None:
            nodes["input"] = nir.Input(np.array([taken]))
        elif taken != width:
            raise ValueError(f"layer {k} takes {taken} values, the one before it gives {width}")
        edges.append((last, name))
        last, width = output, given
    nodes["output"] = nir.Output(np.array([width]))
    edges.append((last, "output"))
    return nir.NIRGraph(nodes, edges, metadata={"dt": dt, "discretisation": discretisation})


def _nir() -> Any:
    try:
        return import_module("nir")
    except ModuleNotFoundError as error:
        raise UserError(
            f"NIR export needs the package {error.name}, of the extra 'nir': pip install -e '.[nir]'"
        ) from None


def _linear(nir: Any, layer: nn.Linear, name: str) -> Any:
    weight = _finite(layer.weight, "weight", name)
    return nir.Linear(weight) if layer.bias is None else nir.Affine(weight, _finite(layer.bias, "bias", name))


def _loop(nir: Any, layer: LIF, dt: float, discretisation: str, name: str) -> dict[str, Any]:
    """The nodes of a layer by their part, in the order in which a spike goes round."""
    if layer.adapts:
        raise ValueError(f"{name}: an adaptive threshold cannot be said in NIR, nir.Threshold is a constant")
    if layer.bounds is not None:
        raise ValueError(f"{name}: bounds of the potential cannot be said in NIR, nir.LI has none")
    if layer.homeostasis is not None and layer.training:
        raise ValueError(f"{name}: homeostasis still moves its thresholds; call eval() first")
    beta, theta = _finite(layer.decay, "decay", name), _finite(layer.threshold, "threshold", name)
    if len(wrong := np.flatnonzero((beta <= 0) | (beta >= 1))):
        raise ValueError(
            f"{name}: decay of neuron {wrong[0]} is {beta[wrong[0]]:g}: nir.LI needs it above 0 and below 1, where tau"
            " is above 0 and finite"
        )
    tau = dt / (1 - beta) if discretisation == "euler" else -dt / np.log(beta)
    return {
        "integrator": nir.LI(tau=tau, r=1 / (1 - beta), v_leak=np.zeros_like(beta)),
        "threshold": nir.Threshold(theta),
        "delay": nir.Delay(np.full_like(theta, dt)),
        "scale": nir.Scale(-theta if layer.reset == "delayed" else -beta * theta),
    }


def _finite(x: Tensor, what: str, name: str) -> NDArray[np.float64]:
    """An array of its own: a graph does not change with the layer. Raises ValueError for NaN and infinity."""
    array: NDArray[np.float64] = x.detach().double().cpu().numpy().copy()
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {what} is not finite")
    return array
