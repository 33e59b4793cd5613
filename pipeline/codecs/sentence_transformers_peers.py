"""sentence-transformers' `quantize_embeddings`, searched as its documentation shows.

- `sentence-transformers:binary`: packed signs, searched by Hamming distance.
- `sentence-transformers:binary+rescore`: four times as many candidates by Hamming distance, scored again by the inner
  product of the float query with the stored bits. Nothing more is stored.
- `sentence-transformers:binary+int8_rescore`: the published recipe, candidates from the bits and scores from int8
  vectors kept beside them. Both are stored, so both are counted.
- `sentence-transformers:int8`: signed bytes, ranges from the fit rows, ranked by the inner product of the bytes.
- `sentence-transformers:int8+rescore`: four times as many candidates by that, scored again by float query times
  de-quantized rows.

The codes are the library's own. The ranking is exhaustive and the same as that of its `semantic_search_faiss` (bits)
and `semantic_search_usearch` (int8) with `exact=True`, as the tests show, but without their loop over candidates. Its
int8 inner product ignores the ranges' offsets, which is why rescoring helps it so much.

The 8-bit codes are decoded by the rule of the library's rescoring. It has no decoder for bits, so `binary` has no
decoded row. The rescoring forms of int8 store what the plain one stores, whose rows show their fidelity. No speed of
search stands in these rows: the search is ours, not the library's.
"""

import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Literal, Self

import numpy as np

from pipeline import bits, exhaustive
from pipeline.codec import Array, Codec, Codes, Search, StoredCodec, check_vectors
from pipeline.layout import Layout, check_layout, check_padding
from pipeline.stage import UserError

PREFIX = "sentence-transformers:"
KINDS = ("binary", "binary+rescore", "binary+int8_rescore", "int8", "int8+rescore")
Precision = Literal["ubinary", "int8"]
RESCORE_MULTIPLIER = 4  # the library's documentation recommends it


@cache
def _library() -> ModuleType:
    """The library's own `util/quantization.py`, run without the rest of the package.

    Importing `sentence_transformers` loads transformers and scikit-learn too, which takes longer than all quantizing in
    a run. The module itself needs only its neighbour `tensor.py`, so both are run under another package's name.
    """
    spec = find_spec("sentence_transformers")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("package 'sentence-transformers' is not installed; `make` installs it from envs/")
    alone = ModuleType("sentence_transformers_quantization")
    alone.__path__ = [str(Path(spec.submodule_search_locations[0]) / "util")]
    sys.modules[alone.__name__] = alone
    return import_module(f"{alone.__name__}.quantization")


def quantize(x: Array, precision: Precision, ranges: Array | None = None) -> Array:
    """What the library's `quantize_embeddings` gives."""
    return np.asarray(_library().quantize_embeddings(x, precision=precision, ranges=ranges))


@dataclass
class SentenceTransformersPeer(StoredCodec):
    """`ranges` float32 [2, d] (lowest and highest value a dimension) is shared by the 8-bit kinds."""

    family: ClassVar[str] = "peer"
    search_is_ours: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        return self.name.removeprefix(PREFIX)

    @property
    def decodes(self) -> bool:  # type: ignore[override]  # a class variable elsewhere: here it hangs on the name
        return self.kind == "int8"

    @property
    def learns(self) -> bool:  # type: ignore[override]
        return "int8" in self.kind

    @property
    def searches(self) -> tuple[str, ...]:
        return ("hamming",) if self.kind == "binary" else ("native",)

    @property
    def compares(self) -> tuple[str, ...]:
        return ("hamming",) if self.kind == "binary" else ()

    def fit(self, x: Array) -> Self:
        check_vectors(x)
        self.shared = {"dims": np.array([x.shape[1]], np.int32)}
        if "int8" in self.kind:
            self.shared["ranges"] = np.vstack([x.min(axis=0), x.max(axis=0)])
        return self

    def encode(self, x: Array) -> Codes:
        check_vectors(x, int(self.shared["dims"][0]))
        arrays = {}
        if "binary" in self.kind:
            arrays["bits"] = quantize(x, "ubinary")
        if "int8" in self.kind:
            arrays["bytes"] = quantize(x, "int8", self.shared["ranges"])
        return Codes(arrays)

    def _checked(self, codes: Codes) -> Codes:
        """The codes themselves, if they can be this codec's."""
        dims = int(self.shared["dims"][0])
        parts: Layout = {"bits": (np.uint8, (-(-dims // 8),)), "bytes": (np.int8, (dims,))}
        own = [name for name, what in (("bits", "binary"), ("bytes", "int8")) if what in self.kind]
        check_layout(codes, self.name, {name: parts[name] for name in own})
        if "bits" in own:
            check_padding(codes["bits"], dims, self.name)
        return codes

    def decode(self, codes: Codes) -> Array:
        dims = int(self.shared["dims"][0])
        self._checked(codes)
        if "bytes" in codes.arrays:
            low, high = self.shared["ranges"]
            steps = np.where(high > low, (high - low) / np.float32(255), 1)  # 1: its rule for a constant dimension
            return (codes["bytes"].astype(np.float32) + 128) * steps + low
        return bits.signs(codes["bits"], dims) / np.float32(np.sqrt(dims))

    def searcher(self, rule: str, codes: Codes) -> Search:
        """Candidates by the codes alone; rescoring ranks them by float query times decoded candidate."""
        self._checked(codes)
        if "binary" in self.kind:
            by_bits = exhaustive.hamming(codes["bits"])

            def first(queries: Array, k: int) -> Array:
                return by_bits(quantize(queries, "ubinary"), k)
        else:
            by_bytes = exhaustive.inner_product(codes["bytes"].astype(np.float32))

            def first(queries: Array, k: int) -> Array:
                return by_bytes(quantize(queries, "int8", self.shared["ranges"]).astype(np.float32), k)

        if "rescore" not in self.kind:
            return first

        def rescored(queries: Array, k: int) -> Array:
            candidates = first(queries, min(k * RESCORE_MULTIPLIER, len(codes)))
            rows = np.stack([self.decode(codes.take(found)) for found in candidates])
            scores = np.einsum("qd,qcd->qc", queries, rows)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            found = np.full((len(queries), k), -1, np.int64)  # a small base has fewer than k
            found[:, : best.shape[1]] = np.take_along_axis(candidates, best, axis=1)
            return found

        return rescored

    def similarity(self, rule: str, a: Codes, b: Codes) -> Array:
        return bits.hamming_similarity(self._checked(a)["bits"], self._checked(b)["bits"], int(self.shared["dims"][0]))


def build(name: str, seed: int) -> Codec:
    """`sentence-transformers:` and one of KINDS. Raises UserError for any other name."""
    if name.removeprefix(PREFIX) not in KINDS or not name.startswith(PREFIX):
        known = ", ".join(PREFIX + kind for kind in KINDS)
        raise UserError(f"representations: {name!r} is not one of {known}")
    return SentenceTransformersPeer(name, seed)
