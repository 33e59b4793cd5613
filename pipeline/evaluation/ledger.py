"""What a representation costs, to the byte: what each vector stores, what all share, and the ratio.

The parts of the cost, which add up to the whole:

- payload: what is stored for each vector and is needed whenever the vector is;
- rerank: what is stored for each vector and only scores candidates again;
- codebook: what all vectors share, but for
- decoder: the weights of a decoder.

A codec may say which of its shared arrays are which (`Itemised`). Where it does not, names that begin with `weight`,
`bias` or `decoder` are the decoder's (behind the last dot, where a code carries another's arrays). Arrays of codes
whose names begin with `rerank` are for scoring again; and so are `bytes` beside `bits`, which is how
sentence-transformers keeps int8 vectors beside binary ones.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from pipeline.codec import Codec, Codes, shared_bytes
from pipeline.stage import UserError

FLOAT32_BYTES = 4
CODEBOOK, DECODER = "codebook", "decoder"
DECODER_NAMES = ("weight", "bias", "decoder")  # how its arrays' names begin


@runtime_checkable
class Itemised(Protocol):
    """A codec that says of its shared arrays, by name, which are `codebook` and which `decoder`; others go by name."""

    @property
    def ledger(self) -> Mapping[str, str]: ...


class Cost(NamedTuple):
    """`bytes_per_vector` is the mean of what is stored; `compression_ratio` counts the shared bytes at this n."""

    bytes_per_vector: float
    shared_bytes: int
    compression_ratio: float


def cost(codec: Codec, codes: Codes, dims: int) -> Cost:
    """The cost of these codes. The ratio is float32 bytes of the table over codes and shared bytes together."""
    shared = shared_bytes(codec)
    return Cost(codes.nbytes / len(codes), shared, FLOAT32_BYTES * dims * len(codes) / (codes.nbytes + shared))


class Shares(NamedTuple):
    """Shared bytes: `codebook + decoder` is the codec's `shared_bytes`."""

    codebook: int
    decoder: int


def shares(codec: Codec) -> Shares:
    """What of a codec's shared bytes is codebook and what decoder. Raises UserError for any other kind."""
    stated = codec.ledger if isinstance(codec, Itemised) else {}
    found = {CODEBOOK: 0, DECODER: 0}
    for name, array in codec.shared.items():
        kind = stated.get(name) or (DECODER if name.rpartition(".")[2].startswith(DECODER_NAMES) else CODEBOOK)
        if kind not in found:
            raise UserError(f"{codec.name}: its ledger calls {name!r} {kind!r}, which is neither codebook nor decoder")
        found[kind] += array.nbytes
    return Shares(found[CODEBOOK], found[DECODER])


def rerank_names(names: Iterable[str]) -> set[str]:
    """Which arrays of codes only score candidates again."""
    names = set(names)
    return {name for name in names if name.startswith("rerank") or (name == "bytes" and "bits" in names)}


def rerank_bytes(codes: Codes) -> int:
    """Bytes of the codes that only score candidates again; the others are the payload."""
    return sum(codes[name].nbytes for name in rerank_names(codes.arrays))


def all_in_ratio(dims: int, vectors: float, bytes_per_vector: float, shared: float) -> float:
    """float32 bytes of so many vectors over codes and shared bytes together."""
    return FLOAT32_BYTES * dims * vectors / (vectors * bytes_per_vector + shared)
