"""Where in a sequence a word stands, as spikes: temporal position codes. Words have T steps each.

- `cpg`, sinusoidal, as central pattern generators would (CPG-PE; Lv et al. 2024, "Advancing spiking neural networks for
  sequential modeling with central pattern generators", arXiv 2405.14362): of K pairs of neurons, k = 0 .. K-1,

      s_2k(t) = H(sin(w_k t) - 0.8),    s_2k+1(t) = H(cos(w_k t) - 0.8),    w_k = 10000^(-k / K),    H(0) = 1

- `phase_shifted`, a frequency and a phase for each neuron (head), which may be learned (nearest in print: arXiv
  2508.21505):

      s_k(t) = 1[sin(w_k t + phi_k) > 0]

- `gray`, the Gray code of the position l (Gray 1953, US patent 2,632,058; in spiking transformers, Lv et al. 2025,
  arXiv 2501.16745): of b neurons, the highest bit first, the bits of g(l) = l xor floor(l / 2). Neighbours differ in
  one bit, and so do the first position and the last, 2^b - 1. It is a phase-shifted code too: `gray_waves`.

The sinusoids run on through all steps, t = l T + step, so that T steps tell where a word stands; the neurons of the
Gray code hold the position through the word's steps. Positions can be told apart up to the first whose spikes an
earlier one has: 2^b for `gray`; of any code `unambiguous_length` finds it. Few steps tell little: 40 neurons of `cpg`
tell 13 positions apart where a word has one step, and more than 2,000 where it has eight.
"""

from typing import NamedTuple

import numpy as np

from pipeline.stage import UserError

Array = np.ndarray

THRESHOLD = 0.8
BASE = 10_000.0
NEURONS = 40  # of a sinusoidal code, where nobody says how many
KINDS = ("gray", "cpg", "phase_shifted")


class Waves(NamedTuple):
    """Frequencies w (radians a step) and phases phi (radians), float64 [K]."""

    frequencies: Array
    phases: Array


def cpg(steps: int, pairs: int) -> Array:
    """bool [steps, 2 pairs]."""
    angle = np.arange(steps)[:, None] * BASE ** (-np.arange(pairs) / pairs)
    return (np.stack([np.sin(angle), np.cos(angle)], axis=2) >= THRESHOLD).reshape(steps, 2 * pairs)


def phase_shifted(steps: int, waves: Waves) -> Array:
    """bool [steps, K]."""
    return np.sin(np.arange(steps)[:, None] * waves.frequencies + waves.phases) > 0


def spread(heads: int) -> Waves:
    """Waves to begin with: the frequencies of `cpg`, and phases evenly round the circle."""
    return Waves(BASE ** (-np.arange(heads) / heads), 2 * np.pi * np.arange(heads) / heads)


def gray(length: int, bits: int) -> Array:
    """bool [length, bits]. Raises UserError where so few bits do not tell the positions apart."""
    if length > 2**bits:
        told = f"{bits} bits of Gray code tell {2**bits} positions apart, not {length}"
        raise UserError(f"positions: {told}: the least that do are {gray_bits(length)}")
    position = np.arange(length)[:, None]
    return (position ^ position >> 1) >> np.arange(bits - 1, -1, -1) & 1 != 0


def gray_bits(length: int) -> int:
    """The least number of bits, at least 1, whose Gray code tells so many positions apart."""
    return max(1, (length - 1).bit_length())


def gray_positions(spikes: Array) -> Array:
    """int64 [n] of Gray codes bool [n, bits]: a position's bit is the parity of the bits from the highest to it."""
    position = np.zeros(len(spikes), np.int64)
    for bit in np.logical_xor.accumulate(spikes, axis=1).T:
        position = 2 * position + bit
    return position


def gray_waves(bits: int) -> Waves:
    """The waves whose phase-shifted code, a step a position, is the Gray code up to 2^bits positions.

    Bit k, of period 2^(k+2), is 1 from 2^k to 3 2^k - 1: a sine whose maximum is in the middle of these, 2^(k+1) - 1/2.
    """
    frequencies = 2 * np.pi / 2.0 ** (np.arange(bits - 1, -1, -1) + 2)
    return Waves(frequencies, frequencies / 2 - np.pi / 2)


def unambiguous_length(spikes: Array) -> int:
    """The first position, of bool [L, ...], that has an earlier one's spikes: all before it can be told apart. L where
    there is none."""
    _, first = np.unique(spikes.reshape(len(spikes), -1), axis=0, return_index=True)
    repeats = np.setdiff1d(np.arange(len(spikes)), first)
    return int(repeats[0]) if len(repeats) else len(spikes)


def table(kind: str, length: int, timesteps: int, neurons: int | None = None) -> Array:
    """The spikes of each position, bool [length, T, Q]; no two positions have the same.

    `neurons` Q: where none are said as few as `gray` needs, and 40 of the others. `phase_shifted` has the waves of
    `spread`. Raises UserError, saying what would do, for a code that there is not, or whose positions repeat.
    """
    if kind not in KINDS:
        raise UserError(f"positions: there is no code {kind!r}; there are {', '.join(KINDS)}")
    if neurons is None:
        neurons = gray_bits(length) if kind == "gray" else NEURONS
    if neurons < 1 or (kind == "cpg" and neurons % 2):
        least = "an even number, a sine and a cosine each" if kind == "cpg" else "at least 1"
        raise UserError(f"positions: {kind} of {neurons} neurons: it needs {least}")
    if kind == "gray":
        return np.repeat(gray(length, neurons)[:, None], timesteps, axis=1)
    steps = length * timesteps
    flat = cpg(steps, neurons // 2) if kind == "cpg" else phase_shifted(steps, spread(neurons))
    spikes = flat.reshape(length, timesteps, neurons)
    if (told := unambiguous_length(spikes)) < length:
        what = f"{kind} of {neurons} neurons and {timesteps} steps a word tells {told} positions apart, not {length}"
        raise UserError(f"positions: {what}: take more neurons, or gray of {gray_bits(length)}")
    return spikes


def located(spikes: Array, known: Array) -> Array:
    """Positions, int64 [n], of spikes bool [n, T, Q]: which row of `known`, bool [L, T, Q] (a `table`), is equal.

    Raises UserError for a table that repeats itself, and, naming the word, for spikes that no position has.
    """
    if (told := unambiguous_length(known)) < len(known):
        raise UserError(f"positions: a table of {len(known)} positions that tells {told} apart")
    rows = {row.tobytes(): position for position, row in enumerate(known)}
    found = [rows.get(row.tobytes(), -1) for row in np.ascontiguousarray(spikes)]
    if -1 in found:
        raise UserError(f"positions: the spikes of word {found.index(-1)} are those of no position below {len(known)}")
    return np.array(found, np.int64)
