"""What a layer of a network computes, as `operations` counts it and `energy` prices it. Read without torch."""

from dataclasses import dataclass


@dataclass
class Layer:
    """What one layer did in all calls.

    Attributes:
        accumulates: synaptic operations: a weight that is added to a state, because of a spike.
        products: the same of a spike that carries a real number: weight times number, added to a state.
        macs: multiplications of real values, each with its addition.
        updates: potentials of neurons, times steps: each decays, is added to and compared.
        decays: other states that decay, times steps: what attention holds.
        neurons: neurons times steps. `spikes`: how many of these fired.
        values: real numbers that came in and went out.
        weights: numbers stored that `accumulates`, `products` and `macs` read.
        state: numbers stored that `accumulates`, `products`, `updates` and `decays` change, of one sample.
    """

    accumulates: float = 0
    products: float = 0
    macs: float = 0
    updates: float = 0
    decays: float = 0
    neurons: float = 0
    spikes: float = 0
    values: float = 0
    weights: float = 0
    state: float = 0


Layers = dict[str, Layer]
"""By name."""
