"""Matryoshka: a trained binary code of which every prefix is searched and decoded.

    matryoshka_<bits>[_planes | _signs][_float | _ternary]

`matryoshka_<bits>` begins as `successive_refinement`: bits have fixed places. `_planes` begins as `bit_planes`, whose
bits are entropy-coded: they keep most. `_signs` begins as `iterative_quantization`, a bit each for at most d axes, all
of the same weight: for machines that count differing bits. Then a decoder that serves all prefixes is trained beside
the closed form's, and with it the encoder, but for that of `_planes` (`nested_training`; the loss is in
`pipeline/training/matryoshka.py`):

    x' = mean + P v + r(v, bits),    P v the closed form, r a network (`residual_network`)

One training serves all sizes of a table and a seed; of `_signs` each size has a rotation and a training of its own. The
network is shared as int8; with `_float` as float32; with `_ternary` as trits, which it was trained with.

In the order of bits a variance stands for its power 1 + `emphasis`: what small components say of a row says little of
whose neighbour it is.

Search: `asymmetric` and `funnel` (see `nested`); `hamming`, the stored bits of query and row against each other, where
they have fixed places.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pipeline import bits as packed_bits
from pipeline import exhaustive, stage
from pipeline.codec import Array, Codec, Codes, Search, check_vectors
from pipeline.codecs import iterative_quantization, principal_axes, residual_network
from pipeline.codecs.bit_planes import BitPlanes
from pipeline.codecs.nested import Nested
from pipeline.codecs.successive_refinement import MOST, SuccessiveRefinement
from pipeline.stage import UserError

if TYPE_CHECKING:
    from pipeline.codecs.nested_training import Learned

NAME = re.compile(r"matryoshka_([1-9][0-9]*)(_planes|_signs)?(?:_(float|ternary))?")
NETWORK = "network_"


@dataclass
class Trained(Nested):
    """A nested code whose decoder has a network beside it: `network_*` (see `residual_network`), where it has one."""

    form: str = residual_network.INT8
    _network: residual_network.Network | None = None
    _lengths: Array | None = None

    def fit(self, x: Array) -> Self:
        """Train on rows float32 [n, d], as shipped."""
        self.shared = fit_together([self.name], self.seed, x, {})[self.name].shared
        self._inverse = self._network = self._lengths = None
        return self

    @property
    def ledger(self) -> dict[str, str]:
        return {**super().ledger, **dict.fromkeys(self.network_arrays(), "decoder")}

    def rows(self, values: Array) -> Array:
        closed = super().rows(values)
        if f"{NETWORK}sizes" not in self.shared:
            return closed
        if self._network is None or self._lengths is None:
            self._network = residual_network.restored(self.shared, values.shape[1])
            self._lengths = np.linalg.norm(self.backward(), axis=1)
        if not residual_network.serves(self._network, self.bits):
            return closed
        return closed + residual_network.residual(self._network, values * self._lengths, self.bits)

    def prefix(self, bits: int) -> Self:
        code = super().prefix(bits)  # type: ignore[safe-super]  # that of the closed form, which stands behind this class
        found = build(re.sub(r"_\d+", f"_{bits}", self.name, count=1), self.seed)
        assert isinstance(found, type(self))
        found.shared = code.shared | residual_network.cut(self.network_arrays(), len(code.shared["reach"]))
        return found

    def network_arrays(self) -> dict[str, Array]:
        """What is shared of the network; nothing, where the code has none."""
        return {name: array for name, array in self.shared.items() if name.startswith(NETWORK)}


@dataclass
class Matryoshka(Trained, SuccessiveRefinement):
    """ceil(bits / 8) bytes a vector, each bit in its place."""

    compares: ClassVar[tuple[str, ...]] = ("hamming",)

    @property
    def searches(self) -> tuple[str, ...]:
        return (*super().searches, "hamming")

    def searcher(self, rule: str, codes: Codes) -> Search:
        if rule != "hamming":
            return super().searcher(rule, codes)
        by_bits = exhaustive.hamming(self.checked(codes))
        return lambda queries, k: by_bits(self.encode(queries)["bits"], k)

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        return packed_bits.hamming_similarity(self.checked(a), self.checked(b), self.bits)


class MatryoshkaSigns(Matryoshka):
    """The same, a bit an axis."""


@dataclass
class MatryoshkaPlanes(Trained, BitPlanes):
    """At most budget / 8 bytes a vector, entropy-coded."""


class _Signs(SuccessiveRefinement):
    """The closed form that training begins with: signs along rotated principal axes, those of most variance first."""

    def fit(self, x: Array) -> Self:
        mean = check_vectors(x).mean(axis=0, dtype=np.float64).astype(np.float32)
        axes, variances = principal_axes.of(x - mean)
        axes = axes[:, : min(self.budget, np.count_nonzero(variances))]
        y = (x - mean).astype(np.float64) @ axes
        turned = axes @ iterative_quantization.rotation(y, self.seed)
        largest = np.argsort(-np.square((x - mean) @ turned).sum(axis=0), kind="stable")
        self._cells(mean, turned[:, largest], np.arange(len(largest)), x)
        return self


class _Planes(BitPlanes):
    """The closed form that training begins with: longer than what was asked for, so being shorter is no news."""

    def _say_shorter(self, size: int) -> None:
        pass


def fit_together(names: Sequence[str], seed: int, x: Array, options: Mapping[str, Any]) -> dict[str, Codec]:
    """Codecs by name, fitted on rows x float32 [n, d]; one training for all sizes that can share it.

    `options`: training.matryoshka of the config (`nested_training.Plan`). Raises UserError for unusable ones.
    """
    from pipeline.codecs import nested_training  # torch takes two seconds: only for those who fit

    plan = nested_training.plan_of(options)
    check_vectors(x)
    built = [build(name, seed) for name in names]
    longest = 2 * max(plan.sizes)  # a network serves codes shorter than that, whichever sizes are asked for
    for kind, closed, form in KINDS:
        own = [codec for codec in built if type(codec) is kind]
        if kind is MatryoshkaSigns:  # rotated among as many axes as it has bits: a training each
            groups = {codec.budget: [one for one in own if one.budget == codec.budget] for codec in own}
        else:
            most = MOST * x.shape[1] if kind is Matryoshka else 2**16
            groups = {min(most, max(longest, *(codec.budget for codec in own))): own} if own else {}
        for budget, some in groups.items():
            whole = closed(f"{form}_{budget}", seed, budget=budget, emphasis=plan.emphasis).fit(x)
            for ternary in (False, True):
                if wanted := [codec for codec in some if (codec.form == residual_network.TERNARY) == ternary]:
                    trained = nested_training.network(whole, x, plan, ternary)
                    for codec in wanted:
                        _share(codec, whole, trained)
    return {codec.name: codec for codec in built}


KINDS: tuple[tuple[type[Trained], type[SuccessiveRefinement] | type[BitPlanes], str], ...] = (
    (Matryoshka, SuccessiveRefinement, "successive_refinement"),
    (MatryoshkaSigns, _Signs, "signs"),
    (MatryoshkaPlanes, _Planes, "bit_planes"),
)


def _share(codec: Trained, whole: SuccessiveRefinement | BitPlanes, learned: "Learned | None") -> None:
    """Give a codec what it needs of the whole code and of its training."""
    bits = min(codec.budget, whole.bits)
    if bits < codec.budget:
        stage.log.warning("%s: the vectors hold %d bits at most, not %d", codec.name, bits, codec.budget)
    codec.shared = dict(whole.prefix(bits).shared)
    if learned is None:
        return
    if learned.forward is not None:
        own = slice(0, min(learned.forward.shape[1], len(codec.shared["reach"])))
        forward = learned.forward[:, own]
        axes, reach = codec.shared["axes"].copy(), codec.shared["reach"].copy()
        axes[:, own] = principal_axes.rounded(forward)
        reach[own] = np.abs(forward).max(axis=0) / principal_axes.LEVELS
        codec.shared |= {"axes": axes, "reach": reach}
    stored = residual_network.stored(learned.network, codec.form)
    codec.shared |= residual_network.cut(stored, len(codec.shared["reach"]))


def build(name: str, seed: int) -> Trained:
    """`matryoshka_<bits>[_planes | _signs][_float | _ternary]`. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or int(found[1]) > 2**16 or (found[2] == "_planes" and int(found[1]) % 8):
        form = "matryoshka_<bits>[_planes | _signs][_float | _ternary], up to 65,536 bits, of _planes a multiple of 8"
        raise UserError(f"representations: matryoshka has no codec {name!r}; its names are {form}")
    kind = {None: Matryoshka, "_signs": MatryoshkaSigns, "_planes": MatryoshkaPlanes}[found[2]]
    return kind(name, seed, budget=int(found[1]), form=found[3] or residual_network.INT8)
