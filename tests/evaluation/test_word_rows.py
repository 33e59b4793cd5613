import numpy as np

from pipeline.evaluation.word_rows import word_rows
from pipeline.store import EmbeddingTable


def test_lower_case_finds_the_first_row_of_a_spelling_unless_it_has_its_own():
    words = ["Paris", "PARIS", "Nice", "nice", "mat"]
    found = word_rows(EmbeddingTable(words, np.ones((5, 1), np.float32)))
    assert found == {"paris": 0, "Paris": 0, "PARIS": 1, "Nice": 2, "nice": 3, "mat": 4}
