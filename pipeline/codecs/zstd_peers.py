"""The general compressor that a lossless code is held against: zstd -19 of the float32 bytes, plain and byte-shuffled.

`zstd` gets the table's bytes, little-endian, row after row; `zstd_shuffled` gets the first byte of all values, then
the second of all, and so on (HDF5's and Blosc's shuffle filter): exponents lie beside exponents. The whole table is one
frame, so zstd is not held back by short strings, and no vector can be read by itself.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import zstandard

from pipeline.codec import Array, Codec, Codes, StoredCodec, Strings, check_vectors
from pipeline.layout import check_strings
from pipeline.stage import UserError

LEVEL = 19


def compress(x: Array, shuffled: bool) -> bytes:
    """float32 of any bits -> one zstd frame with its checksum."""
    data = np.ascontiguousarray(x, "<f4").view(np.uint8).reshape(-1, 4)
    payload = (data.T if shuffled else data).tobytes()
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(payload)


def decompress(frame: bytes, shape: tuple[int, int], shuffled: bool) -> Array:
    """float32 of this shape, the bits that `compress` was given. Raises UserError for anything else."""
    expected = 4 * shape[0] * shape[1]
    try:
        size = zstandard.get_frame_parameters(frame).content_size  # before that much memory is taken
        if size == expected:
            values = np.frombuffer(zstandard.ZstdDecompressor().decompress(frame), np.uint8)
    except zstandard.ZstdError as error:
        raise UserError(f"zstd: the codes are damaged ({error})") from None
    if size != expected:
        raise UserError(
            f"zstd: codes of another dimension: {size} bytes are no table of {shape[0]} x {shape[1]} float32"
        )
    values = values.reshape(4, -1).T if shuffled else values
    return np.ascontiguousarray(values).reshape(-1).view("<f4").astype(np.float32).reshape(shape)


@dataclass
class Zstd(StoredCodec):
    """One string for the whole table; `dims` is shared."""

    shuffled: bool = False
    family: ClassVar[str] = "peer"
    lossless: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    def fit(self, x: Array) -> Self:
        self.shared = {"dims": np.array([check_vectors(x).shape[1]], np.int32)}
        return self

    def encode(self, x: Array) -> Codes:
        check_vectors(x, int(self.shared["dims"][0]))
        return Codes({"frame": Strings.of([compress(x, self.shuffled)], len(x), len(x))})

    def decode(self, codes: Codes) -> Array:
        strings = check_strings(codes, self.name, "frame").strings()
        if len(strings) != 1:
            raise UserError(
                f"{self.name}: codes of another codec: {len(strings)} frames; expected is one for the table"
            )
        return decompress(strings[0], (len(codes), int(self.shared["dims"][0])), self.shuffled)


def build(name: str, seed: int) -> Codec:
    """`zstd` or `zstd_shuffled`. Raises UserError for any other name."""
    if name in ("zstd", "zstd_shuffled"):
        return Zstd(name, seed, shuffled=name == "zstd_shuffled")
    raise UserError(f"representations: zstd_peers has no codec {name!r}; it has zstd and zstd_shuffled")
