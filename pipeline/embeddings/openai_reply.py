"""What a reply of /v1/embeddings holds, read without trust: {"data": [{"index": 0, "embedding": ...}, ...], ...}.

An embedding is a list of numbers, or base64 of little-endian float32. The order of the items is free; `index` counts.
"""

import base64
import binascii
import json
from typing import Any, NamedTuple

import numpy as np

from pipeline.embeddings.paid import Reply
from pipeline.store import Array


class ReplyError(Exception):
    """A reply that cannot be used. The message says why; `tokens` are those that the server counted nevertheless, None
    where it tells none."""

    def __init__(self, reason: str, tokens: int | None = None) -> None:
        super().__init__(reason)
        self.tokens = tokens


class Unusable(NamedTuple):
    """The position of an input whose vector has no direction, and what is wrong with it."""

    position: int
    what: str


def parse(content: bytes, inputs: int) -> Reply:
    """The vectors of `inputs` inputs, in their order. Values may be NaN or infinite: see `unusable`.

    Raises ReplyError for what is not JSON, an error in the place of embeddings (in the server's words), other lengths,
    indices that are not each input's once, vectors of several lengths, and values that are no numbers.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise ReplyError("the reply is not JSON") from None
    items = body.get("data") if isinstance(body, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        if isinstance(body, dict) and body.get("error"):
            raise ReplyError(f"the server says: {said(body['error'])}", _tokens(body))
        raise ReplyError("the reply holds no list of embeddings", _tokens(body) if isinstance(body, dict) else None)
    tokens = _tokens(body)
    try:
        vectors = _vectors(items, inputs)
    except ReplyError as error:
        raise ReplyError(str(error), tokens) from None
    return Reply(vectors, str(body.get("model") or ""), tokens)


def said(error: object) -> str:
    """The reason in what a server calls an error: its `message` or `detail`, where it has one, else all of it."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return str(error)


def usable(vectors: Array) -> Array:
    """Which of n vectors, float32 [n, d], have a direction: those without NaN and infinity, and not only zeros."""
    there: Array = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    return there


def unusable(vectors: Array) -> Unusable | None:
    """The first of n vectors, float32 [n, d], that is not `usable`, and why; None if all are."""
    there = usable(vectors)
    if there.all():
        return None
    first = int(np.argmin(there))
    return Unusable(first, "a zero vector" if np.isfinite(vectors[first]).all() else "NaN or infinity")


def _vectors(items: list[dict[str, Any]], inputs: int) -> Array:
    if len(items) != inputs:
        raise ReplyError(f"the reply holds {len(items)} vectors for {inputs} inputs")
    placed: list[Array | None] = [None] * inputs
    for item in items:
        index = item.get("index")
        if type(index) is not int or not 0 <= index < inputs or placed[index] is not None:
            raise ReplyError(f"the reply's indices are not those of {inputs} inputs, each once")
        placed[index] = _vector(item.get("embedding"))
    rows = [row for row in placed if row is not None]
    if len(lengths := {len(row) for row in rows}) > 1:
        raise ReplyError(f"the reply's vectors have between {min(lengths)} and {max(lengths)} values")
    return np.stack(rows)


def _vector(value: object) -> Array:
    if isinstance(value, str):
        try:
            vector: Array = np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32, copy=False)
        except (binascii.Error, ValueError):  # also where the bytes are not a multiple of four
            raise ReplyError("the reply's base64 holds no float32 values") from None
    elif isinstance(value, list):
        try:
            numbers = np.array(value)
        except (ValueError, OverflowError):
            numbers = np.array([""])
        if numbers.ndim != 1 or numbers.dtype.kind not in "fiu":
            raise ReplyError("the reply's embedding is not a list of numbers")
        with np.errstate(over="ignore"):  # beyond float32 is infinity, and named as such
            vector = numbers.astype(np.float32)
    else:
        raise ReplyError("the reply holds an item without an embedding")
    if not len(vector):
        raise ReplyError("the reply holds a vector without a value")
    return vector


def _tokens(body: dict[str, Any]) -> int | None:
    """The server's count, if it gives one that can be."""
    usage = body.get("usage")
    found = (usage.get("total_tokens") or usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    return found if type(found) is int and found >= 0 else None
