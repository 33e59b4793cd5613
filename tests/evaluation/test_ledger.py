import numpy as np
import pytest

from pipeline.codec import Codes, build
from pipeline.evaluation.ledger import cost


def test_by_hand():
    codec = build("binary", "sign", 0).fit(np.ones((4, 30), np.float32))
    codes = codec.encode(np.ones((10, 30), np.float32))
    found = cost(codec, codes, 30)
    assert found.bytes_per_vector == 4  # 30 bits in whole bytes
    assert found.shared_bytes == 3 * 30 * 4  # threshold, below, above
    assert found.compression_ratio == pytest.approx(10 * 30 * 4 / (10 * 4 + 360))


def test_scales_and_norms_count_as_well():
    codec = build("floats", "float32", 0)
    codes = Codes({"bits": np.zeros((5, 3), np.uint8), "norm": np.zeros(5, np.float32)})
    assert cost(codec, codes, 24) == (7, 0, 24 * 4 / 7)


def test_float32_is_the_unit():
    codec = build("floats", "float32", 0)
    assert cost(codec, codec.encode(np.ones((3, 50), np.float32)), 50) == (200, 0, 1)


def test_what_is_shared_weighs_less_in_a_larger_table():
    codec = build("scalar", "int8", 0).fit(np.eye(8, dtype=np.float32))
    ratios = [cost(codec, codec.encode(np.zeros((n, 8), np.float32)), 8).compression_ratio for n in (1, 10, 100_000)]
    assert ratios == sorted(ratios)
    assert ratios[0] == 32 / (8 + 64)
    assert ratios[2] == pytest.approx(4, rel=1e-3)
