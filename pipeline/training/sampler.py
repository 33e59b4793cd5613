"""The order of samples: shuffled, the same for any number of processes, and resumable at any batch.

Pieces are shuffled, then grouped into windows of at most `window` samples (or one piece), and the samples of a window
are shuffled among themselves: the order is random within what memory holds. All of it is drawn from (seed, epoch), and
the number of processes has no part in it: there is one sequence of global batches, and each process takes its slice of
every batch. What does not fill a batch at the end of an epoch is left out, and is other samples in each epoch.

A batch that is accumulated in parts is cut into parts first and then among processes: each part is a contiguous slice
of the batch, whose rows in the order of the processes are those of the whole part.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.stage import UserError
from pipeline.training.task import Array, Source


def windows(sizes: list[int], window: int, seed: int, epoch: int) -> list[tuple[int, ...]]:
    """Pieces by number, in the order of an epoch, in groups that hold at most `window` samples or are one piece."""
    groups: list[tuple[int, ...]] = []
    held = 0
    for piece in np.random.default_rng([seed, epoch]).permutation(len(sizes)).tolist():
        if not groups or held + sizes[piece] > window:
            groups.append(())
            held = 0
        groups[-1] += (piece,)
        held += sizes[piece]
    return groups


def positions(batch: int, parts: int, rank: int, count: int) -> Array:
    """Which rows of a batch process `rank` of `count` takes: int64 [parts, batch / (parts count)].

    Raises UserError if the batch cannot be divided so.
    """
    if batch % (parts * count):
        raise UserError(
            f"settings: a batch of {batch} cannot be divided among {count} processes"
            + (f" in {parts} accumulated parts" if parts > 1 else "")
        )
    return np.arange(batch).reshape(parts, count, -1)[:, rank]


class Batches:
    """The batches of a source, epoch by epoch.

    Raises UserError if there are fewer samples than a batch takes.
    """

    def __init__(self, source: Source, batch: int, window: int, seed: int) -> None:
        self.source, self.batch, self.window, self.seed = source, batch, window, seed
        self.sizes = list(source.sizes)
        self.per_epoch = sum(self.sizes) // batch
        if not self.per_epoch:
            raise UserError(f"{sum(self.sizes)} samples to train on are fewer than a batch of {batch}")
        self._held: tuple[tuple[int, ...], Array] | None = None

    def epoch(self, epoch: int, first: int, mine: Array) -> Iterator[Array]:
        """The batches of an epoch from number `first` on, of each the rows `mine` (ascending positions in a batch)."""
        skip, parts, filled = first * self.batch, [], 0
        for number, pieces in enumerate(windows(self.sizes, self.window, self.seed, epoch)):
            size = sum(self.sizes[piece] for piece in pieces)
            if skip >= size:  # before the first batch that is wanted: not read
                skip -= size
                continue
            rows = self._read(tuple(sorted(pieces)))
            order = np.random.default_rng([self.seed, epoch, number]).permutation(size)
            at, skip = skip, 0
            while at < size:  # a batch may begin in one window and end in another
                taken = min(self.batch - filled, size - at)
                here = mine[(mine >= filled) & (mine < filled + taken)]
                parts.append(rows[order[at + here - filled]])
                at, filled = at + taken, filled + taken
                if filled == self.batch:
                    yield np.concatenate(parts)
                    parts, filled = [], 0
            del rows  # before the next window is read

    def _read(self, pieces: tuple[int, ...]) -> Array:
        """The samples of a window. The last one is kept: data that fit into a window are read once."""
        if self._held is None or self._held[0] != pieces:
            self._held = None
            read = [self.source.read(piece) for piece in pieces]
            self._held = pieces, read[0] if len(read) == 1 else np.concatenate(read)
        return self._held[1]
