"""SpikingJam with populations: spikingjam_<P>x<T>_<s>, P neurons a value, T phases, about s spikes a value.

y = (x - mean) R, R the principal axes; groups of values drive populations whose neurons inhibit each other
(`population_neurons`). A spike says by its neuron in which direction and by its phase how far; how many there are says
how much in all. Attention over phases (`phase_readout`) reads a neuron's amplitude a = sum_t w(t) s(t) (1 + ...), its
directions E give y' = a E, and x' = mean + y' R^T. Directions and weights are learned (`population_training`),
attention is a least squares solution. At as many spikes a population is nearer the more neurons it has: a spike that
chooses among more says more.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codes, check_vectors
from pipeline.snn import axes, firing, phase_readout, population_training
from pipeline.snn.population_training import Neurons
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain

SAMPLE = 500  # rows that attention is solved on, so many at a time:
CHUNK = 50


@dataclass
class Population(SpikeCode):
    """Shared, float32: `mean` [d], `rotation` [d, d], `directions` [P d, m] (of group after group, 0 behind a smaller
    group's values), `weight` [groups, T], `floor` [1] and `decoder_attention` [T, T]."""

    family: ClassVar[str] = "snn"
    signed: ClassVar[bool] = True

    population: int = 2
    budget: float = 1.0
    dead_layers: str = "warn"

    @property
    def dims(self) -> int:
        return len(self.shared["mean"])

    @property
    def neurons(self) -> int:
        return self.dims * self.population

    @property
    def layers(self) -> list[slice]:
        """The neurons of each group."""
        p = self.population
        return [slice(p * some.start, p * some.stop) for some in population_training.groups(self.dims)]

    @property
    def parameters(self) -> Neurons:
        """What is shared, by group."""
        rows = np.split(self.shared["directions"], [some.start for some in self.layers[1:]])
        found = [one[:, : len(one) // self.population] for one in rows]
        return Neurons(tuple(found), self.shared["weight"].astype(np.float64), float(self.shared["floor"][0]))

    def fit(self, x: Array) -> Self:
        return self.calibrate(x, axes.principal(axes.centred(check_vectors(x), self.name)))

    def calibrate(self, x: Array, rotation: Array, learns: bool = True) -> Self:
        """Fit all but the axes, float32 [d, d]; unless it `learns`, directions and weights are left as they begin, and
        there is no attention.

        Raises as `firing.settled`.
        """
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        y = (x - mean) @ rotation
        rounds = population_training.ROUNDS if learns else 0
        found = population_training.fit(y, self.population, self.steps, self.budget, self.seed, rounds)
        widest = max(one.shape[1] for one in found.directions)
        padded = [np.pad(one, ((0, 0), (0, widest - one.shape[1]))) for one in found.directions]
        self.shared = {
            "mean": mean,
            "rotation": rotation,
            "directions": np.concatenate(padded),
            "weight": found.weight.astype(np.float32),
            "decoder_attention": np.zeros((self.steps, self.steps), np.float32),
        }
        few = y[np.random.default_rng(self.seed).permutation(len(y))[:SAMPLE]]
        calibrating, _ = population_training.parts(y, self.seed)
        floor = firing.settled(
            f"{self.name}: layer of {self.neurons} neurons, {self.budget:g} spikes a value",
            found.floor,
            lambda some: population_training.fire(calibrating, found._replace(floor=some))[0],
            self.dead_layers,
        )
        self.shared["floor"] = np.array([floor], np.float32)
        spikes, _ = population_training.fire(few, self.parameters)
        if learns:
            self.shared["decoder_attention"] = self.attention(spikes, few).astype(np.float32)
        return self

    @property
    def weights(self) -> Array:
        """[T, P d], of each neuron."""
        return np.repeat(self.shared["weight"], [some.stop - some.start for some in self.layers], axis=0).T

    def directed(self, amplitude: Array) -> Array:
        """y' float32 [n, d] of amplitudes [n, P d]."""
        pairs = zip(self.layers, self.parameters.directions, strict=True)
        return np.concatenate([amplitude[:, some].astype(np.float32) @ one for some, one in pairs], axis=1)

    def attention(self, train: SpikeTrain, y: Array) -> Array:
        """The attention [T, T] of a least squared error of y [n, d], as `phase_readout.solve` has it."""
        steps, spikes = range(self.steps), phase_readout.by_neuron(train)
        gram, target = np.zeros((self.steps**2, self.steps**2)), np.zeros(self.steps**2)
        for row in range(0, len(y), CHUNK):
            some, fired = y[row : row + CHUNK], spikes[row : row + CHUNK]
            weighted = fired * self.weights.T
            rest = some - self.directed(weighted.sum(axis=2))
            pairs = [weighted[..., t] * np.abs(fired[..., (t + phi) % self.steps]) for t in steps for phi in steps]
            features = np.stack([self.directed(one).ravel() for one in pairs])
            gram += features @ features.T
            target += features @ rest.ravel()
        return phase_readout.regression(gram, target).reshape(self.steps, self.steps)

    def encode(self, x: Array) -> Codes:
        y = (check_vectors(x, self.dims) - self.shared["mean"]) @ self.shared["rotation"]
        return self.codes(population_training.fire(y, self.parameters)[0])

    def decode(self, codes: Codes) -> Array:
        amplitude = phase_readout.read(self.spike_train(codes), self.weights, self.shared["decoder_attention"])
        return self.directed(amplitude) @ self.shared["rotation"].T + self.shared["mean"]
