"""Few-spikes neurons: thresholds, resets and weights of each step learned on the fit rows.

    few_spikes_<K>:   v(1) = (x - zero_j) / step_j + 1/2,     z(t) = [v(t) >= T(t)],     v(t + 1) = v(t) - h(t) z(t),
                      x' = zero_j + step_j (rest + sum_t d(t) z(t)),     t = 1 .. K

(Stoeckl and Maass 2021, "Optimized spiking neurons can classify images with high accuracy through temporal coding with
two spikes".) `zero` and `step` float32 [d] normalise a dimension to 0 .. 2^K - 1 by its largest absolute value on the
fit rows, as all spike codes here are calibrated (`calibration.py`). `threshold` T, `reset` h and `readout` d, float32
[K] each, and `rest` are shared by all dimensions: d of each dimension's own lowered the error by less than 0.4 %.

With T(t) = h(t) = d(t) = 2^(K-t) and rest = 0 this is `phase_<K>`. Learning starts there, takes the best of evenly
spaced levels over narrower and wider ranges, and goes on by coordinate descent in T and h; d and rest are always the
least squares solution. It judges by values that the other half of the fit rows calibrated, for the error of unseen rows
is that of clipping too: judged by the rows that calibrate, 8 steps came out up to 8 % worse than the phase code on
unseen rows of `minilm`, not equal to it. Nothing is drawn at random.

Guarantee: not exact; the mean squared error on the fit rows is at most that of `phase_<K>` (up to the rounding of
float32), since of both the better is kept. From 8 steps on that is often the phase code itself. Values beyond the range
go through the same dynamics (far beyond it all steps spike, or none), or are refused.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numba
import numpy as np

from pipeline.codec import Array, Codec, Codes, check_vectors
from pipeline.spikes import calibration
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"few_spikes_([1-9][0-9]?)")
MOST = 16
BLOCK = 1024  # rows at a time
READ = 2**22  # values that learning looks at, spread over the rows
SAMPLE = 2**17  # values, by rank, times steps: what each trial of learning is judged on
SHRINKS = np.linspace(0.3, 1.2, 37)  # ranges to begin with, in parts of the calibrated one
ROUNDS = 40
FIRST_ROUNDS = 8  # in which the strides may have to be halved before any is short enough
SETTLED = 1e-5  # a round that gains less than this part is the last


class Neuron(NamedTuple):
    """Of K steps, in units of `step`: float64 [K]."""

    threshold: Array
    reset: Array


class Sample(NamedTuple):
    """Potentials v(1) and what a squared error of each counts, float64 [m]."""

    potential: Array
    weight: Array


def even(steps: int, shrink: float = 1) -> Neuron:
    """2^K evenly spaced levels over that part of the range, its middle kept; all of it: the phase code."""
    places = 2.0 ** np.arange(steps - 1, -1, -1)
    return Neuron(shrink * places + (1 - shrink) * 2 ** (steps - 1), shrink * places)


def learned(sample: Sample, steps: int) -> Neuron:
    """The neuron of least squared error that is found: the best even levels, then coordinate descent.

    A stride is halved where neither way was good.
    """
    start = min((even(steps, shrink) for shrink in SHRINKS), key=lambda one: _error(sample, one))
    best, error = np.concatenate(start), _error(sample, start)
    stride = np.concatenate(even(steps)) / 4
    for done in range(ROUNDS):
        before = error
        for one in range(len(best)):
            for move in (stride[one], -stride[one]):
                tried = best.copy()
                tried[one] += move
                found = _error(sample, Neuron(*np.split(tried, 2)))
                if found < error:
                    best, error = tried, found
                    break
            else:
                stride[one] /= 2
        if done >= FIRST_ROUNDS and before - error <= SETTLED * error:
            break
    return Neuron(*np.split(best, 2))


def _error(sample: Sample, neuron: Neuron) -> float:
    """The squared error that the best d and rest leave."""
    return _solved(*_moments(*sample, *neuron))[1]


def _solved(gram: Array, target: Array, total: float) -> tuple[Array, float]:
    """Least squares: d and, last, rest, float64 [K + 1]; and the squared error that is left."""
    gram = gram + gram.T - np.diag(np.diag(gram))
    ridge = 1e-12 * np.trace(gram) * np.eye(len(gram))  # steps in which no neuron spikes, or all of them
    weights = np.linalg.solve(gram + ridge, target)
    return weights, total - 2 * weights @ target + weights @ gram @ weights


@numba.njit(cache=True)
def _moments(potential, weight, threshold, reset):  # type: ignore[no-untyped-def]
    """Sums over values of w s s' (on one side of the diagonal), w s y and w y^2; s: z(1) .. z(K), 1.

    y = v(1) - 1/2 is what is to be decoded.
    """
    steps = len(threshold)
    gram, target, total = np.zeros((steps + 1, steps + 1)), np.zeros(steps + 1), 0.0
    fired = np.empty(steps + 1, np.int64)
    for one in range(len(potential)):
        v, w, count = potential[one], weight[one], 0
        y = v - 0.5
        for step in range(steps):
            if v >= threshold[step]:
                v -= reset[step]
                fired[count] = step
                count += 1
        fired[count] = steps
        total += w * y * y
        for i in range(count + 1):
            target[fired[i]] += w * y
            for j in range(i + 1):
                gram[fired[i], fired[j]] += w
    return gram, target, total


@dataclass
class FewSpikes(SpikeCode):
    """K steps, one neuron a value."""

    chosen: calibration.Choice = field(default_factory=calibration.Choice)

    @property
    def neurons(self) -> int:
        return len(self.shared["step"])

    @property
    def highest(self) -> int:
        return 2**self.steps - 1

    def fit(self, x: Array) -> Self:
        check_vectors(x)
        normal = calibration.fitted(x, self.highest, False, self.chosen)
        candidates = [_phase(normal, self.steps)]
        if normal["step"].any():
            candidates.append(self._candidate(x, normal))
        self.shared = min(candidates, key=lambda one: self._squared_error(x, one))
        return self

    def encode(self, x: Array) -> Codes:
        check_vectors(x, self.neurons)
        calibration.check_inside(x, self.shared, 0, self.highest)
        packed = np.empty((len(x), self.steps, -(-self.neurons // 8)), np.uint8)
        for start in range(0, len(x), BLOCK):
            block = slice(start, start + BLOCK)
            v = _potential(x[block], self.shared)
            for step, (threshold, reset) in enumerate(zip(self.shared["threshold"], self.shared["reset"], strict=True)):
                spikes = v >= threshold
                v -= reset * spikes
                packed[block, step] = np.packbits(spikes, axis=1)
        return self.codes(SpikeTrain(packed, self.neurons))

    def decode(self, codes: Codes) -> Array:
        train = self.spike_train(codes)
        found = np.empty((len(train), self.neurons), np.float32)
        for start in range(0, len(train), BLOCK):
            block = slice(start, start + BLOCK)
            part = train.take(np.arange(len(train))[block])
            found[block] = self.shared["rest"]
            for step, readout in enumerate(self.shared["readout"]):
                found[block] += readout * part.plane(step)
        return found * self.shared["step"] + self.shared["zero"]

    def outside(self, x: Array) -> Array:
        """bool [n, d]: values outside of the calibrated range (see `calibration`)."""
        return calibration.outside(x, self.shared, 0, self.highest)

    def _candidate(self, x: Array, normal: dict[str, Array]) -> dict[str, Array]:
        neuron = learned(self._sample(x), self.steps)
        parts = [_moments(*_weighed(x[start : start + BLOCK], normal), *neuron) for start in range(0, len(x), BLOCK)]
        weights, _ = _solved(*(sum(part[1:], part[0]) for part in zip(*parts, strict=True)))
        numbers = {**neuron._asdict(), "readout": weights[:-1], "rest": weights[-1:]}
        return normal | {name: value.astype(np.float32) for name, value in numbers.items()}

    def _sample(self, x: Array) -> Sample:
        """Values of evenly spaced ranks, those of even rows as they are where odd ones calibrate, and the reverse."""
        x = x[:: -(-x.size // READ)]
        halves = [half for half in (x[::2], x[1::2]) if len(half)]
        normals = [calibration.fitted(half, self.highest, False, self.chosen) for half in halves[::-1]]
        parts = [_weighed(half, normal) for half, normal in zip(halves, normals, strict=True) if normal["step"].any()]
        potential, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(potential, kind="stable")
        count = min(SAMPLE // self.steps, len(order))
        taken = order[((np.arange(count) + 0.5) / count * len(order)).astype(np.int64)]
        return Sample(potential[taken], weight[taken])

    def _squared_error(self, x: Array, shared: dict[str, Array]) -> float:
        """The sum of squared errors of rows."""
        codec = FewSpikes(self.name, self.seed, shared, steps=self.steps)
        blocks = (x[start : start + BLOCK] for start in range(0, len(x), BLOCK))
        return sum(float(np.square(codec.decode(codec.encode(one)) - one, dtype=np.float64).sum()) for one in blocks)


def _potential(x: Array, shared: dict[str, Array]) -> Array:
    """v(1), float32 [n, d]; 1/2 where a dimension has no range."""
    return calibration.in_steps(x, shared) + np.float32(0.5)


def _weighed(x: Array, normal: dict[str, Array]) -> Sample:
    weight = np.square(normal["step"] / normal["step"].max(), dtype=np.float64)
    return Sample(_potential(x, normal).ravel().astype(np.float64), np.broadcast_to(weight, x.shape).ravel())


def _phase(normal: dict[str, Array], steps: int) -> dict[str, Array]:
    places = even(steps).reset.astype(np.float32)
    return normal | {"threshold": places, "reset": places, "readout": places, "rest": np.zeros(1, np.float32)}


def build(name: str, seed: int) -> Codec:
    """`few_spikes_<K>`, K from 1 to 16. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or int(found[1]) > MOST:
        what = f"few_spikes has no codec {name!r}; its names are few_spikes_<steps>, 1 to {MOST} steps"
        raise UserError(f"representations: {what}")
    return FewSpikes(name, seed, steps=int(found[1]))


fit_together = calibration.together(build)
