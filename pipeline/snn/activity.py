"""What the neurons of a network did: spike rates by layer, and the watch for layers that are dead or saturated.

    with recorded(model) as rates:
        loss = ...model(rows)...
    watch(model, rates, policy, context)

A layer is a module of class LIF, named by its place in the model. `dead`: not one spike in all that was recorded;
`saturated`: a spike in more than `firing.SATURATED` of all neurons and steps.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import stage
from pipeline.neurons.lif import LIF
from pipeline.snn.firing import RESCUE, fault
from pipeline.stage import UserError
from pipeline.training.task import Context


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The mean spikes a neuron and step, by layer: filled while the block runs, means over calls of equal size."""
    rates: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def note(name: str, spikes: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        before = rates.get(name, spikes.new_zeros(()))
        rates[name] = before + (spikes.detach().mean() - before) / calls[name]

    def hook(name: str) -> Any:
        return lambda module, given, spikes: note(name, spikes)

    handles = [
        module.register_forward_hook(hook(name)) for name, module in model.named_modules() if isinstance(module, LIF)
    ]
    try:
        yield rates
    finally:
        for handle in handles:
            handle.remove()


def watch(model: nn.Module, rates: Mapping[str, Tensor], policy: str, context: Context) -> None:
    """Say which layer is dead or saturated, and stop (UserError that names the layer), rescue it by its thresholds, or
    only warn. A rate is that of all processes, so that all decide alike."""
    if not rates:
        return
    found = context.gather(torch.stack(list(rates.values()))[None]).mean(0).tolist()
    for name, rate in zip(rates, found, strict=True):
        if (what := fault(f"layer {name}", rate)) is None:
            continue
        if policy == "stop":
            raise UserError(f"{what}; `dead_layers: rescue` moves its thresholds and goes on")
        stage.log.warning("%s%s", what, "; its thresholds are moved" if policy == "rescue" else "")
        if policy == "rescue":
            layer = model.get_submodule(name)
            assert isinstance(layer, LIF)
            layer.move_threshold(RESCUE if rate == 0 else 1 / RESCUE)
