"""Vectors of an endpoint as they come in, from the disk and from replies, in any order."""

import threading
from collections.abc import Sequence

import numpy as np

from pipeline.embeddings.paid import Reply
from pipeline.store import Array


class Collected:
    """Vectors float32 [n, d] of n texts as they come, and what the server counted and called the model."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._position = {text: position for position, text in enumerate(texts)}
        self._there = np.zeros(len(texts), bool)
        self._vectors: Array | None = None
        self.tokens: int | None = 0  # None as soon as one reply does not say
        self.models: set[str] = set()

    def add(self, texts: Sequence[str], reply: Reply) -> None:
        """Take what is wanted and not there yet of a reply, whose vectors have as many values as those before."""
        pairs = [(self._position[text], row) for row, text in enumerate(texts) if text in self._position]
        pairs = [(position, row) for position, row in pairs if not self._there[position]]
        if not pairs:
            return
        if self._vectors is None:
            self._vectors = np.empty((len(self._there), reply.vectors.shape[1]), np.float32)
        positions, rows = (list(side) for side in zip(*pairs, strict=True))
        self._vectors[positions] = reply.vectors[rows]
        self._there[positions] = True
        self.tokens = None if self.tokens is None or reply.tokens is None else self.tokens + reply.tokens
        self.models |= {reply.model} - {""}

    def missing(self) -> list[int]:
        """Positions of the texts that have no vector yet."""
        return np.flatnonzero(~self._there).tolist()

    def vectors(self) -> Array:
        """All of them. Raises ValueError as long as one is missing."""
        if self._vectors is None or not self._there.all():
            raise ValueError("not all texts have a vector")
        return self._vectors


class Dimensions:
    """The number of values that all vectors have, and who says so: the first vectors, where it is not known before."""

    def __init__(self, expected: int | None, said_by: str) -> None:
        self.expected, self._said_by = expected, said_by
        self._lock = threading.Lock()

    def agree(self, found: int, said_by: object) -> bool:
        """Whether vectors of so many values belong here; `said_by` (their file) is named if others do not agree."""
        with self._lock:
            if self.expected is None:
                self.expected, self._said_by = found, str(said_by)
            return self.expected == found

    def __str__(self) -> str:
        return f"{self.expected} of {self._said_by}"
