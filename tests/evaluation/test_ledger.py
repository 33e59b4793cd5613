import numpy as np
import pytest

from pipeline.codec import Codes, build
from pipeline.evaluation.ledger import all_in_ratio, cost, rerank_bytes, rerank_names, shares
from pipeline.stage import UserError
from pipeline.store import unit_rows


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


@pytest.fixture(scope="module")
def rows_16():
    return unit_rows(np.random.default_rng(0).normal(size=(90, 16)).astype(np.float32))


@pytest.mark.parametrize(
    ("module", "name", "rerank", "decoder"),
    [
        ("floats", "float32", 0, 0),
        ("binary", "sign", 0, 0),
        ("faiss_peers", "faiss:SQ8", 0, 0),
        ("sentence_transformers_peers", "sentence-transformers:int8", 0, 0),
        ("sentence_transformers_peers", "sentence-transformers:binary+rescore", 0, 0),
        ("sentence_transformers_peers", "sentence-transformers:binary+int8_rescore", 16, 0),
        ("linear_decoder", "sign_ridge", 0, 4 * 16 * 16),
        ("linear_decoder", "sign_ridge_int8", 0, 16 * 16 + 2 * 4 * 16),  # levels; scale and diagonal
        ("linear_decoder", "sign_ridge_ternary", 0, 16 * 4 + 2 * 16 + 4 * 16),  # trits, scale, diagonal
        ("sigma_delta", "sigma_delta_r2_64", 0, 2 * 16 * 16),
        ("sigma_delta", "sigma_delta_r2_64_smooth", 0, 2 * 16 * 16 + 4 * 16),  # basis, gain
        ("sigma_delta", "sigma_delta_r2_64_dual", 0, 0),  # made again from the seed
    ],
)
def test_the_parts_add_up(rows_16, module, name, rerank, decoder):
    codec = build(module, name, 0).fit(rows_16)
    codes = codec.encode(rows_16)
    assert rerank_bytes(codes) == 90 * rerank
    found = shares(codec)
    assert found.decoder == decoder
    assert sum(found) == cost(codec, codes, 16).shared_bytes


def test_weights_are_the_decoders_whatever_is_said_of_others():
    codec = build("floats", "float32", 0)
    codec.shared = {"mean": np.zeros(3, np.uint8), "weights": np.zeros(5, np.uint8), "bias": np.zeros(7, np.uint8)}
    assert shares(codec) == (3, 12)
    codec.ledger = {"mean": "decoder", "bias": "codebook"}
    assert shares(codec) == (7, 8)
    codec.ledger = {"mean": "rerank"}
    with pytest.raises(UserError, match="float32: its ledger calls 'mean' 'rerank', which is neither"):
        shares(codec)


def test_bytes_are_a_payload_unless_there_are_bits():
    assert rerank_names(["bytes"]) == set()
    assert rerank_names(["bits", "bytes", "rerank_norm"]) == {"bytes", "rerank_norm"}


def test_the_all_in_ratio_by_hand():
    assert all_in_ratio(10, 1000, 5, 5000) == 4
    assert all_in_ratio(10, 1e9, 5, 5000) == pytest.approx(8, rel=1e-5)
