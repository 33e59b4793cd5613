"""Funnel search: the shortlist is the prefix's, the ranks are the whole codes'."""

import numpy as np

from pipeline.codec import Codes
from pipeline.codecs import funnel
from pipeline.exhaustive import inner_product

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
