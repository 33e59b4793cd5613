import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline import stage
from pipeline.embeddings.concatenation import concatenate, main
from pipeline.store import EmbeddingTable, UserError, digest, read_embedding, unit_rows, write_embedding


def table(words, vectors, **facts):
    return EmbeddingTable(list(words), np.array(vectors, np.float32), facts)


def rows(dims):
    value = st.floats(-100, 100, width=32).map(lambda x: round(x, 2))
    return arrays(np.float32, (4, dims), elements=value).filter(lambda x: x.any(axis=1).all())


@given(rows(2), rows(5), rows(3))
def test_the_cosine_is_the_mean_of_the_parts_cosines(first, second, third):
    parts = [first, second, third]
    whole = concatenate({str(i): table("abcd", part) for i, part in enumerate(parts)})
    units = [unit_rows(part).astype(np.float64) for part in parts]
    expected = np.mean([unit @ unit.T for unit in units], axis=0)
    np.testing.assert_allclose(whole.vectors @ whole.vectors.T, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole.vectors, axis=1), 1, atol=1e-6)
    assert whole.vectors.dtype == np.float32
    assert whole.vectors.shape == (4, 10)


def test_words_that_both_have_in_the_order_of_the_first_each_with_its_own_rows():
    whole = concatenate({"x": table("abc", [[1, 0], [0, 2], [3, 0]]), "y": table("cbz", [[5], [-5], [1]])})
    half = 0.5**0.5
    assert whole.words == ["b", "c"]
    np.testing.assert_allclose(whole.vectors, [[0, half, -half], [half, 0, half]], atol=1e-6)


def test_facts_name_the_parts():
    whole = concatenate({"x": table("a", [[1]], licence="MIT", model="m"), "y": table("a", [[1, 1]], licence="CC0")})
    assert whole.facts["name"] == "x+y"
    assert whole.facts["licence"] == "x: MIT; y: CC0"
    assert whole.facts["normalisation"] == "each part's rows of unit length, divided by sqrt(2)"
    assert json.loads(whole.facts["dims"]) == {"x": 1, "y": 2}
    assert json.loads(whole.facts["parts"])["x"] == {"licence": "MIT", "model": "m"}


def test_no_common_word_and_a_single_part_are_refused():
    with pytest.raises(UserError, match="no word is in all of x, y"):
        concatenate({"x": table("a", [[1]]), "y": table("b", [[1]])})
    with pytest.raises(UserError, match="at least two"):
        concatenate({"x": table("a", [[1]])})


def test_the_stage_writes_the_table_with_the_digests_of_its_parts(tmp_path):
    paths = [str(tmp_path / "x.parquet"), str(tmp_path / "y.parquet")]
    for path in paths:
        write_embedding(path, table("ab", [[1, 2], [3, 4]]))
    output = tmp_path / "x+y.parquet"
    assert stage.run(main, ["--parts", *paths, "--output", str(output)]) == 0
    whole = read_embedding(output)
    assert whole.words == ["a", "b"]
    assert json.loads(whole.facts["digests"]) == {"x": digest(paths[0]), "y": digest(paths[1])}


def test_the_stage_refuses_the_same_part_twice(tmp_path, capsys):
    path = str(tmp_path / "x.parquet")
    write_embedding(path, table("ab", [[1, 2], [3, 4]]))
    assert stage.run(main, ["--parts", path, path, "--output", str(tmp_path / "out.parquet")]) == 1
    assert capsys.readouterr().err == "error: --parts: 'x' is named twice; parts must be distinct\n"
    assert not (tmp_path / "out.parquet").exists()
