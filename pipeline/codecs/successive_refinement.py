"""Successive refinement: a binary code of which every prefix is a code. `successive_refinement_<bits>`.

    y_j = r_j a_j . (x - mean),    bit t halves the cell of component j(t),    x' = mean + sum_j m_j / r_j a+_j

The a_j are the principal axes of the fit rows (Karhunen-Loeve transform), r_j makes y_j of variance 1, and a+_j are the
rows of the pseudo-inverse. Each next bit goes to the component whose squared error it lowers most, by the errors of
Max's quantizers for a Gaussian (Huang & Schultheiss 1963): reverse water-filling in whole bits. It halves that
component's cell (`refinement_tree`), and m_j is the mean of the fit rows in the cell. So the first b bits of a code are
the code of b bits. A Gaussian is successively refinable (Equitz & Cover 1991); here the nesting costs a few percent of
error at most, and on word vectors nothing that recall shows.

The axes are shared as int8, with one scale each (`principal_axes`). Components without a bit are not shared. A
component has at most 8 bits; a budget beyond that ends there, with a warning.

Search: `asymmetric` and `funnel` (see `nested`).
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline import stage
from pipeline.codec import Array, Codec, Codes, check_vectors, dimensions
from pipeline.codecs import principal_axes, refinement_tree
from pipeline.codecs.layout import check_layout, check_padding
from pipeline.codecs.nested import Nested
from pipeline.stage import UserError

NAME = re.compile(r"successive_refinement_([1-9][0-9]*)")
MOST = 8  # bits a component
# Mean squared error of the best 2^b levels for a Gaussian of variance 1 (Max 1960, table I); from 6 bits on Panter and
# Dite's limit, pi sqrt(3) / 2 / 4^b.
GAUSSIAN_ERRORS = np.array(
    [1, 0.3634, 0.1175, 0.03454, 0.009497, 0.002499, *(np.pi * 3**0.5 / 2 / 4.0 ** np.arange(6, MOST + 1))]
)
BLOCK = 4096  # rows at a time: the bits of a block are unpacked to a byte each


def order_bits(variances: Array, count: int) -> Array:
    """The component that each bit goes to, int64 [at most count]: where the error falls most, MOST bits a component."""
    falls = variances[:, None] * -np.diff(GAUSSIAN_ERRORS)  # by the first bit, the second ...: smaller from bit to bit
    return np.argsort(-falls, axis=None, kind="stable")[:count] // MOST


def depths(order: Array) -> Array:
    """How many bits the same component has before each, int64."""
    found = np.empty(len(order), np.int64)
    for component in np.unique(order):
        own = order == component
        found[own] = np.arange(np.count_nonzero(own))
    return found


@dataclass
class SuccessiveRefinement(Nested):
    """ceil(bits / 8) bytes a vector.

    Shared: `mean` float32 [d]; `axes` int8 [d, k] and `reach` float32 [k], r of the axes as stored; `order` uint16
    [bits], the component that each bit goes to; `thresholds` and `means` float16, the trees of the components in turn.
    """

    array: ClassVar[str] = "bits"

    def fit(self, x: Array) -> Self:
        mean = check_vectors(x).mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = x - mean
        axes, variances = principal_axes.stored(centred)
        order = order_bits(variances, self.budget)
        if len(order) < self.budget:
            text = "%s: only %d of its %d bits: %s can have %d at most each"
            stage.log.warning(text, self.name, len(order), self.budget, dimensions(x.shape[1]), MOST)
        widths = np.bincount(order)
        axes = np.ascontiguousarray(axes[:, : len(widths)])
        y = centred.astype(np.float64) @ axes
        spread = np.sqrt(np.mean(y * y, axis=0))
        reach = np.divide(1, spread, out=np.zeros(len(spread)), where=spread > 0)
        trees = [refinement_tree.fit(one * r, bits) for one, r, bits in zip(y.T, reach, widths, strict=True)]
        self.shared = {
            **{"mean": mean, "axes": axes, "reach": reach.astype(np.float32), "order": order.astype(np.uint16)},
            "thresholds": np.concatenate([tree.thresholds for tree in trees]).astype(np.float16),
            "means": np.concatenate([tree.means for tree in trees]).astype(np.float16),
        }
        self._inverse = None
        return self

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
        now, before = np.bincount(order), self._widths()
        thresholds = np.split(self.shared["thresholds"], np.cumsum(2**before - 1)[:-1])
        means = np.split(self.shared["means"], np.cumsum(2 ** (before + 1) - 2)[:-1])
        shared = {
            **{"mean": self.shared["mean"], "axes": self.shared["axes"][:, : len(now)]},
            "reach": self.shared["reach"][: len(now)],
            "order": order,
            "thresholds": np.concatenate([one[: 2**b - 1] for one, b in zip(thresholds, now, strict=False)]),
            "means": np.concatenate([one[: 2 ** (b + 1) - 2] for one, b in zip(means, now, strict=False)]),
        }
        return SuccessiveRefinement(f"successive_refinement_{bits}", self.seed, shared, bits)

    def _widths(self) -> Array:
        """Bits of each component, int64 [k]. All that have an axis have one: they are used from the first on."""
        return np.bincount(self.shared["order"])

    def _places(self) -> Array:
        """Where each bit of the code stands among MOST bits a component, int64 [bits]: a cell's number is its path."""
        order = self.shared["order"].astype(np.int64)
        return order * MOST + MOST - self._widths()[order] + depths(order)

    def encode(self, x: Array) -> Codes:
        mean, places, widths = self.shared["mean"], self._places(), self._widths()
        forward = self.shared["axes"] * self.shared["reach"]
        trees = np.split(self.shared["thresholds"].astype(np.float32), np.cumsum(2**widths - 1)[:-1])
        cuts = [refinement_tree.rising(tree, bits) for tree, bits in zip(trees, widths, strict=True)]
        packed = np.empty((len(check_vectors(x, len(mean))), -(-len(places) // 8)), np.uint8)
        for start in range(0, len(x), BLOCK):
            y = np.ascontiguousarray(((x[start : start + BLOCK] - mean) @ forward).T)
            cells = np.empty(y.shape, np.uint8)
            for own, cell, component in zip(cuts, cells, y, strict=True):
                cell[:] = np.searchsorted(own, component, side="right")
            unpacked = np.unpackbits(np.ascontiguousarray(cells.T), axis=1)
            packed[start : start + BLOCK] = np.packbits(unpacked[:, places], axis=1)
        return Codes({"bits": packed})

    def checked(self, codes: Codes) -> Array:
        packed = check_layout(codes, self.name, {"bits": (np.uint8, (-(-self.bits // 8),))})["bits"]
        check_padding(packed, self.bits, self.name)
        return packed

    def decode(self, codes: Codes) -> Array:
        packed = self.checked(codes)
        places, widths, backward = self._places(), self._widths(), self.backward()
        means = self.shared["means"].astype(np.float32)
        leaves = np.cumsum(2 ** (widths + 1) - 2) - 2**widths  # where the means of a component's last depth begin
        decoded = np.empty((len(codes), backward.shape[1]), np.float32)
        for start in range(0, len(codes), BLOCK):
            some = packed[start : start + BLOCK]
            unpacked = np.zeros((len(some), MOST * len(widths)), np.uint8)
            unpacked[:, places] = np.unpackbits(some, axis=1)[:, : self.bits]
            decoded[start : start + BLOCK] = means[np.packbits(unpacked, axis=1) + leaves] @ backward
        return decoded + self.shared["mean"]


def build(name: str, seed: int) -> Codec:
    """`successive_refinement_<bits>`. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or int(found[1]) > 2**16:
        form = "successive_refinement_<bits>, 1 to 65,536"
        raise UserError(f"representations: successive_refinement has no codec {name!r}; its names are {form}")
    return SuccessiveRefinement(name, seed, budget=int(found[1]))
