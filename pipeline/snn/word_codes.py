"""The words of an embedding table as population-coded spikes, fixed: what PopSpike reads, and what it is to predict.

    v = unit rows of the first d principal components of the table's unit rows (all of them where d is the table's own)
    u_j = where component j lies in -r_j .. r_j, 0 to 1,   r_j = 5/2 standard deviations, clipped
    neuron k of P of a component fires floor(T a_k(u_j) + 1/2) times in T steps     (a_k: pipeline/spikes/population.py)

as `population_<P>_<T>` does: integrate-and-fire from half a threshold. Silence is a row of its own, the last.
"""

from typing import NamedTuple

import numpy as np

from pipeline.codec import Array
from pipeline.spikes.population import activity
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, unit_rows

RANGE = 2.5  # r, in standard deviations


class WordCodes(NamedTuple):
    """`vectors` float32 [n + 1, d], unit rows, and `spikes` uint8 [n + 1, T, d P]; row n is silence, all 0."""

    vectors: Array
    spikes: Array

    @property
    def silence(self) -> int:
        """The number of the row that is no word."""
        return len(self.vectors) - 1

    @property
    def active(self) -> float:
        """How many neurons fire in a step, the mean over words."""
        return float(self.spikes[:-1].sum(axis=2, dtype=np.int64).mean())


def components(x: Array, dims: int) -> Array:
    """The first principal components, float32 [n, dims], of rows [n, d], each with the sign that makes its largest
    loading positive."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dims]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dims)])
    return (centred @ axes).astype(np.float32)


def spikes(vectors: Array, neurons: int, steps: int) -> Array:
    """uint8 [n, T, d P], neuron k of component j in place j P + k, of vectors [n, d]."""
    reach = RANGE * vectors.std(axis=0) + np.finfo(np.float32).tiny
    curves = activity(np.clip((vectors / reach + 1) / 2, 0, 1).astype(np.float32), neurons)
    drive = curves.reshape(len(vectors), 1, -1)
    ends = np.arange(steps + 1, dtype=np.float32)[None, :, None]
    return np.diff(np.floor(ends * drive + 0.5), axis=1).astype(np.uint8)


def word_codes(table: EmbeddingTable, dims: int, neurons: int, steps: int) -> WordCodes:
    """Codes of all words of a table. Raises UserError for no dimension, step or too few neurons, and for more
    dimensions than the table has."""
    for name, value, least in (("dims", dims, 1), ("neurons", neurons, 2), ("timesteps", steps, 1)):
        if type(value) is not int or value < least:
            raise UserError(f"options: {name} must be a whole number of at least {least}, not {value!r}")
    if dims > table.vectors.shape[1]:
        raise UserError(f"options: dims is {dims}, and the vectors of the table have {table.vectors.shape[1]}")
    found = unit_rows(components(unit_rows(table.vectors), dims))
    silence = np.zeros((1, steps, dims * neurons), np.uint8)
    return WordCodes(
        np.concatenate([found, np.zeros((1, dims), np.float32)]),
        np.concatenate([spikes(found, neurons, steps), silence]),
    )
