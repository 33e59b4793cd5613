"""What a network computes in a forward pass, counted layer by layer while it runs.

    with counted(model) as layers:
        model(batch)

A linear layer that is fed whole numbers (spikes, signed spikes, sums of spikes) accumulates: sum |x| times its outputs,
the synaptic operations. One that is fed other numbers multiplies: rows times inputs times outputs. A layer of neurons
updates each of them at each step. Any other module may report what it did itself: after a forward pass its attribute
`operations` is a dict of the fields of `Layer` (those of this call), its children not among them. Elementwise functions
(normalisation, softmax, activation functions) and look-ups of embeddings are counted nowhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.neurons.lif import LIF
from pipeline.snn.layer import Layer, Layers

SIZES = ("weights", "state")  # stored, so not summed over calls


@contextmanager
def counted(model: nn.Module) -> Iterator[Layers]:
    """The layers of a model by name, filled while the block runs. Raises ValueError for unknown `operations`."""
    layers: Layers = {}

    def hook(name: str) -> Any:
        def note(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            if (found := _of(module, given, made)) is not None:
                _add(layers.setdefault(name, Layer()), found)

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


def parameters(model: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def _add(layer: Layer, found: Layer) -> None:
    for field in fields(Layer):
        before, now = getattr(layer, field.name), getattr(found, field.name)
        setattr(layer, field.name, max(before, now) if field.name in SIZES else before + now)


def _of(module: nn.Module, given: tuple[Any, ...], made: Any) -> Layer | None:
    """What a module did in one call; None where that is nothing, or nothing that is counted."""
    if isinstance(module, nn.Linear):
        return _linear(module, given[0].detach())
    if isinstance(module, LIF):
        count = made.numel()
        return Layer(updates=count, neurons=count, spikes=float(made.detach().sum()), state=module.neurons)
    reported = getattr(module, "operations", None)
    if not isinstance(reported, dict):
        return None
    if unknown := sorted(reported.keys() - {field.name for field in fields(Layer)}):
        raise ValueError(f"{type(module).__name__}.operations has no {unknown[0]!r}")
    return Layer(**{name: float(value) for name, value in reported.items()})


def _linear(module: nn.Linear, x: Tensor) -> Layer:
    weights = module.weight.numel()
    if bool((x == torch.round(x)).all()):
        events = float(x.abs().sum(dtype=torch.float64))
        return Layer(accumulates=events * module.out_features, weights=weights, state=module.out_features)
    rows = x.numel() // module.in_features
    return Layer(macs=rows * weights, values=rows * (module.in_features + module.out_features), weights=weights)
