"""Entropy coding as this house needs it: thin, deterministic wrappers of `constriction`'s range coder and ANS coder.

Both come within a fraction of a percent of the entropy of the model that they are given (Bamler, arXiv 2201.01741). The
range coder is a queue, so a decoder may build the model of a symbol from those before it; the ANS coder is a stack of
which a short message costs no more than its bits, rounded up to a byte: it serves one string a vector.

The coders work in words of 32 bits. Bytes are little-endian words here, so strings are the same on every machine.
"""

from collections.abc import Callable
from typing import Any

import constriction
import numpy as np

from pipeline.codec import Array

WORD = "<u4"
LOW_BITS = 12
model, queue, stack = constriction.stream.model, constriction.stream.queue, constriction.stream.stack


class Writer:
    """A message of symbols under models that may change from symbol to symbol."""

    def __init__(self) -> None:
        self._coder = queue.RangeEncoder()

    def gaussian(self, symbols: Array, limit: int, mean: Array, deviation: Array) -> None:
        """Whole numbers in [-limit, limit], each under a Gaussian of its own, cut into bins of width 1."""
        family = model.QuantizedGaussian(-limit, limit)
        self._coder.encode(symbols.astype(np.int32), family, mean.astype(np.float64), deviation.astype(np.float64))

    def categorical(self, symbols: Array, chances: Array) -> None:
        """Symbols 0.. under one fixed distribution."""
        self._coder.encode(symbols.astype(np.int32), model.Categorical(chances, perfect=False))

    def uniform(self, values: Array, sizes: Array) -> None:
        """values[i] in [0, sizes[i]), all alike; sizes below 2^36. A size of 1 costs nothing."""
        for part, size in _parts(sizes):
            shown = size > 1
            if shown.any():
                self._coder.encode(part(values)[shown].astype(np.int32), model.Uniform(), size[shown].astype(np.int32))

    def bytes(self) -> bytes:
        return self._coder.get_compressed().astype(WORD).tobytes()


class Reader:
    """Gives back what a Writer wrote, asked in the same order with the same models."""

    def __init__(self, message: bytes) -> None:
        self._coder = queue.RangeDecoder(np.frombuffer(message, WORD).astype(np.uint32))

    def gaussian(self, limit: int, mean: Array, deviation: Array) -> Array:
        """int64, one symbol for each mean and deviation."""
        family = model.QuantizedGaussian(-limit, limit)
        return self._coder.decode(family, mean.astype(np.float64), deviation.astype(np.float64)).astype(np.int64)

    def categorical(self, count: int, chances: Array) -> Array:
        return self._coder.decode(model.Categorical(chances, perfect=False), count).astype(np.int64)

    def uniform(self, sizes: Array) -> Array:
        values = np.zeros(len(sizes), np.int64)
        for factor, (_, size) in zip((1, 1 << LOW_BITS), _parts(sizes), strict=True):
            shown = size > 1
            if shown.any():
                part = self._coder.decode(model.Uniform(), size[shown].astype(np.int32))
                values[shown] += factor * part.astype(np.int64)
        return values


def _parts(sizes: Array) -> list[tuple[Callable[[Array], Array], Array]]:
    """Low and high part of a value, and how many of each there are: constriction's models hold 24 bits, so a large
    alphabet in one piece would be rounded coarsely."""
    low = np.minimum(sizes, 1 << LOW_BITS)
    high = -(-sizes // (1 << LOW_BITS))
    return [(lambda values: values & ((1 << LOW_BITS) - 1), low), (lambda values: values >> LOW_BITS, high)]


def stack_bytes(symbols: Array, bottom: int, family: Any, *parameters: Array) -> bytes:
    """One short message under a model (with parameters, one of each symbol): as many bytes as it has bits for.

    An empty stack costs its first symbol 24 bits, whatever its chance. So what is stacked first is `bottom`, a whole
    number of 1 to 2^32 - 1 that is to be stored anyway: if it is near 2^32, the rest costs what the model says.
    """
    coder = stack.AnsCoder(np.array([bottom], np.uint32))
    coder.encode_reverse(symbols, family, *parameters)
    return coder.get_compressed().astype(WORD).tobytes().rstrip(b"\0")  # the highest word's empty bytes come last


def stack_symbols(message: bytes, count: int, family: Any, *parameters: Array) -> tuple[Array, int]:
    """The symbols, int32 [count], and the bottom of `stack_bytes`. Raises ValueError if more or less was stored."""
    words = np.frombuffer(message + bytes(-len(message) % 4), WORD).astype(np.uint32)
    coder = stack.AnsCoder(words)
    symbols = coder.decode(family, *(parameters or (count,)))
    left = coder.get_compressed()
    if len(left) != 1:
        raise ValueError(f"{len(left)} words are left over")
    return symbols, int(left[0])


def categorical_model(counts: Array) -> tuple[Any, ...]:
    """A model of 0 .. c-1, and its parameters: from counts [1, c] one for all symbols, from [k, c] one for each."""
    chances = (counts / counts.sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    if len(counts) > 1:
        return model.Categorical(perfect=False), chances
    return (model.Categorical(chances[0], perfect=False),)
