"""An array in memory as samples, for who trains on rows that it has been handed."""

import numpy as np

from pipeline.store import array_digest
from pipeline.training.task import Array


class Rows:
    """A sample is a row of x [n, ...]: one piece. `known_by`: what tells it from other data, if that is not x."""

    def __init__(self, x: Array, known_by: Array | None = None) -> None:
        self._x, self.sizes = np.ascontiguousarray(x), [len(x)]
        self.identity = array_digest(x if known_by is None else known_by)

    def read(self, piece: int) -> Array:
        """x itself."""
        return self._x
