"""What is trained: the interface between the trainer and the modules that bring a model, data and a loss.

A module of a caller has `task(inputs, options) -> Task`. Its loss returns named parts; their weights are settings. The
objective is the sum of weight times part, averaged over processes. So a part that is a mean over rows is returned for
the rows at hand; a part that needs the whole batch (similarity of pairs, decorrelation) takes `context.gather(z)`, the
rows of all processes, and returns the same value in each of them. Both then have the gradient of one process that holds
the whole batch. A part of weight 0 is not computed, if it is given as a function.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from torch import Generator, Tensor, nn

Array = np.ndarray


def alone(rows: Tensor) -> Tensor:
    """`gather` where one process holds all rows: they themselves."""
    return rows


@dataclass(frozen=True)
class Context:
    """What a loss may want to know besides the model and its rows.

    Attributes:
        step: optimizer steps made before this one, of `steps` in all; for terms that are turned up or down.
        gather: rows of all processes [n of all, ...] from those of this one [n, ...], in the order of the batch, with
            gradients.
        generator: random numbers that are the same in every process and depend on nothing but seed and step. What is
            drawn from it for `rows` rows and cut to `mine` does not depend on the number of processes.
        rows: rows of all processes; `mine` is which of them are here.
    """

    step: int
    steps: int
    gather: Callable[[Tensor], Tensor]
    generator: Generator
    rows: int
    mine: slice


Part = Tensor | Callable[[], Tensor]
"""A scalar, or a function that computes it."""


class Loss(Protocol):
    """(model, rows of this process, context) -> parts by name."""

    def __call__(self, model: nn.Module, rows: Tensor, context: Context, /) -> Mapping[str, Part]: ...


HeldOut = Callable[[nn.Module], Mapping[str, float]]
"""Metrics by name on rows that are not trained on. It runs in the first process alone, without gradients."""


class Source(Protocol):
    """Samples in pieces (say, the row groups of Parquet shards), each piece read at once and with one width.

    Attributes:
        sizes: the number of samples in each piece.
        identity: what a checkpoint remembers the data by; another identity is other data.
    """

    @property
    def sizes(self) -> Sequence[int]: ...
    @property
    def identity(self) -> str: ...

    def read(self, piece: int) -> Array:
        """All samples of a piece, [sizes[piece], ...]."""
        ...


class Task(NamedTuple):
    model: nn.Module
    data: Source
    loss: Loss
    held_out: HeldOut | None = None
