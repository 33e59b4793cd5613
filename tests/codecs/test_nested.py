"""What both nested codes do alike: search whole and by a prefix first, and give back rows that have no spread."""

import numpy as np
import pytest

from pipeline.codec import build
from pipeline.codecs import funnel


@pytest.fixture(params=["bit_planes", "successive_refinement"])
def module(request):
    return request.param


def test_codecs_find_by_it_nearly_what_a_search_of_the_whole_codes_finds(module, monkeypatch):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((1500, 160)) * 0.97 ** np.arange(160)).astype(np.float32)
    fitted = build(module, f"{module}_1024", 0).fit(x)
    codes = fitted.encode(x)
    assert fitted.searches == ("asymmetric", "funnel")
    whole, short = (fitted.searcher(rule, codes)(x[:50], 10) for rule in fitted.searches)
    kept = np.mean([len(np.intersect1d(*pair)) for pair in zip(whole, short, strict=True)]) / 10
    assert kept > 0.97
    prefix = fitted.prefix(8 * (codes.nbytes // len(codes) // funnel.PART))
    alone = prefix.searcher("asymmetric", prefix.encode(x))(x[:50], 10)
    monkeypatch.setattr(funnel, "SHORTLIST", 1)  # then nothing but the prefix's own rows is left to rank
    short = fitted.searcher("funnel", codes)(x[:50], 10)
    np.testing.assert_array_equal(np.sort(short, axis=1), np.sort(alone, axis=1))
    assert (short != alone).any()


def test_short_codes_are_searched_whole(module):
    x = np.random.default_rng(2).standard_normal((200, 100)).astype(np.float32)
    assert build(module, f"{module}_512", 0).fit(x).searches == ("asymmetric",)


def test_asymmetric_search_ranks_as_decoded_rows_do(module):
    x = (np.random.default_rng(3).standard_normal((900, 30)) * 0.9 ** np.arange(30)).astype(np.float32)
    codec = build(module, f"{module}_96", 0).fit(x)
    codes = codec.encode(x)
    decoded = codec.decode(codes)
    scores = x[:20] @ (decoded / np.linalg.norm(decoded, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(codec.searcher("asymmetric", codes)(x[:20], 5), np.argsort(-scores, axis=1)[:, :5])


@pytest.mark.parametrize(
    "x", [np.zeros((10, 3)), np.ones((10, 3)), np.array([[1.0, 2, 3]])], ids=["zero", "same", "one"]
)
def test_rows_that_are_all_alike_come_back(module, x):
    x = x.astype(np.float32)
    codec = build(module, f"{module}_16", 0).fit(x)
    np.testing.assert_allclose(codec.decode(codec.encode(x)), x, atol=1e-6)
