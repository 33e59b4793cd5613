"""Currents, spikes and membranes of a network's layers while it reads one input.

    with traced(model) as traces:
        model(...)
    layer("block 1", "input", lif, traces["blocks.0.lif_in"])

A layer is a module of class LIF, named by its place in the model. While its traces are kept it runs the plain torch
reference: the same spikes to the bit, and no kernel to compile for one input. Membranes, which no forward pass keeps,
are made anew, step by step, from the current that the layer was given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.codec import Array
from pipeline.neurons.leaky import State, leaky
from pipeline.neurons.lif import LIF
from pipeline.recording import Layer

NEURONS = 64  # of a layer that are kept, at most
TRACED = 4  # of them whose membrane is, at most


class Trace(NamedTuple):
    """What the layer was given and made, each [T, ..., N]."""

    current: Tensor
    spikes: Tensor


@contextmanager
def traced(model: nn.Module, row: int = 0) -> Iterator[dict[str, Trace]]:
    """Traces of one row of a batch by layer, of the last call: filled while the block runs."""
    traces: dict[str, Trace] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LIF)}
    backends = {name: lif.backend for name, lif in layers.items()}
    handles = []

    def keep(name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Tensor, ...], spikes: Tensor) -> None:
            traces[name] = Trace(given[0][:, row].detach(), spikes[:, row].detach())

        return hook

    for name, lif in layers.items():
        lif.backend = "reference"
        handles.append(lif.register_forward_hook(keep(name)))
    try:
        yield traces
    finally:
        for handle in handles:
            handle.remove()
        for name, lif in layers.items():
            lif.backend = backends[name]


@torch.no_grad()
def membrane(lif: LIF, current: Tensor) -> tuple[Tensor, Tensor]:
    """Potentials u, as they are compared, and thresholds, [T, ..., N] each, of a current [T, ..., N] from rest."""
    potentials, thresholds = [], []
    state: State | None = None
    for step in current.split(1):
        trace = None if state is None else state.trace
        theta = lif.threshold.expand_as(step[0])
        if lif.adaptation is not None and trace is not None:
            theta = theta + lif.adaptation.strength * trace
        how = lif.decay, lif.threshold, lif.reset, lif.slope, lif.adaptation, lif.bounds
        spikes, state = leaky(step, *how, state)
        # `immediate` leaves what is left behind the spike, `delayed` takes it away with the next step.
        taken = lif.threshold * spikes[0] if lif.reset == "immediate" else 0
        potentials.append(state.potential + taken)
        thresholds.append(theta)
    return torch.stack(potentials), torch.stack(thresholds)


def evenly(places: Array, count: int) -> Array:
    """At most `count` of them, evenly, int32."""
    return places[np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)].astype(np.int32)


def in_time(x: Tensor, steps: int | None = None) -> Array:
    """[S, N] of [S, N], or of tokens [T, tokens, N], one token's steps behind another's; the first `steps` of them."""
    ordered = x if x.ndim == 2 else x.transpose(0, 1).flatten(0, 1)
    return ordered[:steps].numpy()


def layer(group: str, name: str, lif: LIF, trace: Trace, part: slice = slice(None), steps: int | None = None) -> Layer:
    """The layer's neurons, or a `part` of them: NEURONS of them evenly, TRACED with membranes, evenly over those that
    fire, if any does."""
    spikes = in_time(trace.spikes, steps)[:, part]
    chosen = evenly(np.arange(spikes.shape[1]), NEURONS)
    fired = np.flatnonzero(spikes[:, chosen].any(axis=0))
    few = evenly(fired if len(fired) else np.arange(len(chosen)), TRACED)
    potential, threshold = (in_time(x, steps)[:, part][:, chosen[few]] for x in membrane(lif, trace.current))
    return Layer(group, name, spikes.shape[1], spikes[:, chosen].astype(np.uint8), few, potential, threshold)


def spikes_alone(group: str, name: str, spikes: Array) -> Layer:
    """Spikes [S, N] that no membrane stands behind, as a layer."""
    chosen = evenly(np.arange(spikes.shape[1]), NEURONS)
    nothing = np.zeros((len(spikes), 0), np.float32)
    kept = spikes[:, chosen].astype(np.uint8)
    return Layer(group, name, spikes.shape[1], kept, np.zeros(0, np.int32), nothing, nothing)
