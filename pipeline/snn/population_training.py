"""Directions and weights of `population_neurons`: where they begin, and what a few rounds of learning make of them.

    begin   P orthonormal bases of each group of values, the first the values themselves, the others drawn; geometric
            weights
    round   given the spikes of the training rows, each weight becomes the mean potential that fired with it (Lloyd
            1957), and the directions become the least squares decoder of the amplitudes A, with a ridge towards where
            they were (the method of optimal directions: Engan et al. 1999), made unit again:

                E <- (A^T A + c I)^-1 (A^T Y + c E),   c = `RIDGE` tr(A^T A) / M

Both are the exact minima of the squared error given the spikes, which gradients would only approach; spikes are then
drawn anew, as encoder and decoder share E. After each round the floor is moved so that held-out rows have the spikes
that the budget says; the round of the least error on them is kept, `begin` among them, so that learning never costs
anything there.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pipeline.codec import Array
from pipeline.snn import axes, population_neurons
from pipeline.snn.population_neurons import Fired
from pipeline.spikes.train import SpikeTrain

GROUP = 16  # values that share a population, at most: neurons inhibit each other within a group alone
SAMPLE = 500  # rows held out, at most
ROWS = 3000  # rows that learn, at most
ROUNDS = 2
RIDGE = 0.01
FEW = 20  # spikes that a weight is not moved by
WIDTH, HALVINGS = 2.0**6, 11  # the floor is looked for within so large a factor on both sides of where it was
NEAR, NEAR_HALVINGS = 1.3, 7


class Neurons(NamedTuple):
    """Of each group of values: directions float32 [M, m] and weights float64 [g, T]; one floor."""

    directions: tuple[Array, ...]
    weight: Array
    floor: float


def groups(dims: int) -> list[slice]:
    """`dims` values in as few groups as hold `GROUP` at most, of about equal size."""
    edges = np.linspace(0, dims, -(-dims // GROUP) + 1).round().astype(int).tolist()
    return [slice(*pair) for pair in pairwise(edges)]


def fire(y: Array, neurons: Neurons) -> tuple[SpikeTrain, list[Fired]]:
    """Spikes of rows y [n, d], the neurons of group after group; and what each group did."""
    count = sum(map(len, neurons.directions))
    spikes = np.zeros((2, len(y), neurons.weight.shape[1], -(-count // 8)), np.uint8)
    found, first = [], 0
    for some, directions, weight in zip(groups(y.shape[1]), *neurons[:2], strict=True):
        found.append(population_neurons.fire(y[:, some], directions, weight, neurons.floor, spikes, first))
        first += len(directions)
    return SpikeTrain(spikes[0], count, spikes[1]), found


def outcome(y: Array, neurons: Neurons) -> tuple[float, float]:
    """The squared error of rows y [n, d], read as resets have taken it away, and spikes a value."""
    train, found = fire(y, neurons)
    pairs = zip(groups(y.shape[1]), found, neurons.directions, strict=True)
    rest = (y[:, some] - fired.amplitude @ directions for some, fired, directions in pairs)
    return sum(float(np.square(one, dtype=np.float64).sum()) for one in rest), train.spikes_per_value(y.shape[1])


def calibrated(y: Array, neurons: Neurons, budget: float, width: float, halvings: int, first: Array | None) -> Neurons:
    """With the floor at which rows y have `budget` spikes a value, from below. `first` [g]: weights are geometric from
    there on."""
    steps = neurons.weight.shape[1]

    def at(floor: float) -> Neurons:
        weight = neurons.weight if first is None else population_neurons.geometric(first, floor, steps)
        return neurons._replace(weight=weight, floor=floor)

    low, high = np.log(neurons.floor / width), np.log(neurons.floor * width)
    for _ in range(halvings):
        middle = (low + high) / 2
        too_many = fire(y, at(np.exp(middle)))[0].spikes > budget * y.size
        low, high = (middle, high) if too_many else (low, middle)
    return at(float(np.exp(high)))


def begin(y: Array, held: Array, population: int, steps: int, budget: float, seed: int) -> Neurons:
    """Nothing learned but the largest potential of each group in rows y [n, d], and the floor, on rows `held`."""
    rng = np.random.default_rng(seed)
    directions = []
    for some in groups(y.shape[1]):
        m = some.stop - some.start
        drawn = [np.linalg.qr(rng.standard_normal((m, m)))[0] for _ in range(population - 1)]
        directions.append(np.concatenate([np.eye(m), *drawn]).astype(np.float32))
    pairs = zip(groups(y.shape[1]), directions, strict=True)
    first = np.array([np.abs(y[:, some] @ one.T).max() for some, one in pairs], np.float64)
    floor = float(np.sqrt(np.square(y, dtype=np.float64).mean()))
    neurons = Neurons(tuple(directions), np.zeros((len(first), steps)), floor)
    return calibrated(held, neurons, budget, WIDTH, HALVINGS, first)


def learned(y: Array, neurons: Neurons) -> Neurons:
    """One round, on rows y [n, d]."""
    directions, weights = [], []
    for some, (amplitude, level, count), old, weight in zip(
        groups(y.shape[1]), fire(y, neurons)[1], *neurons[:2], strict=True
    ):
        gram = (amplitude.T @ amplitude).astype(np.float64)
        if not (ridge := RIDGE * np.trace(gram) / len(gram)):
            directions.append(old)
            weights.append(weight)
            continue
        solved = np.linalg.solve(gram + ridge * np.eye(len(gram)), amplitude.T @ y[:, some] + ridge * old)
        directions.append((solved / np.linalg.norm(solved, axis=1, keepdims=True)).astype(np.float32))
        moved = np.where(count > FEW, level / np.maximum(count, 1), weight)
        weights.append(np.sort(moved)[::-1])
    return neurons._replace(directions=tuple(directions), weight=np.array(weights))


def parts(y: Array, seed: int) -> tuple[Array, Array]:
    """Rows that are held out, on which the floor is set and rounds are judged, and rows that learn."""
    held, rest = axes.parts(y, seed)
    return held[:SAMPLE], rest[:ROWS]


def fit(y: Array, population: int, steps: int, budget: float, seed: int, rounds: int = ROUNDS) -> Neurons:
    """Neurons for rows y float32 [n, d]; 0 rounds: nothing is learned. The same for the same seed."""
    held, rest = parts(y, seed)
    best = now = begin(rest, held, population, steps, budget, seed)
    least, _ = outcome(held, now)
    for _ in range(rounds):
        now = calibrated(held, learned(rest, now), budget, NEAR, NEAR_HALVINGS, None)
        error, spikes = outcome(held, now)
        if spikes <= budget and error < least:
            best, least = now, error
    return best
