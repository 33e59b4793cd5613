"""Ours against the peers within so many bytes, on small tables made by hand."""

import csv
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from pipeline import stage
from pipeline.evaluation.best_by_bytes import (
    BUDGETS,
    COLUMNS,
    budgets,
    contestants,
    judge,
    leader,
    main,
    rows_of,
    side,
    summary,
)
from pipeline.plots.measurements import SCHEMA, Row, Score
from pipeline.store import write_parquet

VECTORS, DIMS = 1000, 100


def scores(values, half=0.01):
    """A score a seed, with an interval."""
    values = [values] * 3 if isinstance(values, float) else values
    return {seed: Score(value, value - half, value + half) for seed, value in enumerate(values)}


def measured(size, recall, validation=None, shared=0.0, **more):
    facts = {"vectors": VECTORS, "dims": DIMS, "bytes_per_vector": size, "shared_bytes": shared}
    own = {"knn10_overlap": recall, "knn10_overlap_validation": recall if validation is None else validation, **more}
    return {name: scores(float(value)) for name, value in facts.items()} | {
        name: scores(value) for name, value in own.items()
    }


def row(name, family="scalar", search="decoded"):
    return Row(name, family, search)


def table_of(rows, criterion="knn10_overlap", counted="codes"):
    found = rows_of("own", rows)
    return {one["budget_bytes"]: one for one in found if (one["criterion"], one["counted"]) == (criterion, counted)}


OWN = {row("a"): measured(30, 0.7), row("b", "ternary"): measured(60, 0.9)}
PEERS = {row("x", "faiss", "native"): measured(20, 0.6), row("y", "peer"): measured(64, 0.95)}


def test_budgets_end_at_float32():
    assert budgets(300) == [*BUDGETS, 1200]
    assert budgets(16) == [16, 24, 32, 48, 64]
    assert budgets(1) == [4]


def test_each_budget_is_won_by_the_better_of_those_that_fit():
    found = table_of(OWN | PEERS)
    assert list(found) == budgets(DIMS)
    winners = {budget: (one["winner"], one["how"]) for budget, one in found.items()}
    assert winners[16] == ("", "")  # nothing is so small
    assert winners[24] == ("peer", "alone")
    assert winners[32] == ("ours", "paired")  # 0.7 against 0.6
    assert winners[48] == ("ours", "paired")
    assert winners[64] == ("peer", "paired")  # exactly 64 bytes fit into 64
    assert (found[64]["ours_representation"], found[64]["peer_representation"]) == ("b", "y")
    assert (found[64]["ours_value"], found[64]["ours_ci_low"], found[64]["ours_ci_high"]) == ("0.9", "0.89", "0.91")
    assert float(found[64]["margin"]) == pytest.approx(-0.05)
    assert (found[32]["peer_search"], found[32]["peer_bytes"]) == ("native", "20")


def test_who_meets_is_chosen_on_validation_rows_and_reported_on_test_rows():
    lucky = {row("lucky"): measured(30, 0.99, validation=0.5)}
    two_rules = {row("x", "faiss"): measured(20, 0.9, validation=0.1)}
    found = table_of(OWN | lucky | PEERS | two_rules)[32]
    assert (found["ours_representation"], found["ours_value"]) == ("a", "0.7")
    assert (found["peer_search"], found["peer_value"]) == ("native", "0.6")
    assert found["chosen_by"] == "knn10_overlap_validation"


def test_of_equal_ones_the_cheapest():
    dear = {row("dear"): measured(31, 0.7)}
    assert table_of(dear | OWN | PEERS)[32]["ours_representation"] == "a"


def test_shared_bytes_are_spread_over_the_table_or_a_million():
    shared = {row("s"): measured(30, 0.8, shared=5000.0)}  # 5 bytes a vector here, 0.005 among a million
    all_of = OWN | shared | PEERS
    assert table_of(all_of)[32]["ours_representation"] == "s"
    assert table_of(all_of, counted="all_at_n")[32]["ours_representation"] == "a"
    found = table_of(all_of, counted="all_at_1e6")[32]
    assert found["ours_representation"] == "s"
    assert (found["ours_bytes"], found["ours_bytes_at_n"], found["ours_bytes_at_1e6"]) == ("30", "35", "30.005")


def test_of_an_error_the_lower_one_wins_whatever_the_search_rule():
    rows = {
        row("a"): measured(30, 0.7, relative_mse=0.3, relative_mse_validation=0.3),
        row("b"): measured(30, 0.9, relative_mse=0.4, relative_mse_validation=0.4),
        row("x", "faiss"): measured(30, 0.5, relative_mse=0.2, relative_mse_validation=0.2),
        row("x", "faiss", "native"): measured(30, 0.9, relative_mse=0.2, relative_mse_validation=0.2),
    }
    found = table_of(rows, "relative_mse")[32]
    assert (found["ours_representation"], found["peer_search"], found["winner"]) == ("a", "decoded", "peer")
    assert float(found["margin"]) == pytest.approx(-0.1)
    assert found["chosen_by"] == "relative_mse_validation"
    for metrics in rows.values():
        del metrics["relative_mse_validation"]
    found = table_of(rows, "relative_mse")[32]
    assert (found["ours_representation"], found["chosen_by"]) == ("b", "knn10_overlap_validation")


def test_formats_and_exact_codes_are_no_contestants():
    exact = measured(30, 1.0, exact_values=1.0)
    rows = {
        row("float16", "float"): measured(28, 0.99, exact_values=0.1),
        row("lossless", "lossless"): exact,
        row("zstd", "peer"): exact,
    }
    assert {side(one, metrics) for one, metrics in rows.items()} == {"reference"}
    found = table_of(OWN | rows | PEERS)[32]
    assert (found["ours_representation"], found["peer_representation"]) == ("a", "x")
    assert (found["reference_representation"], found["reference_value"]) == ("lossless", "1")
    assert side(row("new", "a_family_of_tomorrow"), measured(1, 0.5)) == "ours"
    assert {side(row("x", family), {}) for family in ("faiss", "peer")} == {"peer"}


# --- the verdict ----------------------------------------------------------------------------------------------------


def pair(ours, peers, half=0.01):
    rows = {row("a"): measured(30, 0.5), row("x", "faiss"): measured(30, 0.5)}
    rows[row("a")]["knn10_overlap"], rows[row("x", "faiss")]["knn10_overlap"] = scores(ours, half), scores(peers, half)
    field = contestants(rows, "knn10_overlap", "knn10_overlap_validation")
    return leader(field, "ours", 0, 32), leader(field, "peer", 0, 32)


@pytest.mark.parametrize("lead", [0.02, 0.004, -0.02])
def test_the_paired_interval_is_students(lead):
    ours, peers = [0.8 + lead, 0.7 + lead + 0.002, 0.75 + lead - 0.001], [0.8, 0.7, 0.75]
    expected = stats.ttest_rel(ours, peers).confidence_interval(0.95)
    found = judge(*pair(ours, peers), 1)  # the seeds differ by 0.1 among themselves, which pairs do not see
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.winner == ("ours" if expected.low > 0 else "peer" if expected.high < 0 else "tie")
    assert found.how == "paired"
    turned = judge(*pair(peers, ours), -1)
    assert (turned.margin, turned.low, turned.high) == pytest.approx((found.margin, found.low, found.high))


def test_differences_that_hold_zero_are_a_tie():
    assert judge(*pair([0.8, 0.7, 0.6], [0.7, 0.8, 0.6]), 1).winner == "tie"
    assert judge(*pair([0.8, 0.8], [0.8, 0.8]), 1) == ("tie", "paired", 0, 0, 0)


def test_with_one_seed_the_intervals_have_to_be_apart():
    assert judge(*pair([0.8], [0.79]), 1)[:2] == ("tie", "intervals")
    assert judge(*pair([0.8], [0.77]), 1)[:2] == ("ours", "intervals")
    assert judge(*pair([0.8], [0.77]), -1)[:2] == ("peer", "intervals")
    assert judge(*pair([0.8], [0.77]), -1).margin == pytest.approx(-0.03)
    assert judge(*pair([0.77], [0.8]), 1)[:2] == ("peer", "intervals")
    assert judge(*pair([0.8], [0.1], half=math.nan), 1).winner == "tie"  # no interval tells them apart


# --- the stage ------------------------------------------------------------------------------------------------------


def long_table(rows):
    return [
        {
            **dict(zip(SCHEMA.names, ("own", *one, seed, name), strict=False)),
            **{"value": score.value, "ci_low": score.low, "ci_high": score.high},
        }
        for one, metrics in rows.items()
        for name, of_seeds in metrics.items()
        for seed, score in of_seeds.items()
    ]


def test_the_stage_writes_the_table_and_says_where_ours_loses(tmp_path, caplog):
    write_parquet(tmp_path / "long.parquet", pa.Table.from_pylist(long_table(OWN | PEERS), SCHEMA))
    with caplog.at_level("INFO"):
        arguments = ["--benchmarks", str(tmp_path / "long.parquet"), "--output", str(tmp_path / "best.csv")]
        assert stage.run(main, arguments) == 0
    with open(tmp_path / "best.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert tuple(found[0]) == COLUMNS
    assert len(found) == 3 * len(budgets(DIMS))
    assert (found[0]["vectors"], found[0]["dims"]) == ("1000", "100")
    count = len(budgets(DIMS))
    expected = (
        f"own, knn10_overlap: of {count} budgets ours wins 2, ties 0, loses {count - 3}: at 24 bytes to x; at 64, "
    )
    assert any(line.startswith(expected) for line in caplog.messages)


def test_a_table_without_peers_or_of_nothing_has_no_verdict(tmp_path):
    assert {one["how"] for one in table_of(OWN).values()} == {"", "alone"}
    assert next(summary(list(rows_of("own", OWN)))).endswith("of 11 budgets ours wins 9, ties 0, loses 0")
    unsaid = {row("a"): {"knn10_overlap": scores(0.5)}}
    write_parquet(tmp_path / "long.parquet", pa.Table.from_pylist(long_table(unsaid), SCHEMA))
    arguments = ["--benchmarks", str(tmp_path / "long.parquet"), "--output", str(tmp_path / "best.csv")]
    assert stage.run(main, arguments) == 1
    assert not (tmp_path / "best.csv").exists()


def test_of_two_tables_all_meet(tmp_path, capsys):
    facts = {"measured": json.dumps({"own": {"embedding_digest": "a", "seeds": "[0, 1, 2]", "queries": "9"}})}
    for name, rows in (("ours", OWN), ("peers", PEERS), ("both", OWN | PEERS)):
        write_parquet(tmp_path / f"{name}.parquet", pa.Table.from_pylist(long_table(rows), SCHEMA), facts)
    made = {}
    for names in (["both"], ["ours", "peers"], ["ours", "peers", "both"]):
        output = tmp_path / "out.csv"
        tables = [str(tmp_path / f"{name}.parquet") for name in names]
        assert stage.run(main, ["--benchmarks", *tables, "--output", str(output)]) == 0
        made[len(names)] = output.read_text()
    assert made[1] == made[2] == made[3]
    write_parquet(tmp_path / "peers.parquet", pa.Table.from_pylist(long_table(PEERS), SCHEMA))
    assert stage.run(main, ["--benchmarks", *tables[:2], "--output", str(tmp_path / "no.csv")]) == 1
    assert "peers.parquet: does not say on which vectors" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize("rows", [{}, {row("a"): {"vectors": scores(9.0), "dims": scores(3.0), "cosine": scores(1.0)}}])
def test_a_table_of_nothing_that_can_meet_is_refused(rows, tmp_path, capsys):
    write_parquet(tmp_path / "long.parquet", pa.Table.from_pylist(long_table(rows), SCHEMA))
    arguments = ["--benchmarks", str(tmp_path / "long.parquet"), "--output", str(tmp_path / "best.csv")]
    assert stage.run(main, arguments) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {tmp_path / 'long.parquet'}: no representation has a size, knn10_overlap and ")
    assert not (tmp_path / "best.csv").exists()


@pytest.mark.parametrize("lacking", ["knn10_overlap_validation", "bytes_per_vector", "shared_bytes", "knn10_overlap"])
def test_what_has_no_size_or_no_score_does_not_meet(lacking):
    best = measured(10, 0.99)
    del best[lacking]
    assert table_of({row("n"): best} | OWN | PEERS) == table_of(OWN | PEERS)


def test_values_that_are_no_numbers_do_not_meet():
    nothing = measured(10, 0.5)
    nothing["knn10_overlap"] = scores(np.nan)
    assert table_of({row("n"): nothing} | OWN | PEERS)[24]["winner"] == "peer"
