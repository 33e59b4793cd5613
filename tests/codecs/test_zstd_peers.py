import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import Codes, Strings
from pipeline.codecs.zstd_peers import build, compress, decompress
from pipeline.stage import UserError

NAMES = ["zstd", "zstd_shuffled"]


@pytest.mark.parametrize("shuffled", [False, True])
@given(st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6))
def test_any_bits_come_back(shuffled, patterns):
    x = np.array(patterns, np.uint32).view(np.float32).reshape(2, 3)
    np.testing.assert_array_equal(
        decompress(compress(x, shuffled), (2, 3), shuffled).view(np.uint32), x.view(np.uint32)
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_size_is_that_of_zstd_at_level_19(name):
    x = np.random.default_rng(0).standard_normal((800, 10)).astype(np.float32)
    plain = x.tobytes()
    payload = plain if name == "zstd" else b"".join(plain[i::4] for i in range(4))
    codec = build(name, 0).fit(x)
    codes = codec.encode(x)
    expected = len(zstandard.compress(payload, 19)) + 4  # and its checksum
    assert len(codes["frame"].data) == expected
    assert codes.nbytes == expected + codes["frame"].lengths.nbytes
    np.testing.assert_array_equal(codec.decode(codes), x)
    assert codec.lossless


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_noticed(name):
    x = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    codec = build(name, 0).fit(x)
    frame = codec.encode(x)["frame"].strings()[0]
    for place in range(len(frame)):
        changed = bytearray(frame)
        changed[place] ^= 1
        try:
            decoded = codec.decode(Codes({"frame": Strings.of([bytes(changed)], 20, 20)}))
        except UserError:
            continue
        np.testing.assert_array_equal(decoded, x)  # a bit of the header that says nothing
    with pytest.raises(UserError, match="no table of 21 x 3"):
        codec.decode(Codes({"frame": Strings.of([frame], 21, 21)}))


def test_unknown_names():
    with pytest.raises(UserError, match="zstd_peers has no codec 'zip'"):
        build("zip", 0)
