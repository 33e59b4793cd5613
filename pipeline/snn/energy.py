"""The energy that a network's operations take in 45 nm silicon, arithmetic alone and with the memory that it needs.

Arithmetic, and a read of 64 bits from memories by size: M. Horowitz, "Computing's energy problem (and what we can do
about it)", ISSCC 2014. A word of b bits costs b / 64 of that; a write costs what a read does. What is assumed:

- Each layer keeps its weights in a memory as large as they are, and its states in another; what does not fit into 1 MB
  is in DRAM.
- A synaptic operation is one addition. It reads its weight, and reads and writes the state that it is added to: events
  come in no order that would let a weight be used twice. Where a spike carries a real number, it is a multiplication
  as well.
- A neuron's step multiplies its state by the decay, adds, and compares; it reads and writes the state. Where a state
  decays alone, it is multiplied, read and written.
- A layer of real values reads each weight once for `REUSE` rows (samples of a batch, positions of a text), each value
  that comes in or goes out once, in a buffer of 32 KB; partial sums stay in the processing elements. This favours the
  dense network.
- int8: weights and values of 8 bits, products of 8 bits, sums and states of 32 bits.

`idle` energy is that of the same network if no neuron fired. Between it and what was measured energy is taken to be a
straight line in the spike rate; where it meets the dense network's is the crossover. No network fires at a rate above
1: a crossover there says that the spiking network takes less at every rate.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from pipeline.snn.layer import Layer, Layers

REUSE = 32
BYTE = 8


class Precision(NamedTuple):
    """Energies in pJ of a multiplication with its addition, an addition, and a decay; widths in bits."""

    mac: float
    add: float
    multiply_state: float
    weight_bits: int
    value_bits: int
    state_bits: int


FLOAT32 = Precision(mac=3.7 + 0.9, add=0.9, multiply_state=3.7, weight_bits=32, value_bits=32, state_bits=32)
INT8 = Precision(mac=0.2 + 0.1, add=0.1, multiply_state=3.1, weight_bits=8, value_bits=8, state_bits=32)
PRECISIONS = {"": FLOAT32, "_int8": INT8}

# Bytes that a memory holds, and pJ of a read of 64 bits. DRAM is 1300 to 2600: the least is taken.
BUFFER = 20.0  # pJ, of 32 KB
MEMORIES = ((8 << 10, 10.0), (32 << 10, 20.0), (1 << 20, 100.0), (float("inf"), 1300.0))


class Energy(NamedTuple):
    """In pJ: arithmetic, and with memory."""

    compute: float
    memory: float


def access(bits: int, numbers: float) -> float:
    """pJ of reading one number of so many bits from a memory that holds `numbers` of them."""
    bytes_held = numbers * bits / BYTE
    return next(energy for size, energy in MEMORIES if bytes_held <= size) * bits / 64


def layer(one: Layer, precision: Precision) -> Energy:
    """What a layer's operations take."""
    compute = (
        one.accumulates * precision.add
        + (one.products + one.macs) * precision.mac
        + one.updates * (precision.multiply_state + 2 * precision.add)
        + one.decays * precision.multiply_state
    )
    weight = access(precision.weight_bits, one.weights)
    state = 2 * access(precision.state_bits, one.state)
    value = BUFFER * precision.value_bits / 64
    memory = (
        (one.accumulates + one.products) * (weight * bool(one.weights) + state)
        + one.macs / REUSE * weight
        + one.values * value
        + (one.updates + one.decays) * state
    )
    return Energy(compute, compute + memory)


def total(layers: Iterable[Layer], precision: Precision) -> Energy:
    found = [layer(one, precision) for one in layers]
    return Energy(sum(one.compute for one in found), sum(one.memory for one in found))


def spike_rate(layers: Layers) -> float | None:
    """Spikes a neuron and step, over all neurons; None where there is none."""
    neurons = sum(one.neurons for one in layers.values())
    return sum(one.spikes for one in layers.values()) / neurons if neurons else None


def costs(layers: Layers, samples: int, timesteps: int | None) -> dict[str, float | None]:
    """Columns of measurements.COSTS, a sample (token or vector), float32; `samples` is how many were counted."""
    found = total(layers.values(), FLOAT32)
    spiking = spike_rate(layers) is not None
    return {
        "timesteps": timesteps,
        "spike_rate": spike_rate(layers),
        "synaptic_operations": sum(one.accumulates + one.products for one in layers.values()) / samples
        if spiking
        else None,
        "energy_compute_pj": found.compute / samples,
        "energy_memory_pj": found.memory / samples,
    }


def rows(layers: Layers, samples: int, timesteps: int | None, **keys: Any) -> list[dict[str, Any]]:
    """Rows of results/snn.csv, task `energy`: metrics compute_pj, memory_pj and of neurons idle_compute_pj,
    idle_memory_pj, each also for int8 (`_int8`). `keys`: network, variant, size, seed, and costs besides these."""
    idle = [replace(one, accumulates=0.0, products=0.0) for one in layers.values()]
    values: dict[str, float] = {}
    for suffix, precision in PRECISIONS.items():
        for prefix, counted in (("", layers.values()), ("idle_", idle)):
            found = total(counted, precision)
            values |= {f"{prefix}compute_pj{suffix}": found.compute, f"{prefix}memory_pj{suffix}": found.memory}
    columns = {**costs(layers, samples, timesteps), **keys}
    return [
        {**columns, "task": "energy", "metric": metric, "value": value / samples} for metric, value in values.items()
    ]


def crossover(measured: float, idle: float, rate: float, dense: float) -> float | None:
    """The spike rate at which a spiking network, of energy `measured` at `rate` and `idle` at none, takes what the
    dense one takes: idle + (measured - idle) crossover / rate = dense, pJ. Above 1 where it takes less at every rate;
    None where it takes as much or more even if no neuron fires, and where nothing fired to draw the line by."""
    return None if idle >= dense or measured <= idle else rate * (dense - idle) / (measured - idle)
