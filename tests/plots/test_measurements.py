import json
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
    read_all,
    read_facts,
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


KEY = {"embedding": "e", "representation": "sign", "family": "binary", "search": "hamming", "seed": 0}


def test_what_is_measured_twice_and_a_row_of_nothing_are_named(write):
    one = {**KEY, "metric": "cosine", "value": 1.0}
    with pytest.raises(
        UserError, match=r"benchmarks\.parquet: measured twice: cosine of e sign binary hamming, seed 0"
    ):
        read(write([one, {**one, "seed": 1}, one]))
    for name in ("embedding", "representation", "family", "search", "seed", "metric"):
        with pytest.raises(UserError, match=rf"benchmarks\.parquet: row 1 has no {name}"):
            read(write([one, {**one, name: None}]))


# --- several tables -------------------------------------------------------------------------------------------------

FACTS = {"embedding_digest": "ab", "seeds": "[0]", "queries": "9"}


@pytest.fixture
def long(tmp_path):
    """name, {representation: {metric: value}}, facts -> the path of a long table"""

    def long(name, representations, facts=FACTS, embedding="e"):
        rows = [
            {**KEY, "embedding": embedding, "representation": one, "metric": metric, "value": value}
            for one, metrics in representations.items()
            for metric, value in metrics.items()
        ]
        measured = {"measured": json.dumps({embedding: facts})} if facts else None
        write_parquet(tmp_path / name, pa.Table.from_pylist(rows, SCHEMA), measured)
        return tmp_path / name

    return long


def test_several_tables_are_read_as_one(long):
    first = long("a.parquet", {"x": {"cosine": 0.5}, "y": {"cosine": 0.6}})
    second = long("b.parquet", {"z": {"cosine": 0.7}})
    other = long("c.parquet", {"x": {"cosine": 0.9}}, {**FACTS, "queries": "1"}, embedding="f")
    found = read_all([first, second, other])
    assert [row.representation for row in found["e"]] == ["x", "y", "z"]
    assert [row.representation for row in found["f"]] == ["x"]
    assert found["e"][Row("z", "binary", "hamming")]["cosine"][0].value == 0.7
    assert read_all([first]) == read(first)
    assert read_facts(first) == {"e": FACTS}


def test_a_representation_that_stands_in_two_has_to_be_the_same_but_for_its_speed(long):
    first = long("a.parquet", {"x": {"cosine": 0.5, "own": math.nan, "queries_per_s": 7.0}})
    again = long("b.parquet", {"x": {"cosine": 0.5, "own": math.nan, "queries_per_s": 8.0}, "y": {"cosine": 1.0}})
    found = read_all([first, again])["e"]
    assert [row.representation for row in found] == ["x", "y"]
    assert found[Row("x", "binary", "hamming")]["queries_per_s"][0].value == 7
    for changed, what in (({"cosine": 0.6, "own": math.nan}, "cosine"), ({"cosine": 0.5}, "own")):
        other = long("b.parquet", {"x": changed})
        with pytest.raises(UserError, match=rf"b\.parquet: x of e has another {what} than in .*a\.parquet"):
            read_all([first, other])
    rows = [{**KEY, "representation": "x", "search": "decoded", "metric": "cosine", "value": 0.5}]
    write_parquet(other, pa.Table.from_pylist(rows, SCHEMA), {"measured": json.dumps({"e": FACTS})})
    with pytest.raises(UserError, match="x of e has another set of search rules"):
        read_all([first, other])


@pytest.mark.parametrize("key", FACTS)
def test_tables_of_other_vectors_seeds_or_queries_do_not_meet(key, long):
    first, other = (
        long("a.parquet", {"x": {"cosine": 0.5}}),
        long("b.parquet", {"y": {"cosine": 0.5}}, {**FACTS, key: "7"}),
    )
    with pytest.raises(UserError) as error:
        read_all([first, other])
    values = f"{key} is 7 here and {FACTS[key]} in {first}"
    assert str(error.value) == f"{other}: e was measured otherwise: {values}"


def test_a_table_that_does_not_say_what_was_measured_meets_no_other(long, tmp_path):
    first, silent = long("a.parquet", {"x": {"cosine": 0.5}}), long("b.parquet", {"y": {"cosine": 0.5}}, None)
    for pair in ([first, silent], [silent, first]):
        with pytest.raises(UserError, match=r"b\.parquet: does not say on which vectors and seeds e was measured"):
            read_all(pair)
    for wrong in ("[", "[]", '{"e": 3}', '{"e": {}}'):
        write_parquet(silent, pa.Table.from_pylist([], SCHEMA), {"measured": wrong})
        with pytest.raises(UserError, match=r"b\.parquet: its metadata does not say what was measured"):
            read_facts(silent)


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
    assert [(point.row.representation, point.cost) for point in found] == [("small", 4.0), ("sign", 39.0)]


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
