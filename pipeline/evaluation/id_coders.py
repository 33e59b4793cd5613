"""Word numbers to bytes by the two coders that the context model is held against: order-0, and PPMd as the peer.

- `order_0`: an ideal static code, -log2 (count / total) bits a word, by a range coder. The counts are shared and
  counted: compressed with zstd, as the decoder is given them.
- `ppmd`: PPMd (D. Shkarin, "PPM: one step to practicality", 2002), as `pyppmd` has it. Its user chooses what the words
  are written as, so these are tried: text with a space between words, and numbers of two bytes (three for a larger
  table), high byte first, by falling count or in the order of the context model's tree. Then variants H and I, orders
  up to 16, and memory that is not used up. What its decoder needs to know of the words is counted as shared.

pyppmd 1.3.1 does not decode all that it encodes: on the default corpus variant I of order 16 is refused as corrupted
(from 131,072 words on), variant H of order 6 comes back altered. Such a setting is no code, so it is passed over.

Each returns what the decoder read from the bytes, so that a caller can check it.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyppmd
import zstandard

from pipeline.codec import Array
from pipeline.codecs.range_coder import Reader, Writer
from pipeline.evaluation.word_tree import Tree, numbers_to_bits, paths

HEADER = struct.Struct("<Q")  # how many words
PPMD_MEMORY = 1 << 28
PPMD_ORDERS = (4, 6, 8, 12, 16)
PPMD_VARIANTS = ("H", "I")


class Coded(NamedTuple):
    """`payload` and `shared`: bytes of the stream and of what its decoder needs; `ids`: what that decoder read."""

    payload: int
    shared: int
    ids: Array


class Spelling(NamedTuple):
    """How PPMd's input writes a word: `bytes_of` [words] strings, all of one length or each closed by a space;
    `shared`: the size of what tells them to the decoder."""

    name: str
    bytes_of: list[bytes]
    shared: int


class Setting(NamedTuple):
    spelling: Spelling
    variant: str
    order: int


def order_0(ids: Array, words: int) -> Coded:
    """`ids` int32 [n > 0] below `words`."""
    counts = np.bincount(ids, minlength=words)
    stored = zstandard.ZstdCompressor(level=19).compress(counts.astype(np.min_scalar_type(counts.max())).tobytes())
    present = np.flatnonzero(counts)
    if len(present) == 1:
        return Coded(HEADER.size, len(stored), np.full(len(ids), present[0], np.int32))
    chances = counts[present] / len(ids)
    writer = Writer()
    writer.categorical(np.searchsorted(present, ids), chances)
    data = writer.bytes()
    decoded = Reader(data).categorical(len(ids), chances)
    return Coded(HEADER.size + len(data), len(stored), present[decoded].astype(np.int32))


def spellings(names: Sequence[str], counts: Array, tree: Tree) -> list[Spelling]:
    """The ways to write words for PPMd. `names` [words] are the words as text."""
    text = [name.encode() + b" " for name in names]
    turns, depths = paths(tree)
    by_tree = np.array(sorted(range(len(names)), key=lambda word: turns[word, : depths[word]].tolist()))
    by_count = np.argsort(-counts, kind="stable")
    permutation = len(np.packbits(numbers_to_bits(by_count)))
    return [
        Spelling("text", text, sum(map(len, text))),
        Spelling("numbers by count", _numbered(by_count), permutation),
        Spelling("numbers by tree", _numbered(by_tree), permutation),
    ]


def _numbered(order: Array) -> list[bytes]:
    """Each word's place in `order` [words], in two bytes or three."""
    width = 2 if len(order) <= 1 << 16 else 3
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return [int(place).to_bytes(width, "big") for place in places]


class NotReversibleError(Exception):
    """The library does not give back what it was given."""


def settings(ids: Array, choices: Sequence[Spelling]) -> list[Setting]:
    """Settings by rising payload, all of the spelling that does best at variant I and order 6."""
    spelling = min(choices, key=lambda one: len(_compress(spelt(ids, one), Setting(one, "I", 6))))
    text = spelt(ids, spelling)
    found = [Setting(spelling, variant, order) for variant in PPMD_VARIANTS for order in PPMD_ORDERS]
    return sorted(found, key=lambda setting: len(_compress(text, setting)))


def spelt(ids: Array, spelling: Spelling) -> bytes:
    return b"".join([spelling.bytes_of[word] for word in ids.tolist()])


def _compress(text: bytes, setting: Setting) -> bytes:
    packed: bytes = pyppmd.compress(text, max_order=setting.order, mem_size=PPMD_MEMORY, variant=setting.variant)
    return packed


def ppmd(ids: Array, setting: Setting) -> Coded:
    """`ids` int32 [n > 0]. The length in bytes that its decoder asks for stands in the header.

    Raises NotReversibleError where the library does not decode its own stream.
    """
    text = spelt(ids, setting.spelling)
    data = _compress(text, setting)
    decoder = (pyppmd.Ppmd7Decoder if setting.variant == "H" else pyppmd.Ppmd8Decoder)(setting.order, PPMD_MEMORY)
    try:
        found = decoder.decode(data, len(text))
    except (ValueError, pyppmd.PpmdError) as error:
        raise NotReversibleError(str(error)) from None
    if found != text:
        raise NotReversibleError("the text came back altered")
    return Coded(HEADER.size + len(data), setting.spelling.shared, _read(found, setting.spelling))


def _read(text: bytes, spelling: Spelling) -> Array:
    """The words that `spelt` wrote."""
    numbers = {written: word for word, written in enumerate(spelling.bytes_of)}
    if spelling.name == "text":
        return np.array([numbers[part + b" "] for part in text.split(b" ")[:-1]], np.int32)
    width = len(spelling.bytes_of[0])
    return np.array([numbers[text[at : at + width]] for at in range(0, len(text), width)], np.int32)
