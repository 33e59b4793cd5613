"""Funnel search: the shortlist is the prefix's, the ranks are the whole codes'."""

import numpy as np
import pytest

from pipeline.codec import Codes
from pipeline.codecs import bit_planes, funnel, successive_refinement
from pipeline.codecs.exhaustive import inner_product

RNG = np.random.default_rng(0)
BASE = RNG.standard_normal((400, 8)).astype(np.float32)
QUERIES = RNG.standard_normal((20, 8)).astype(np.float32)
CODES = Codes({"values": BASE})


def ranked(rows, query, base):
    """Rows by falling cosine, one by one."""
    return sorted(rows, key=lambda row: -float(query @ base[row] / np.linalg.norm(base[row])))


def test_ranks_are_those_of_the_whole_codes_within_the_shortlist():
    coarse = inner_product(np.ascontiguousarray(np.pad(BASE[:, :2], ((0, 0), (0, 6)))))
    found = funnel.search(coarse, CODES, lambda codes: codes["values"])(QUERIES, 3)
    for query, rows, shortlist in zip(QUERIES, found, coarse(QUERIES, 3 * funnel.SHORTLIST), strict=True):
        assert list(rows) == ranked(shortlist, query, BASE)[:3]


def test_more_than_there_are_rows_ends_in_minus_one():
    few = CODES.take(np.arange(4))
    found = funnel.search(inner_product(BASE[:4]), few, lambda codes: codes["values"])(QUERIES, 6)
    assert (found[:, 4:] == -1).all()
    assert (np.sort(found[:, :4], axis=1) == np.arange(4)).all()


@pytest.mark.parametrize("name", ["successive_refinement.successive_refinement_1024", "bit_planes.bit_planes_1024"])
def test_codecs_find_by_it_nearly_what_a_search_of_the_whole_codes_finds(name, monkeypatch):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((1500, 160)) * 0.97 ** np.arange(160)).astype(np.float32)
    module, codec = name.split(".")
    fitted = {"bit_planes": bit_planes, "successive_refinement": successive_refinement}[module].build(codec, 0).fit(x)
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


@pytest.mark.parametrize("module", [bit_planes, successive_refinement])
def test_short_codes_are_searched_whole(module):
    name = module.__name__.split(".")[-1]
    x = np.random.default_rng(2).standard_normal((200, 100)).astype(np.float32)
    assert module.build(f"{name}_512", 0).fit(x).searches == ("asymmetric",)
