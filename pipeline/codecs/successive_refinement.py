"""Successive refinement: a binary code of which every prefix is a code. `successive_refinement_<bits>`.

    y_j = r_j a_j . (x - mean),    bit t halves the cell of component j(t),    x' = mean + sum_j m_j / r_j a+_j

The a_j are the principal axes of the fit rows (Karhunen-Loeve transform), r_j makes y_j of variance 1, and a+_j are the
rows of the pseudo-inverse. Each next bit goes to the component whose squared error it lowers most, by the errors of
Max's quantizers for a Gaussian (Huang & Schultheiss 1963): reverse water-filling in whole bits. It halves that
component's cell (`refinement_tree`), and m_j is the mean of the fit rows in the cell. So the first b bits of a code are
the code of b bits. A Gaussian is successively refinable (Equitz & Cover 1991); here the nesting costs a few percent of
error at most, and on word vectors nothing that recall shows.

The axes are shared as int8, with one scale each (`principal_axes`). Components without a bit are not shared. A
component's first 8 bits are a tree's; all later ones halve its leaves by rule (`deep_cells`). It has at most 16 bits; a
budget beyond that ends there, with a warning.

Fitting reads blocks of rows twice and holds one of them and a sample of SAMPLE rows, on which the trees are fitted
(`row_statistics`): the rows may be more than memory holds. Where all rows are in the sample, nothing is approximate.

Search: `asymmetric` and `funnel` (see `nested`).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline import stage
from pipeline.codec import Array, Codes, check_vectors, dimensions
from pipeline.codecs import deep_cells, principal_axes, refinement_tree, row_statistics
from pipeline.codecs.nested import BLOCK, Nested
from pipeline.layout import check_layout, check_padding
from pipeline.stage import UserError

NAME = re.compile(r"successive_refinement_([1-9][0-9]*)")
TREE = 8  # bits a component that are a tree's: a byte
MOST = 16  # bits a component
# Mean squared error of the best 2^b levels for a Gaussian of variance 1 (Max 1960, table I); from 6 bits on Panter and
# Dite's limit, pi sqrt(3) / 2 / 4^b.
GAUSSIAN_ERRORS = np.array(
    [1, 0.3634, 0.1175, 0.03454, 0.009497, 0.002499, *(np.pi * 3**0.5 / 2 / 4.0 ** np.arange(6, MOST + 1))]
)
SAMPLE = 2**16  # rows that the trees are fitted on


def order_bits(variances: Array, count: int) -> Array:
    """The component that each bit goes to, int64 [at most count]: where the error falls most, MOST bits a component."""
    falls = variances[:, None] * -np.diff(GAUSSIAN_ERRORS)  # by the first bit, the second ...: smaller from bit to bit
    return np.argsort(-falls, axis=None, kind="stable")[:count] // MOST


def depths(order: Array) -> Array:
    """How many bits the same component has before each, int64."""
    counts, found = np.bincount(order), np.empty(len(order), np.int64)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    found[np.argsort(order, kind="stable")] = np.arange(len(order)) - first
    return found


@dataclass
class SuccessiveRefinement(Nested):
    """ceil(bits / 8) bytes a vector.

    Shared: `mean` float32 [d]; `axes` int8 [d, k] and `reach` float32 [k], r of the axes as stored; `order` uint16
    [bits], the component that each bit goes to; `thresholds` and `means` float16, the trees of the components in turn;
    `tails` float32 [components of more than TREE bits, 2] (see `deep_cells`), in codecs that have such components and
    in their prefixes. Those compute y in float64: their cells are so fine that float32 sums, whose rounding differs
    with the number of columns, would give a prefix other bits.
    """

    array: ClassVar[str] = "bits"
    emphasis: float = 0.0  # bits are ordered as if a variance were its power 1 + emphasis

    def fit(self, x: Array) -> Self:
        check_vectors(x)
        return self.fit_blocks(lambda: (x[start : start + SAMPLE] for start in range(0, len(x), SAMPLE)))

    def fit_blocks(self, blocks: Callable[[], Iterable[Array]]) -> Self:
        """Fit on blocks float32 [n_i, d] that `blocks()` gives, twice the same, one at a time.

        Raises UserError for blocks that are no usable vectors, differ in d, or are more or fewer the second time.
        """
        mean, sample, count = row_statistics.mean_and_sample(blocks(), SAMPLE, self.seed)
        exact, variances = principal_axes.of_covariance(row_statistics.covariance(blocks(), mean, count))
        order = order_bits(variances ** (1 + self.emphasis), self.budget)
        if len(order) < self.budget:
            text = "%s: only %d of its %d bits: %s can have %d at most each"
            stage.log.warning(text, self.name, len(order), self.budget, dimensions(len(mean)), MOST)
        self._cells(mean, exact, order, sample)
        return self

    def _cells(self, mean: Array, exact: Array, order: Array, sample: Array) -> None:
        """Share axes [d, at least k] and their cells, fitted on rows [n, d], for bits in this order."""
        widths = np.bincount(order)
        axes = np.ascontiguousarray(principal_axes.rounded(exact)[:, : len(widths)])
        y = np.empty((len(widths), len(sample)))
        for start in range(0, len(sample), BLOCK):
            y[:, start : start + BLOCK] = ((sample[start : start + BLOCK] - mean).astype(np.float64) @ axes).T
        spread = np.sqrt([np.mean(one * one) for one in y])
        reach = np.divide(1, spread, out=np.zeros(len(spread)), where=spread > 0)
        y *= reach[:, None]
        trees = [refinement_tree.fit(one, min(bits, TREE)) for one, bits in zip(y, widths, strict=True)]
        self.shared = {
            **{"mean": mean, "axes": axes, "reach": reach.astype(np.float32), "order": order.astype(np.uint16)},
            "thresholds": np.concatenate([tree.thresholds for tree in trees]).astype(np.float16),
            "means": np.concatenate([tree.means for tree in trees]).astype(np.float16),
        }
        if len(deep := self._deep()):
            cuts = self.cuts()
            self.shared["tails"] = np.stack([deep_cells.tails(y[one], cuts[one]) for one in deep])
        self._inverse = None

    @property
    def bits(self) -> int:
        """Bits of a vector: the budget, or fewer where the dimensions hold no more."""
        return len(self.shared["order"])

    def prefix(self, bits: int) -> "SuccessiveRefinement":
        """The codec of the first `bits` bits: its codes are the first ceil(bits / 8) bytes of this one's, spare bits 0.

        Raises UserError for a size that is no prefix.
        """
        if not 1 <= bits <= self.bits:
            raise UserError(f"{self.name}: {bits} bits are no prefix of {self.bits}")
        order = self.shared["order"][:bits]
        widths, now, before = np.bincount(order), np.minimum(np.bincount(order), TREE), self._depths()
        thresholds = np.split(self.shared["thresholds"], np.cumsum(2**before - 1)[:-1])
        means = np.split(self.shared["means"], np.cumsum(2 ** (before + 1) - 2)[:-1])
        shared = {
            **{"mean": self.shared["mean"], "axes": self.shared["axes"][:, : len(now)]},
            "reach": self.shared["reach"][: len(now)],
            "order": order,
            "thresholds": np.concatenate([one[: 2**b - 1] for one, b in zip(thresholds, now, strict=False)]),
            "means": np.concatenate([one[: 2 ** (b + 1) - 2] for one, b in zip(means, now, strict=False)]),
        }
        if "tails" in self.shared:
            shared["tails"] = self.shared["tails"][np.isin(self._deep(), np.flatnonzero(widths > TREE))]
        return SuccessiveRefinement(f"successive_refinement_{bits}", self.seed, shared, bits)

    def _widths(self) -> Array:
        """Bits of each component, int64 [k]. All that have an axis have one: they are used from the first on."""
        return np.bincount(self.shared["order"])

    def _depths(self) -> Array:
        """Depth of each component's tree, int64 [k]."""
        return np.minimum(self._widths(), TREE)

    def _deep(self) -> Array:
        """The components whose bits go beyond their trees, int64."""
        return np.flatnonzero(self._widths() > TREE)

    def cuts(self) -> list[Array]:
        """The thresholds of each component from left to right, float32."""
        depth = self._depths()
        trees = np.split(self.shared["thresholds"].astype(np.float32), np.cumsum(2**depth - 1)[:-1])
        return [refinement_tree.rising(tree, bits) for tree, bits in zip(trees, depth, strict=True)]

    def _deep_leaves(self) -> list[tuple[int, int, deep_cells.Leaves]]:
        """Of each component whose bits go beyond its tree: which it is, how many do, and its leaves."""
        if not len(deep := self._deep()):
            return []
        widths, cuts = self._widths(), self.cuts()
        pairs = zip(deep, self.shared["tails"], strict=True)
        return [(j, widths[j] - TREE, deep_cells.leaves(cuts[j], scales)) for j, scales in pairs]

    def _places(self) -> Array:
        """Where each bit of the code stands in bytes, int64 [bits]: first one a component, its leaf's number, which is
        the path to it; then one for each component that has more bits, with those."""
        order, widths = self.shared["order"].astype(np.int64), self._widths()
        depth = depths(order)
        behind = len(widths) + np.cumsum(widths > TREE) - 1
        byte = np.where(depth < TREE, order, behind[order])
        held = np.where(depth < TREE, self._depths()[order], widths[order] - TREE)
        return byte * 8 + 8 - held + depth % TREE

    def _precision(self) -> type[np.floating]:
        return np.float64 if "tails" in self.shared else np.float32

    def encode(self, x: Array) -> Codes:
        check_vectors(x, len(self.shared["mean"]))
        places, cuts, deep = self._places(), self.cuts(), self._deep_leaves()
        k = len(cuts)
        forward = self.shared["axes"] * self.shared["reach"].astype(self._precision())
        packed = np.empty((len(x), -(-len(places) // 8)), np.uint8)
        for start in range(0, len(x), BLOCK):
            centred = (x[start : start + BLOCK] - self.shared["mean"]).astype(forward.dtype, copy=False)
            y = np.ascontiguousarray((centred @ forward).T, np.float32)
            cells = np.empty((k + len(deep), y.shape[1]), np.uint8)
            for own, cell, component in zip(cuts, cells, y, strict=False):
                cell[:] = np.searchsorted(own, component, side="right")
            for cell, (j, bits, leaves) in zip(cells[k:], deep, strict=True):
                cell[:] = deep_cells.digits(leaves, cells[j], y[j], bits)
            unpacked = np.unpackbits(np.ascontiguousarray(cells.T), axis=1)
            packed[start : start + BLOCK] = np.packbits(unpacked[:, places], axis=1)
        return Codes({"bits": packed})

    def checked(self, codes: Codes) -> Array:
        packed = check_layout(codes, self.name, {"bits": (np.uint8, (-(-self.bits // 8),))})["bits"]
        check_padding(packed, self.bits, self.name)
        return packed

    def values(self, packed: Array) -> Array:
        places, depth, deep = self._places(), self._depths(), self._deep_leaves()
        means, k = self.shared["means"].astype(np.float32), len(depth)
        last = np.cumsum(2 ** (depth + 1) - 2) - 2**depth  # where the means of a component's leaves begin
        unpacked = np.zeros((len(packed), 8 * (k + len(deep))), np.uint8)
        unpacked[:, places] = np.unpackbits(packed, axis=1)[:, : self.bits]
        cells = np.packbits(unpacked, axis=1)
        y = means[cells[:, :k] + last]
        for digit, (j, bits, leaves) in zip(cells.T[k:], deep, strict=True):
            y[:, j] = deep_cells.middles(leaves, cells[:, j], digit, bits)
        return y

    def leaf_means(self) -> list[Array]:
        """The means of each component's cells, as its tree has them, from left to right, float32."""
        depth = self._depths()
        trees = np.split(self.shared["means"].astype(np.float32), np.cumsum(2 ** (depth + 1) - 2)[:-1])
        return [tree[-(2**bits) :] for tree, bits in zip(trees, depth, strict=True)]


def build(name: str, seed: int) -> SuccessiveRefinement:
    """`successive_refinement_<bits>`. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or int(found[1]) > 2**16:
        form = "successive_refinement_<bits>, 1 to 65,536"
        raise UserError(f"representations: successive_refinement has no codec {name!r}; its names are {form}")
    return SuccessiveRefinement(name, seed, budget=int(found[1]))
