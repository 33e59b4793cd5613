import numpy as np
import pyarrow as pa

from pipeline.word_similarity import covered

PAIRS = pa.table(
    {"word1": ["cat", "dog", "cat", "yak"], "word2": ["dog", "emu", "cat", "cat"], "score": [7.5, 1, 10, 3]}
)


def test_pairs_of_which_both_words_have_a_row():
    found = covered(PAIRS, {"dog": 0, "cat": 4, "emu": 2})
    assert found.first.tolist() == [4, 0, 4]
    assert found.second.tolist() == [0, 2, 4]
    assert found.scores.tolist() == [7.5, 1, 10]
    assert found.total == 4
    assert found.first.dtype == np.int64
    assert found.scores.dtype == np.float64


def test_the_first_row_counts_as_one():
    assert len(covered(PAIRS, {"cat": 0}).scores) == 1


def test_nothing_covered():
    found = covered(PAIRS, {"Cat": 0, "": 1})
    assert (len(found.first), len(found.second), len(found.scores), found.total) == (0, 0, 0, 4)
    assert found.first.dtype == np.int64
