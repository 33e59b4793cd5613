"""What a codec does with codes that are not its own: decoded or ranked, or refused in one line that names the codec."""

import numpy as np
import pytest

from pipeline.codec import Codes, Strings, build
from pipeline.stage import UserError
from tests.test_codec import CODECS

# those of sentence-transformers are in their own test: importing the library takes seconds
DIMS = (12, 13, 24)  # 13: other widths everywhere; 12 and 13 fill the same number of bytes


def rows(dims):
    return np.random.default_rng(0).standard_normal((60, dims)).astype(np.float32)


@pytest.fixture(scope="module")
def codecs():
    """(name, dims) -> the fitted codec and its codes; not those that a number of dimensions does not allow."""
    found = {}
    for module, name in CODECS:
        for dims in DIMS:
            if dims % 4 and "PQ4" in name:
                continue
            codec = build(module, name, 0).fit(rows(dims))
            found[name, dims] = codec, codec.encode(rows(dims))
    return found


def layout(codes):
    return {
        key: "strings" if isinstance(array, Strings) else (array.dtype.str, array.shape[1:])
        for key, array in codes.arrays.items()
    }


def uses(codec):
    """What reads codes: the decoder and every search rule."""
    if codec.decodes:
        yield codec.decode
    for rule in getattr(codec, "searches", ()):
        yield lambda codes, rule=rule: codec.searcher(rule, codes)(rows(DIMS[0]), 3)


def refusal(use, codes):
    try:
        use(codes)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", [name for _, name in CODECS])
def test_codes_of_another_layout_are_refused(name, codecs):
    codec, own = codecs[name, DIMS[0]]
    refused = 0
    for (other, dims), (_, codes) in codecs.items():
        for use in uses(codec):
            expected, found = layout(own), layout(codes)
            if name in ("float32", "float16"):  # they share nothing, so no width
                expected, found = ({key: one[0] for key, one in kind.items()} for kind in (expected, found))
            if expected == found and "strings" not in found.values():
                continue
            if (other, dims) == (name, DIMS[0]):
                continue
            line = refusal(use, codes)
            refused += line is not None
            if line is None:  # a string may end where it should and still be another codec's
                assert expected == found, f"{name} takes codes of {other}, {dims} dimensions"
                assert name in ("ternary_entropy", "zstd", "zstd_shuffled")
            else:
                assert line.startswith((f"{name}:", "zstd:"))
                assert "\n" not in line
    assert refused


@pytest.mark.parametrize("name", ["lossless", "zstd", "zstd_shuffled"])
def test_exact_codes_of_other_dimensions_are_refused(name, codecs):
    codec, _ = codecs[name, DIMS[0]]
    for dims in DIMS[1:]:
        with pytest.raises(UserError, match=r"damaged|another dimension"):
            codec.decode(codecs[name, dims][1])


@pytest.mark.parametrize("name", [name for _, name in CODECS])
def test_codes_cut_short_are_refused(name, codecs):
    codec, own = codecs[name, DIMS[0]]
    if name in ("float32", "float16", "ternary_entropy"):
        return  # rows of fewer values are rows of another width, and a shorter string of trits is another number
    for key, array in own.arrays.items():
        if isinstance(array, Strings):
            cut = Strings.of([one[:-1] for one in array.strings()], array.count, array.group)
        else:
            cut = array[:, :-1] if array.ndim > 1 else array[:, None]
        for use in uses(codec):
            with pytest.raises(UserError):
                use(Codes({**own.arrays, key: cut}))


def test_frames_and_strings_that_are_none_are_refused(codecs):
    for name in ("zstd", "zstd_shuffled"):
        codec, own = codecs[name, DIMS[0]]
        with pytest.raises(UserError, match=f"{name}: codes of another codec: 60 frames"):
            codec.decode(Codes({"frame": Strings.of([b"a"] * 60)}))
        huge = bytearray(own["frame"].strings()[0])
        huge[4:6] = b"\xe0\xff"  # a descriptor of eight bytes for the size: far more than there is memory
        with pytest.raises(UserError, match="zstd: "):
            codec.decode(Codes({"frame": Strings.of([bytes(huge)], 60, 60)}))


def test_padding_of_faiss_s_bits():
    codec = build("faiss_peers", "faiss:LSH", 0).fit(rows(12))
    full = Codes({"codes": np.full((3, 2), 255, np.uint8)})
    for use in (lambda: codec.searcher("hamming", full), lambda: codec.similarity("hamming", full, full)):
        with pytest.raises(UserError, match=r"faiss:LSH: .* vector 0 has more than 12 bits"):
            use()


@pytest.mark.parametrize(
    ("module", "name", "key", "width"),
    [("scalar", "int4", "levels", 7), ("scalar", "int5", "levels", 9), ("binary", "sign", "bits", 2)],
)
def test_more_bits_than_the_dimensions_have_are_refused(module, name, key, width):
    """13 dimensions: the last byte has bits to spare."""
    codec = build(module, name, 0).fit(rows(13))
    full = Codes({key: np.full((3, width), 255, np.uint8)})
    for use in uses(codec):
        with pytest.raises(UserError, match=rf"{name}: .* vector 0 has more than [0-9]+ bits"):
            use(full)


def test_trits_of_which_several_vectors_share_a_string_are_refused():
    codec = build("ternary", "ternary_entropy", 0).fit(rows(12))
    for use in uses(codec):
        with pytest.raises(UserError, match="ternary_entropy: codes of another codec: 2 vectors share a string"):
            use(Codes({"trits": Strings.of([b"ab", b"c"], 4, 2)}))
