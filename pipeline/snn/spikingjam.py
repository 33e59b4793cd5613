"""SpikingJam: the spiking autoencoder, exact and learned; it reconstructs vectors that it has never seen.

    spikingjam_exact_<P>x<T>_<b>   b-bit integers through P neurons a value and T steps: spikingjam_exact_16x16_8
    spikingjam_<T>_<s>             learned, T phases (2 to 64), about s spikes a value: spikingjam_16_0.5
    spikingjam_<P>x<T>_<s>         learned, P neurons a value (2 to 16): spikingjam_4x4_0.5 (`spikingjam_population`)

Exact. A value's P integrate-and-fire neurons begin at staggered potentials k / P and get the same current; their spikes
are those of `spikes/staggered.py`, which come from whole numbers, and their counts add up to the integer by Hermite's
identity. Phase-shifted attention reads neuron k at the phase t + phi_k, phi_k = floor(k T / P), circular over the T
steps (`phase_readout.shifted`), and a reading neuron integrates the P currents. What carries the integer is the
counts: queries and keys are 1 throughout, so attention moves spikes in time and neither adds nor drops any. Attention
whose keys depend on the spikes would break it, and so would a shift that is not circular. Potentials stay between 0
and the threshold, so no bound on the membrane is ever met. Guarantee: all integers come back, seen or unseen.

Learned. y = (x - mean) R, R orthogonal and trained (`spikingjam_training`), drives a neuron for each axis, whose signed
spikes weigh by their phase (`phase_neurons`); delta is moved until the fit rows have s spikes a value. Attention over
phases reads them (`phase_readout`), and x' = mean + y' R^T. Only R comes from gradients: reach and delta are
calibrated, the attention is a least squares solution. No guarantee of exactness. Without training (`steps: 0`:
principal axes) and attention (c = 0) it is the control of results/snn.csv. Training is not begun where its first
gradient does not lower the spikes of rows that it was not taken from (`axes.helps`), as on the default tables.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, NotApplicableError, check_vectors
from pipeline.snn import axes, firing, phase_neurons, phase_readout
from pipeline.snn.spikingjam_population import Population
from pipeline.spikes import planes, staggered
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError, check_keys

LEARNED = re.compile(r"spikingjam_(?:([1-9][0-9]?)x)?(0|[1-9][0-9]?)_(0|0\.[0-9]*[1-9]|[1-9][0-9]?(?:\.[0-9]*[1-9])?)")
EXACT = re.compile(r"spikingjam_exact_(.+)")
MOST_STEPS = 64
MOST_NEURONS = 16  # a value
TRAINED_BUDGET = 1.0  # spikes a value at which the rotation is trained: one serves all budgets
MARGIN = 1.25  # the reach of a neuron, in parts of its largest drive on the fit rows: unseen rows have larger ones
SAMPLE = 1000  # rows that delta and attention are fitted on


@dataclass
class Exact(staggered.Staggered):
    """Integers, spikes and search as `Staggered`; read by phase-shifted attention."""

    family: ClassVar[str] = "snn"
    searches: ClassVar[tuple[str, ...]] = ()

    @property
    def shifts(self) -> Array:
        """phi_k, int64 [P]."""
        return np.arange(self.population) * self.steps // self.population

    def to_integers(self, train: SpikeTrain) -> Array:
        q = np.empty((len(train), train.neurons // self.population), np.int32)
        by_shift = phase_readout.heads(self.shifts, train.neurons)
        in_cache = planes.blocks(len(train), max(1, self.steps * train.packed.shape[2] // 16))
        for rows in in_cache:
            read = phase_readout.shifted(train.packed[rows], by_shift)
            q[rows] = self._integrated(read, q.shape[1])
        return q

    def _integrated(self, packed: Array, values: int) -> Array:
        """[n, d]: the spikes of a value's P neurons in all steps, of packed ones."""
        if self.population % 8:
            return super().to_integers(SpikeTrain(packed, values * self.population))
        counts = np.bitwise_count(packed).sum(axis=1, dtype=np.uint16)
        return counts.reshape(len(packed), values, -1).sum(axis=2, dtype=np.int32)


@dataclass
class Learned(SpikeCode):
    """Shared: `mean` [d], `rotation` [d, d], `reach` [d], `delta` [1] and `decoder_attention` [T, T], float32."""

    family: ClassVar[str] = "snn"
    signed: ClassVar[bool] = True

    budget: float = 1.0
    dead_layers: str = "warn"

    @property
    def neurons(self) -> int:
        return len(self.shared["reach"])

    @property
    def phases(self) -> phase_neurons.Phases:
        return phase_neurons.phases(self.shared["reach"], float(self.shared["delta"][0]), self.steps)

    def fit(self, x: Array) -> Self:
        return self.calibrate(x, rotation(check_vectors(x), self.steps, self.seed, self.name))

    def calibrate(self, x: Array, turn: Array, attends: bool = True) -> Self:
        """Fit all but the axes, float32 [d, d], which are given. Unless it `attends`, c = 0.

        Raises NotApplicableError where no neuron would ever fire, for all rows are equal, and as `firing.settled`.
        """
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        y = (x - mean) @ turn
        reach = np.float32(MARGIN) * np.abs(y).max(axis=0)
        few = y[np.random.default_rng(self.seed).permutation(len(y))[:SAMPLE]]
        if not few.any():
            raise NotApplicableError(f"{self.name}: layer of {len(reach)} neurons: none fires, for all rows are equal")
        delta = phase_neurons.calibrated(few, reach, self.budget, self.steps)
        delta = firing.settled(
            f"{self.name}: layer of {len(reach)} neurons, {self.budget:g} spikes a value",
            delta,
            lambda some: phase_neurons.fire(few, phase_neurons.phases(reach, some, self.steps)),
            self.dead_layers,
        )
        neurons = phase_neurons.phases(reach, delta, self.steps)
        spikes = phase_neurons.fire(few, neurons)
        attention = phase_readout.solve(spikes, neurons.weight, few) if attends else np.zeros((self.steps, self.steps))
        self.shared = {"mean": mean, "rotation": turn, "reach": reach, "delta": np.array([delta], np.float32)}
        self.shared["decoder_attention"] = attention.astype(np.float32)
        return self

    def encode(self, x: Array) -> Codes:
        y = (check_vectors(x, self.neurons) - self.shared["mean"]) @ self.shared["rotation"]
        return self.codes(phase_neurons.fire(y, self.phases))

    def decode(self, codes: Codes) -> Array:
        y = phase_readout.read(self.spike_train(codes), self.phases.weight, self.shared["decoder_attention"])
        return y.astype(np.float32) @ self.shared["rotation"].T + self.shared["mean"]


def rotation(x: Array, steps: int, seed: int, name: str, training_steps: int | None = None) -> Array:
    """R float32 [d, d]: principal axes of rows x [n, d], largest variance first, then trained; 0 steps: as they are.

    Raises NotApplicableError, naming the codec, where all rows are equal.
    """
    rows = axes.centred(x, name)
    principal = axes.principal(rows)
    if training_steps == 0:
        return principal
    y = rows @ principal
    delta = phase_neurons.calibrated(y[:SAMPLE], np.abs(y).max(axis=0), TRAINED_BUDGET, steps)
    held, others = axes.parts(rows, seed)
    if not axes.helps(others, held, principal, delta):
        return principal
    from pipeline.snn import spikingjam_training as training  # torch takes two seconds: only for those who train

    count = training.STEPS if training_steps is None else training_steps
    return training.fit(others, held, principal, delta, seed, count)


def build(name: str, seed: int) -> Codec:
    """`spikingjam_exact_<P>x<T>_<b>`, as `staggered_<P>x<T>_<b>`; `spikingjam_<T>_<s>` and `spikingjam_<P>x<T>_<s>`, T
    from 2 to 64, P from 2 to 16, s above 0 and below T. Raises UserError for any other name."""
    if found := EXACT.fullmatch(name):
        try:
            code = staggered.build(f"staggered_{found[1]}", seed)
        except UserError as error:
            raise UserError(f"representations: {name!r}: {str(error).removeprefix('representations: ')}") from None
        assert isinstance(code, staggered.Staggered)
        return Exact(name, seed, population=code.population, steps=code.steps, bits=code.bits)
    if not (found := LEARNED.fullmatch(name)):
        form = "spikingjam_exact_<neurons>x<timesteps>_<bits> or spikingjam_[<neurons>x]<timesteps>_<spikes a value>"
        raise UserError(f"representations: spikingjam has no codec {name!r}; its names are {form}")
    population, steps, budget = int(found[1] or 1), int(found[2]), float(found[3])
    if not 2 <= steps <= MOST_STEPS:
        raise UserError(f"representations: {name!r}: it takes 2 timesteps at least and {MOST_STEPS} at most")
    if not 0 < budget < steps:
        raise UserError(f"representations: {name!r}: spikes a value must be above 0 and below the {steps} timesteps")
    if not found[1]:
        return Learned(name, seed, steps=steps, budget=budget)
    if not 2 <= population <= MOST_NEURONS:
        raise UserError(f"representations: {name!r}: a population has 2 to {MOST_NEURONS} neurons a value")
    return Population(name, seed, steps=steps, budget=budget, population=population)


def fit_together(
    names: Sequence[str], seed: int, x: Array, options: Mapping[str, Any]
) -> dict[str, Codec | NotApplicableError]:
    """Fit all; one rotation is trained for codecs of equal T. What a table cannot have comes back as the error itself.

    Options: `steps` of the rotation's training, 0: nothing is trained; `dead_layers`: what is done about a layer that
    is dead or saturated, one of `firing.POLICIES`, `warn` if not given. Raises UserError for other options.
    """
    check_keys("spikingjam", options, ["steps", "dead_layers"])
    training_steps, policy = options.get("steps"), options.get("dead_layers", "warn")
    if training_steps is not None and (type(training_steps) is not int or training_steps < 0):
        raise UserError(f"spikingjam: steps must be a whole number of at least 0, not {training_steps!r}")
    if policy not in firing.POLICIES:
        raise UserError(f"spikingjam: dead_layers must be one of {', '.join(firing.POLICIES)}, not {policy!r}")
    check_vectors(x)
    turns: dict[int, Array] = {}  # by T; 0: the principal axes, which populations have

    def turn(steps: int, name: str) -> Array:
        if steps not in turns:
            turns[steps] = rotation(x, steps, seed, name, training_steps) if steps else rotation(x, 2, seed, name, 0)
        return turns[steps]

    def fitted(name: str) -> Codec:
        codec = build(name, seed)
        if isinstance(codec, Learned):
            return replace(codec, dead_layers=policy).calibrate(x, turn(codec.steps, name))
        if isinstance(codec, Population):
            return replace(codec, dead_layers=policy).calibrate(x, turn(0, name), training_steps != 0)
        return codec.fit(x)

    codecs: dict[str, Codec | NotApplicableError] = {}
    for name in names:
        try:
            codecs[name] = fitted(name)
        except NotApplicableError as reason:
            codecs[name] = reason
    return codecs
