"""faiss's own quantizers, as faiss's users build them: `faiss:<factory string>`, trained on the fit rows with L2.

A setting cheaper (or dearer) than faiss's default stands in the name: `faiss:OPQ16_64,PQ16x8np@opq_niter=4,pq_niter=8`.
The `np` forms leave out polysemous training, which takes minutes and serves only a search that nobody here makes.

What the table holds of a peer follows from what faiss can do with it:
- `native` search: faiss's own distance between a float query and the codes; `hamming` for binary codes (LSH);
- a decoder where faiss has one. It has none for ITQ, and of RaBitQ it decodes the sign bits alone, whatever the number
  of bits, so RaBitQ has no decoded rows here: it would be blamed for what it never claimed.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import faiss
import numpy as np

from pipeline import bits, exhaustive
from pipeline.codec import Array, Codec, Codes, NotApplicableError, Search, StoredCodec, check_vectors, dimensions
from pipeline.layout import check_layout, check_padding
from pipeline.stage import UserError

PREFIX = "faiss:"
WHOLE_NUMBERS = (faiss.ScalarQuantizer.QT_8bit_direct, faiss.ScalarQuantizer.QT_8bit_direct_signed)
SETTINGS = ("opq_niter", "opq_niter_pq", "opq_niter_pq_0", "pq_niter")


def parse(name: str) -> tuple[str, dict[str, int]]:
    """`faiss:<factory>[@setting=int,...]` -> factory string and settings. Raises UserError."""
    factory, _, tail = name.removeprefix(PREFIX).partition("@")
    settings = {}
    for item in tail.split(",") if "@" in name else ():
        found = re.fullmatch(r"([a-z_0-9]+)=([1-9][0-9]*)", item)
        if not found or found[1] not in SETTINGS:
            raise UserError(f"representations: {name!r}: {item!r} is not one of {', '.join(SETTINGS)} = whole number")
        if found[1] in settings:
            raise UserError(f"representations: {name!r} sets {found[1]} twice")
        if not re.search(rf"\b{found[1].partition('_')[0].upper()}[0-9]", factory):
            raise UserError(f"representations: {name!r}: there is no {found[1]} to set in {factory!r}")
        settings[found[1]] = int(found[2])
    return factory, settings


def make_index(factory: str, dims: int) -> Any:
    """An untrained index. Raises NotApplicableError where `dims` forbid it, UserError where faiss never could."""
    try:
        index = faiss.index_factory(dims, factory, faiss.METRIC_L2)
    except RuntimeError as error:
        if "could not parse" in str(error):
            raise UserError(f"representations: faiss cannot parse the factory string {factory!r}") from None
        raise NotApplicableError(f"faiss:{factory} of {dimensions(dims)}: {_reason(error)}") from None
    if not isinstance(innermost(index), faiss.IndexFlatCodes):
        raise UserError(f"representations: faiss:{factory} is no flat code of one size ({type(index).__name__})")
    return index


def _reason(error: RuntimeError) -> str:
    """What faiss says is wrong, without the place in its source."""
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2]


def innermost(index: Any) -> Any:
    """The index behind all vector transforms: the one that holds the codes."""
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def transforms(index: Any) -> list[Any]:
    """The vector transforms in front of the codes, outermost first."""
    if not isinstance(index, faiss.IndexPreTransform):
        return []
    chain: Any = index.chain  # a C++ vector, whatever the stubs say
    return [faiss.downcast_VectorTransform(chain.at(i)) for i in range(chain.size())]


def apply_settings(index: Any, settings: dict[str, int], seed: int) -> None:
    """Set training iterations where the index has them, and the seed of its k-means."""
    for transform in transforms(index):
        if isinstance(transform, faiss.OPQMatrix):
            transform.niter = settings.get("opq_niter", transform.niter)
            transform.niter_pq = settings.get("opq_niter_pq", transform.niter_pq)
            transform.niter_pq_0 = settings.get("opq_niter_pq_0", transform.niter_pq_0)
    quantizer = innermost(index)
    if isinstance(quantizer, faiss.IndexPQ):
        quantizer.pq.cp.niter = settings.get("pq_niter", quantizer.pq.cp.niter)
        quantizer.pq.cp.seed += seed


@contextmanager
def without_warnings(index: Any) -> Iterator[None]:
    """Train without a line a subquantizer and iteration that 256 centroids want 9,984 vectors. Nothing else changes."""
    rotations = [transform for transform in transforms(index) if isinstance(transform, faiss.OPQMatrix)]
    own = [faiss.ProductQuantizer(rotation.d_out, rotation.M, 8) for rotation in rotations]  # faiss would make the same
    quantizers = [innermost(index).pq] if isinstance(innermost(index), faiss.IndexPQ) else []
    for quantizer in (*own, *quantizers):
        quantizer.cp.min_points_per_centroid = 1
    for rotation, quantizer in zip(rotations, own, strict=True):
        rotation.pq = quantizer
    try:
        yield
    finally:
        for rotation in rotations:
            rotation.pq = None


@dataclass
class FaissPeer(StoredCodec):
    """A faiss index without vectors is what is shared (serialized, its size counted); its codes are the codes."""

    family: ClassVar[str] = "faiss"
    _index: Any = None

    @property
    def factory(self) -> str:
        return parse(self.name)[0]

    @property
    def decodes(self) -> bool:  # type: ignore[override]  # a class variable elsewhere: here it hangs on the name
        return not re.search(r"RaBitQ|ITQ|LSH", self.factory)

    @property
    def _binary(self) -> bool:
        return re.search(r"LSH[0-9]*r?t?$", self.factory) is not None

    @property
    def searches(self) -> tuple[str, ...]:
        return ("hamming",) if self._binary else ("native",)

    @property
    def compares(self) -> tuple[str, ...]:
        return ("hamming",) if self._binary else ()

    @property
    def index(self) -> Any:
        """The trained index, holding no vectors."""
        if self._index is None:
            self._index = faiss.deserialize_index(self.shared["index"])
        return self._index

    @property
    def native_is_euclidean(self) -> bool:
        """Whether its distance is the Euclidean distance to the decoded row, so that both rank alike.

        Not where bytes are the values themselves: on some processors, at some d, queries are cut to whole numbers too.
        """
        index = self.index
        return isinstance(index, faiss.IndexScalarQuantizer) and index.sq.qtype not in WHOLE_NUMBERS

    def fit(self, x: Array) -> Self:
        factory, settings = parse(self.name)
        index = make_index(factory, check_vectors(x).shape[1])
        apply_settings(index, settings, self.seed)
        try:
            with without_warnings(index):
                index.train(x)
        except RuntimeError as error:
            raise NotApplicableError(
                f"{self.name} cannot be trained on {len(x)} vectors of {dimensions(x.shape[1])}: {_reason(error)}"
            ) from None
        self.shared = {"index": faiss.serialize_index(index)}
        self._index = None
        return self

    def encode(self, x: Array) -> Codes:
        return Codes({"codes": self.index.sa_encode(check_vectors(x, self.index.d))})

    def _packed(self, codes: Codes) -> Array:
        """The codes' bytes, uint8 [n, size]: faiss itself reads whatever stands in memory there."""
        packed = check_layout(codes, self.name, {"codes": (np.uint8, (self.index.sa_code_size(),))})["codes"]
        if self._binary:
            check_padding(packed, innermost(self.index).nbits, self.name, highest_first=False)
        return np.ascontiguousarray(packed)

    def decode(self, codes: Codes) -> Array:
        return self.index.sa_decode(self._packed(codes))

    def searcher(self, rule: str, codes: Codes) -> Search:
        packed = self._packed(codes)
        if rule == "hamming":
            by_bits = exhaustive.hamming(packed)
            return lambda queries, k: by_bits(self.encode(queries)["codes"], k)
        index = faiss.deserialize_index(self.shared["index"])
        holder = innermost(index)
        holder.add_sa_codes(packed)
        index.ntotal = holder.ntotal
        return lambda queries, k: index.search(np.ascontiguousarray(queries), k)[1]

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        return bits.hamming_similarity(self._packed(a), self._packed(b), innermost(self.index).nbits)


def build(name: str, seed: int) -> Codec:
    """`faiss:` and a factory string. Raises UserError for a name without the prefix, a factory string that faiss
    cannot parse or that makes no flat codes, and a setting that there is not."""
    if not name.startswith(PREFIX):
        raise UserError(f"representations: a faiss peer is named {PREFIX}<factory string>, not {name!r}")
    factory = parse(name)[0]
    if re.search(r"PQ[0-9]+x0", factory):
        raise UserError(f"representations: {name!r}: codes of 0 bits")
    if re.search(r"(?<![0-9])0[0-9]", factory) or not factory.isascii():  # one code would have two names
        raise UserError(f"representations: {name!r}: a number is written 64, not 064, and with the digits 0 to 9")
    # faiss draws LSH's rotation as it makes the index: of 4,096 bits, ten seconds that nobody would use.
    unturned = re.sub(r"\bLSH([0-9]+)r", r"LSH\1", factory)
    with suppress(NotApplicableError):  # whether it fits the table's dimensions is seen when the table is there
        make_index(unturned, 64)
    return FaissPeer(name, seed)
