"""Cells of one number, each bit halving the cell of the bits before it: a binary tree of thresholds and cell means.

A prefix of the bits is a coarser cell, so a code can be cut anywhere. Each cell is cut where the squared error about
the two means of its parts is least: Max's (1960) condition for two levels, found exactly over all places to cut. For a
Gaussian the first two bits are Max's quantizers themselves; from there on nesting costs 2 % (3 bits) to 7 % (5 bits).

A cell of few rows would learn those rows, not their density. It is cut at its mean, its parts' means are put where
those of an even density are (0.866 of its deviation to both sides), and their deviations are half of its own.
"""

from typing import NamedTuple

import numpy as np

from pipeline.codec import Array

FEWEST = 32  # rows of a cell that is cut where its rows say
EVEN = 3**0.5 / 2  # a half's mean, from the middle of an even density, in its deviations


class Tree(NamedTuple):
    """Of `bits` bits, depth by depth: thresholds [1 + 2 + 4 ...] and the cells' means [2 + 4 + 8 ...], float64."""

    thresholds: Array
    means: Array


class Cell(NamedTuple):
    rows: Array  # sorted
    mean: float
    deviation: float
    low: float = -np.inf  # its ends
    high: float = np.inf


def fit(y: Array, bits: int) -> Tree:
    """The tree over y [n], n >= 1, finite."""
    y = np.sort(y.astype(np.float64))
    cells = [Cell(y, float(y.mean()), float(y.std()))]
    thresholds, means = [], []
    for _ in range(bits):
        parts = [_cut(cell) for cell in cells]
        thresholds += [threshold for threshold, _ in parts]
        cells = [cell for _, both in parts for cell in both]
        means += [cell.mean for cell in cells]
    return Tree(np.array(thresholds), np.array(means))


def _cut(cell: Cell) -> tuple[float, tuple[Cell, Cell]]:
    y = cell.rows
    if len(y) < FEWEST or y[0] == y[-1]:
        # A mean that was put there, not found, may lie outside: thresholds would no longer rise from left to right.
        middle, half = min(max(cell.mean, cell.low), cell.high), EVEN * cell.deviation
        at = int(np.searchsorted(y, middle))
        return middle, (
            Cell(y[:at], cell.mean - half, cell.deviation / 2, cell.low, middle),
            Cell(y[at:], cell.mean + half, cell.deviation / 2, middle, cell.high),
        )
    sums, counts = np.cumsum(y), np.arange(1, len(y))
    # The error falls by the between-parts sum of squares. Equal values stay together: there is no place between them.
    falls = sums[:-1] ** 2 / counts + (sums[-1] - sums[:-1]) ** 2 / (len(y) - counts)
    at = 1 + int(np.argmax(np.where(y[1:] > y[:-1], falls, -np.inf)))
    middle = float(y[at - 1] + y[at]) / 2
    return middle, (_cell(y[:at], cell.low, middle), _cell(y[at:], middle, cell.high))


def _cell(rows: Array, low: float, high: float) -> Cell:
    return Cell(rows, float(rows.mean()), float(rows.std()), low, high)


def rising(thresholds: Array, bits: int) -> Array:
    """A tree's thresholds from left to right: between them lie the leaves 0, 1 .. 2^bits - 1."""
    found = np.empty(2**bits - 1, thresholds.dtype)
    for depth in range(bits):
        found[2 ** (bits - 1 - depth) - 1 :: 2 ** (bits - depth)] = thresholds[2**depth - 1 : 2 ** (depth + 1) - 1]
    return found
