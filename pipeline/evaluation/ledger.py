"""What a representation costs, to the byte: what each vector stores, what all share, and the ratio."""

from typing import NamedTuple

from pipeline.codec import Codec, Codes, shared_bytes

FLOAT32_BYTES = 4


class Cost(NamedTuple):
    """`bytes_per_vector` is the mean of what is stored; `compression_ratio` counts the shared bytes at this n."""

    bytes_per_vector: float
    shared_bytes: int
    compression_ratio: float


def cost(codec: Codec, codes: Codes, dims: int) -> Cost:
    """The cost of these codes. The ratio is float32 bytes of the table over codes and shared bytes together."""
    shared = shared_bytes(codec)
    return Cost(codes.nbytes / len(codes), shared, FLOAT32_BYTES * dims * len(codes) / (codes.nbytes + shared))
