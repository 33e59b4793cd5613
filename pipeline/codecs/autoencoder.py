"""A trained autoencoder: k float32 values a vector, the continuous baseline of what training can do.

`autoencoder_<k>` encodes linearly and decodes with one hidden layer beside the linear part; before training it is
`pca_<k>` (pipeline/codecs/floats.py), which stores as many bytes. `fit` trains it (pipeline/training), with a tenth of
the rows held out to choose the best step. The hidden layer is d wide: up to k = 84 all that is shared is below
4 d (d + 256) bytes.

    z = E (x - mean) + e,   x' = mean + D z + c + O relu(H z + h)
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, NotApplicableError, StoredCodec, check_vectors, dimensions
from pipeline.layout import check_layout
from pipeline.stage import UserError


@dataclass
class Autoencoder(StoredCodec):
    """4 k bytes a vector. The weights are shared, float32, a column an output; `decoder_bias` holds mean + c."""

    kept: int = 0
    family: ClassVar[str] = "float"

    def fit(self, x: Array) -> Self:
        if check_vectors(x).shape[1] <= self.kept:
            raise NotApplicableError(f"{self.name} of {dimensions(x.shape[1])} leaves nothing out")
        from pipeline.training import autoencoder  # torch takes two seconds: only for those who fit

        found = autoencoder.fit(x, self.kept, self.seed)
        mean, scale = found["mean"], found["scale"]
        self.shared = {
            "mean": mean,
            "encoder_weight": found["encoder.weight"].T / scale,
            "encoder_bias": found["encoder.bias"],
            "decoder_weight": found["decoder.weight"].T * scale,
            "decoder_bias": found["decoder.bias"] * scale + mean,
            "decoder_hidden_weight": found["hidden.weight"].T,
            "decoder_hidden_bias": found["hidden.bias"],
            "decoder_output_weight": found["output.weight"].T * scale,
        }
        return self

    def encode(self, x: Array) -> Codes:
        mean = self.shared["mean"]
        z = (check_vectors(x, len(mean)) - mean) @ self.shared["encoder_weight"] + self.shared["encoder_bias"]
        return Codes({"values": z})

    def decode(self, codes: Codes) -> Array:
        z = check_layout(codes, self.name, {"values": (np.float32, (self.kept,))})["values"]
        hidden = np.maximum(z @ self.shared["decoder_hidden_weight"] + self.shared["decoder_hidden_bias"], 0)
        linear = z @ self.shared["decoder_weight"] + self.shared["decoder_bias"]
        return linear + hidden @ self.shared["decoder_output_weight"]


def build(name: str, seed: int) -> Codec:
    """`autoencoder_<k>`. Raises UserError for any other name."""
    if found := re.fullmatch(r"autoencoder_([1-9][0-9]*)", name):
        return Autoencoder(name, seed, kept=int(found[1]))
    raise UserError(f"representations: autoencoder has no codec {name!r}; it has autoencoder_<k>")
