import numpy as np
import pytest

from pipeline import asymmetric
from pipeline.codec import Codes, Strings


@pytest.mark.parametrize("rows", [3, 10, 4096, 9000])
def test_ranks_by_cosine_with_the_decoded_rows(rows):
    rng = np.random.default_rng(rows)
    base, asked = rng.standard_normal((rows, 8)) * rng.uniform(0.1, 9, (rows, 1)), rng.standard_normal((20, 8))
    codes = Codes({"half": (base / 2).astype(np.float32)})
    found = asymmetric.cosine(codes, lambda some: some["half"] * 2)(asked.astype(np.float32), 5)
    scores = asked @ (base / np.linalg.norm(base, axis=1, keepdims=True)).T
    expected = np.argsort(-scores, axis=1)[:, :5]
    np.testing.assert_array_equal(found[:, : min(rows, 5)], expected)
    np.testing.assert_array_equal(found[:, rows:], np.full((20, max(0, 5 - rows)), -1))


def test_a_zero_row_scores_zero():
    codes = Codes({"rows": np.array([[0, 0], [-1, 0], [1, 0]], np.float32)})
    found = asymmetric.cosine(codes, lambda some: some["rows"])(np.array([[1, 0]], np.float32), 3)
    np.testing.assert_array_equal(found, [[2, 0, 1]])


def test_codes_of_which_vectors_share_a_string_are_decoded_at_once() -> None:
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    codes = Codes({"rows": Strings.of([x[:4].tobytes(), x[4:].tobytes()], 6, 4)})
    found = asymmetric.cosine(codes, lambda codes: np.frombuffer(codes["rows"].data, np.float32).reshape(-1, 4))(x, 1)
    assert found.ravel().tolist() == list(range(6))
