import math

import pyarrow as pa
import pytest

from pipeline.plots.measurements import (
    SCHEMA,
    Row,
    Score,
    average,
    best,
    metric,
    on_codes,
    points,
    pool,
    pooled,
    read,
    sizes,
)
from pipeline.stage import UserError
from pipeline.store import write_parquet

DECODED, HAMMING = Row("sign", "binary", "decoded"), Row("sign", "binary", "hamming")


def test_reading_keeps_order_seeds_and_absence(write):
    key = {"embedding": "e", "representation": "sign", "family": "binary", "search": "hamming"}
    found = read(
        write(
            [
                {**key, "seed": 1, "metric": "simlex999", "value": 0.5, "ci_low": 0.4, "covered": 9, "total": 10},
                {**key, "seed": 0, "metric": "simlex999", "value": None},
                {**key, "embedding": "b", "seed": 0, "metric": "cosine", "value": 1.0},
            ]
        )
    )
    assert list(found) == ["e", "b"]
    assert list(found["e"]) == [HAMMING]
    scores = found["e"][HAMMING]["simlex999"]
    assert scores[1][:2] == (0.5, 0.4)
    assert math.isnan(scores[1].high)
    assert (scores[1].covered, scores[1].total) == (9, 10)
    assert math.isnan(scores[0].value)
    assert scores[0].covered is None


def test_a_table_that_cannot_be_read_is_named(tmp_path, write):
    with pytest.raises(UserError, match=r"nowhere\.parquet: no such file"):
        read(tmp_path / "nowhere.parquet")
    whole = write([])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"broken\.parquet: not a whole Parquet file"):
        read(broken)
    write_parquet(tmp_path / "other.parquet", pa.table({"word": ["a"]}))
    with pytest.raises(UserError, match=r"other\.parquet: no column 'embedding'"):
        read(tmp_path / "other.parquet")
    text = pa.table({name: ["a word"] for name in SCHEMA.names})
    write_parquet(tmp_path / "text.parquet", text)
    with pytest.raises(UserError, match=r"text\.parquet: its columns are not those of the long table"):
        read(tmp_path / "text.parquet")


def test_the_mean_over_seeds_leaves_out_seeds_without_a_value():
    scores = [Score(0.2, 0.1, 0.4, 5, 6), Score(0.4, 0.2, 0.8, 5, 6), Score(math.nan)]
    assert average(scores) == pytest.approx(Score(0.3, 0.15, 0.6, 5, 6))
    assert average([Score(math.nan), Score(math.inf)]) is None
    assert average([]) is None


def test_pooling_weights_by_covered_questions():
    # 30 of 40 and 20 of 80 right: 50 of 120.
    found = pool([Score(0.75, 0.65, 0.85, 40, 50), Score(0.25, 0.2, 0.4, 80, 100)])
    assert found.value == pytest.approx(50 / 120)
    assert found.low == pytest.approx(50 / 120 - math.sqrt((0.1 / 3) ** 2 + (0.05 * 2 / 3) ** 2))
    assert found.high == pytest.approx(50 / 120 + math.sqrt((0.1 / 3) ** 2 + (0.15 * 2 / 3) ** 2))
    assert (found.covered, found.total) == (120, 150)


def test_pooling_takes_the_part_that_is_covered():
    covered = Score(0.25, 0.2, 0.4, 80, 100)
    assert pool([Score(math.nan, math.nan, math.nan, 0, 50), covered]) == pytest.approx(covered)
    assert pool([Score(math.nan, math.nan, math.nan, 0, 50)]) is None


def test_seeds_are_pooled_apart_and_then_averaged():
    metrics = {
        "a": {0: Score(1.0, 1, 1, 10, 10), 1: Score(0.0, 0, 0, 10, 10)},
        "b": {0: Score(0.0, 0, 0, 30, 30), 1: Score(1.0, 1, 1, 10, 10)},
        "c": {0: Score(1.0, 1, 1, 999, 999)},
    }
    assert pooled("a", "b")(metrics).value == pytest.approx((10 / 40 + 10 / 20) / 2)
    assert pooled("x", "y")(metrics) is None


def table(**recalls):
    """rows of one representation: search rule -> recall of seeds 0 and 1; None: not measured"""
    return {
        Row("sign", "binary", rule): {
            "bytes_per_vector": {0: Score(38.0), 1: Score(40.0)},
            "knn10_overlap_validation": {seed: Score(value) for seed, value in enumerate(values or ())},
            "knn10_overlap": {seed: Score(1 - value) for seed, value in enumerate(values or ())},
        }
        for rule, values in recalls.items()
    }


def test_the_best_rule_is_that_with_the_highest_mean_on_validation_rows():
    rows = table(hamming=(0.9, 0.1), decoded=(0.6, 0.6), asymmetric=None, native=(math.nan, 0.5))
    row, score = best(rows, metric("knn10_overlap"))["sign"]
    assert row == DECODED
    assert score.value == pytest.approx(0.4)  # of the rows that are drawn


def test_of_equal_rules_the_first_is_taken():
    assert best(table(hamming=(0.5, 0.5), decoded=(0.5, 0.5)), metric("knn10_overlap"))["sign"][0] == HAMMING


def test_points_have_a_size_and_stand_by_size():
    rows = {
        **table(decoded=(0.6, 0.6)),
        Row("small", "float", "decoded"): {"bytes_per_vector": {0: Score(4.0)}, "knn10_overlap": {0: Score(0.1)}},
        Row("sizeless", "float", "decoded"): {"knn10_overlap": {0: Score(0.9)}},
        Row("nothing", "float", "decoded"): {"bytes_per_vector": {0: Score(0.0)}, "knn10_overlap": {0: Score(0.9)}},
        Row("scoreless", "float", "decoded"): {"bytes_per_vector": {0: Score(9.0)}},
    }
    found = points(rows, metric("knn10_overlap"))
    assert [(point.row.representation, point.bytes) for point in found] == [("small", 4.0), ("sign", 39.0)]


def test_sizes_are_told_where_the_table_has_them():
    assert sizes({DECODED: {"vectors": {0: Score(13681.0)}, "dims": {0: Score(300.0)}}}) == (
        "13,681 vectors of 300 dimensions"
    )
    assert sizes({DECODED: {}}) == ""


def test_word_tasks_are_read_under_one_rule_fixed_beforehand():
    rows = {
        Row("both", "binary", "hamming"): {"set": {0: Score(0.9, 0.8, 1.0, 5, 5)}},
        Row("both", "binary", "decoded"): {"set": {0: Score(0.5, 0.4, 0.6, 5, 5)}},
        Row("bits", "faiss", "hamming"): {"set": {0: Score(0.7, 0.6, 0.8, 5, 5)}},
    }
    chosen = {name: (row.search, score.value) for name, (row, score) in best(on_codes(rows), metric("set")).items()}
    assert chosen == {"both": ("decoded", 0.5), "bits": ("hamming", 0.7)}
