"""From vectors to the long table of measurements, on vectors and benchmark sets small enough to recompute."""

import logging
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.spatial.distance import cosine as cosine_distance

from pipeline import stage
from pipeline.codec import build
from pipeline.codecs.fit import fit_module
from pipeline.embeddings import spacy_md
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.evaluation import measure, sets
from pipeline.evaluation.measure import SCHEMA, find_truth, main, measure_module, read_tasks, spike_measurements
from pipeline.spikes.integrate_fire import IntegrateFire
from pipeline.split import split
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, read_parquet, unit_rows, write_embedding

ROWS, DIMS, SEEDS = 150, 12, (0, 1)
COST = ("vectors", "dims", "fitted_share", "bytes_per_vector", "shared_bytes", "compression_ratio")
FIDELITY = ("relative_mse", "relative_mse_validation", "cosine", "exact_values", "identity_top1", "distance_mape")
SEARCH = ("knn10_overlap", "knn10_overlap_unseen", "knn10_overlap_validation", "queries_per_s")
WORDS = ("own", "analogy_semantic", "analogy_semantic_3cosmul", "analogy_syntactic", "analogy_syntactic_3cosmul")
MODULES = {
    "floats": ["float32", "float16", "truncate_4"],
    "scalar": ["int8"],
    "binary": ["sign", "sign_centered"],
    "faiss_peers": ["faiss:SQ8", "faiss:RaBitQ2", "faiss:ITQ8,LSH"],
}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, DIMS)) @ rng.standard_normal((DIMS, DIMS)) + 1
    return EmbeddingTable([f"w{i}" for i in range(ROWS)], (x * rng.uniform(1, 5, (ROWS, 1))).astype(np.float32))


def write_sets(directory, pairs, questions):
    (directory / "own.txt").write_text("".join(f"{a} {b} {score}\n" for a, b, score in pairs))
    (directory / "questions.txt").write_text("\n".join([": family", *questions[0], ": gram1", *questions[1], ""]))
    sets.make_sets({"own": str(directory / "own.txt")}, str(directory / "questions.txt"), directory / "benchmarks")
    return directory / "benchmarks"


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(1)
    return [(f"w{a}", f"w{b}", round(rng.random(), 1)) for a, b in rng.integers(0, ROWS, (40, 2))]


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory, pairs):
    rng = np.random.default_rng(2)
    four = [" ".join(f"w{i}" for i in rng.choice(ROWS, 4, replace=False)) for _ in range(30)]
    return write_sets(
        tmp_path_factory.mktemp("sets"),
        [*pairs, ("w1", "absent", 1)],
        ([*four[:20], "w1 w2 w3 absent"], four[20:]),
    )


@pytest.fixture(scope="module")
def codecs(table, tmp_path_factory):
    directory = tmp_path_factory.mktemp("codecs")
    for module, names in MODULES.items():
        fit_module(table, module, names, SEEDS, directory / module)
    return directory


@pytest.fixture(scope="module")
def measured(table, codecs, benchmarks):
    return pa.concat_tables(
        measure_module(table, "toy", codecs / module, benchmarks, SEEDS, 20) for module in MODULES
    ).to_pylist()


@pytest.fixture(scope="module")
def values(measured):
    """{(representation, search, seed): {metric: value}}"""
    found = {}
    for row in measured:
        of = found.setdefault((row["representation"], row["search"], row["seed"]), {})
        assert row["metric"] not in of
        of[row["metric"]] = row["value"]
    return found


def test_every_representation_has_its_searches(values):
    assert {(name, search) for name, search, _ in values} == {
        *((name, "decoded") for name in ("float32", "float16", "truncate_4", "int8", "faiss:SQ8")),
        *((name, search) for name in ("sign", "sign_centered") for search in ("decoded", "hamming", "asymmetric")),
        *(("faiss:SQ8", "native"), ("faiss:RaBitQ2", "native"), ("faiss:ITQ8,LSH", "hamming")),
    }
    assert {seed for *_, seed in values} == set(SEEDS)


def test_word_cells_stand_where_code_is_compared_with_code(values):
    """A rule with a float query keeps the float vectors: it says nothing about what codes know of words."""
    for (name, search, _), metrics in values.items():
        decodes = not name.startswith(("faiss:R", "faiss:I"))
        expected = {*COST, *SEARCH, "encode_vectors_per_s"}
        expected |= {*FIDELITY, "decode_vectors_per_s"} if decodes else set()
        expected |= set(WORDS) if search in ("decoded", "hamming") else set()
        assert set(metrics) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_float32_loses_nothing(values, seed):
    metrics = values["float32", "decoded", seed]
    ones = ("knn10_overlap", "knn10_overlap_unseen", "exact_values", "identity_top1", "compression_ratio")
    assert {metrics[name] for name in ones} == {1}
    assert metrics["cosine"] == pytest.approx(1)
    assert metrics["relative_mse"] == metrics["distance_mape"] == metrics["fitted_share"] == 0
    assert metrics["bytes_per_vector"] == 4 * DIMS
    assert (metrics["vectors"], metrics["dims"], metrics["shared_bytes"]) == (ROWS, DIMS, 0)


def test_a_code_s_rows_share_cost_and_fidelity(values):
    for seed in SEEDS:
        of_rule = [values["sign", rule, seed] for rule in ("decoded", "hamming", "asymmetric")]
        for metric in (*COST, *FIDELITY, "encode_vectors_per_s", "decode_vectors_per_s"):
            assert len({metrics[metric] for metrics in of_rule}) == 1


def test_coarser_codes_lose_more(values):
    for seed in SEEDS:
        errors = [values[name, "decoded", seed]["relative_mse"] for name in ("float16", "int8", "sign_centered")]
        assert 0 < errors[0] < errors[1] < 0.01 < errors[2] < 1
        recalls = [values[name, "decoded", seed]["knn10_overlap"] for name in ("float32", "int8", "truncate_4")]
        assert recalls[0] >= recalls[1] > recalls[2]
    assert len({values["sign", "decoded", seed]["relative_mse"] for seed in SEEDS}) == len(SEEDS)


def test_fidelity_of_sign_bits_written_out(table, values):
    unit, parts = unit_rows(table.vectors).astype(float), split(ROWS, 0)
    fit, test, validation = unit[parts.fit], unit[parts.test], unit[parts.validation]
    mu = fit.mean(axis=0)

    def decoded_of(x):
        found = np.empty_like(x)
        for j in range(DIMS):
            for high in (True, False):
                rows = fit[(fit[:, j] > 0) == high, j]
                found[(x[:, j] > 0) == high, j] = rows.mean() if len(rows) else 0
        return found

    decoded = decoded_of(test)
    metrics = values["sign", "decoded", 0]
    for name, x in (("relative_mse", test), ("relative_mse_validation", validation)):
        expected = ((x - decoded_of(x)) ** 2).sum() / ((x - mu) ** 2).sum()
        assert metrics[name] == pytest.approx(expected, rel=1e-5)
    cosines = [1 - cosine_distance(a - mu, b - mu) for a, b in zip(test, decoded, strict=True)]
    assert metrics["cosine"] == pytest.approx(np.mean(cosines), rel=1e-5)


def test_recalls_written_out(table, values):
    """truncate_4 ranked by cosine of what is kept, against all rows and against the other test rows only."""
    unit, test = unit_rows(table.vectors).astype(float), split(ROWS, 1).test
    kept = unit[:, :4] / np.linalg.norm(unit[:, :4], axis=1, keepdims=True)
    queries = test[find_truth(unit_rows(table.vectors), 1, 20).queries]
    assert len(queries) == 20

    def recall(base):
        shares = []
        for query in queries:
            others = base[base != query]
            true, found = (
                others[np.argsort(-(rows[others] @ unit[query][: rows.shape[1]]))[:10]] for rows in (unit, kept)
            )
            shares.append(len(set(true) & set(found)) / 10)
        return np.mean(shares)

    metrics = values["truncate_4", "decoded", 1]
    assert metrics["knn10_overlap"] == pytest.approx(recall(np.arange(ROWS)))
    assert metrics["knn10_overlap_unseen"] == pytest.approx(recall(test))


def test_unseen_recall_searches_test_rows_only(table):
    """A codec that knows its fit rows by heart and nothing else."""
    unit = unit_rows(table.vectors)
    truth = find_truth(unit, 0, 30)
    assert set(truth.near_unseen.ravel()) <= set(range(len(truth.split.test)))
    learned = unit.copy()
    learned[truth.split.test] = unit_rows(np.random.default_rng(0).standard_normal((30, DIMS)).astype(np.float32))
    search = measure.exhaustive.inner_product
    found = {
        one.metric: one.estimate.value
        for one in measure.search_measurements(
            search(learned), search(learned[truth.split.test]), unit, truth, search(learned)
        )
    }
    assert found["knn10_overlap"] > 0.6
    assert found["knn10_overlap_validation"] > 0.6
    assert found["knn10_overlap_unseen"] < 0.55  # ten of 29 by chance


def test_truth_is_by_cosine_and_never_the_query(table):
    unit = unit_rows(table.vectors)
    truth = find_truth(unit, 3, 7)
    test = split(ROWS, 3).test
    assert truth.near_all.shape == truth.near_unseen.shape == (7, 10)
    for query, near, unseen in zip(truth.query_rows, truth.near_all, truth.near_unseen, strict=True):
        cosines = unit.astype(float) @ unit[query]
        cosines[query] = -2
        np.testing.assert_array_equal(near, np.argsort(-cosines)[:10])
        np.testing.assert_array_equal(unseen, np.argsort(-cosines[test])[:10])
    assert len(truth.validation_rows) == 1  # a fifth of 7
    assert set(find_truth(unit, 3, 30).validation_rows) <= set(split(ROWS, 3).validation)
    for query, near in zip(truth.validation_rows, truth.near_validation, strict=True):
        cosines = unit.astype(float) @ unit[query]
        cosines[query] = -2
        np.testing.assert_array_equal(near, np.argsort(-cosines)[:10])


def test_similarity_and_its_coverage(table, measured, values, pairs):
    rows = table.rows()
    cosines = [1 - cosine_distance(*(table.vectors[rows[word]].astype(float) for word in pair[:2])) for pair in pairs]
    expected = stats.spearmanr(cosines, [score for *_, score in pairs]).statistic
    assert values["float32", "decoded", 0]["own"] == pytest.approx(expected, abs=1e-6)
    kept = [1 - cosine_distance(*(table.vectors[rows[w]].astype(float)[:4] for w in pair[:2])) for pair in pairs]
    expected = stats.spearmanr(kept, [score for *_, score in pairs]).statistic
    assert values["truncate_4", "decoded", 0]["own"] == pytest.approx(expected, abs=1e-6)
    signs = table.vectors > 0
    agree = [np.mean(signs[rows[a]] == signs[rows[b]]) for a, b, _ in pairs]
    expected = stats.spearmanr(agree, [score for *_, score in pairs]).statistic
    assert values["sign", "hamming", 0]["own"] == pytest.approx(expected, abs=1e-9)
    for row in measured:
        counts = {"own": (40, 41), "analogy_semantic": (20, 21), "analogy_syntactic": (10, 10)}
        if row["metric"] in counts:
            assert (row["covered"], row["total"]) == counts[row["metric"]]
            assert row["ci_low"] <= row["value"] <= row["ci_high"]


def test_fitted_share_counts_the_tasks_words(table, values, benchmarks):
    words = set((benchmarks / "words.txt").read_text().split()) - {"absent"}
    covered = [int(word[1:]) for word in words]
    # w1, w2 and w3 stand in pairs or questions of their own; a question with an absent word is not asked
    tasks = read_tasks(benchmarks, table, "toy").rows()
    assert set(tasks) <= set(covered)
    for seed in SEEDS:
        share = np.isin(tasks, split(ROWS, seed).fit).mean()
        assert values["int8", "decoded", seed]["fitted_share"] == pytest.approx(share)
        assert 0.5 < share < 0.9
        assert values["float16", "decoded", seed]["fitted_share"] == 0


def test_costs_written_out(values):
    metrics = values["sign", "hamming", 0]
    assert metrics["bytes_per_vector"] == 2
    assert metrics["shared_bytes"] == 3 * 4 * DIMS
    assert metrics["compression_ratio"] == pytest.approx(4 * DIMS * ROWS / (2 * ROWS + 3 * 4 * DIMS))
    assert values["faiss:ITQ8,LSH", "hamming", 0]["bytes_per_vector"] == 1


def test_faiss_s_own_scan_and_its_shortcut_agree(table):
    """SQ8 is ranked through its decoded rows: the same recall as through faiss's scan."""
    unit = unit_rows(table.vectors)
    truth = find_truth(unit, 0, 30)
    codec = build("faiss_peers", "faiss:SQ4", 0).fit(unit[truth.split.fit])
    codes = codec.encode(unit)
    short = list(measure._rule_measurements(codec, "native", codes, unit, truth, codec.decode(codes)))
    plain = SimpleNamespace(searcher=codec.searcher)  # does not say that it is Euclidean
    whole = list(measure._rule_measurements(plain, "native", codes, unit, truth, None))
    assert [one.estimate for one in short[:3]] == [one.estimate for one in whole[:3]]
    assert short[0].estimate.value < 1


def test_an_asymmetric_search_and_its_shortcut_agree(table):
    """Ranked through rows decoded once: the same recall as through the codec's own search."""
    unit = unit_rows(table.vectors)
    truth = find_truth(unit, 0, 30)
    codec = build("bit_planes", "bit_planes_24", 0).fit(unit[truth.split.fit])
    codes = codec.encode(unit)
    calls = []

    def searcher(rule, codes):
        search = codec.searcher(rule, codes)
        return lambda queries, k: calls.append(len(queries)) or search(queries, k)

    plain = SimpleNamespace(searcher=searcher)  # does not say that it is the cosine
    whole = list(measure._rule_measurements(plain, "asymmetric", codes, unit, truth, None))
    ranked = len(calls)
    quick = SimpleNamespace(searcher=searcher, asymmetric_is_cosine=codec.asymmetric_is_cosine)
    short = list(measure._rule_measurements(quick, "asymmetric", codes, unit, truth, codec.decode(codes)))
    assert [one.estimate for one in short[:3]] == [one.estimate for one in whole[:3]]
    assert short[0].estimate.value < 1
    assert 0 < len(calls) - ranked < ranked  # its speed is that of its own search still


def test_nothing_covered_leaves_cells_empty_and_says_so(table, codecs, tmp_path, caplog):
    benchmarks = write_sets(tmp_path, [("x", "y", 1), ("w1", "y", 2)], (["x y z u"], ["w1 w2 w3 u", "w1 w2 w3 v"]))
    with caplog.at_level(logging.WARNING):
        long = measure_module(table, "toy", codecs / "scalar", benchmarks, [0], 20).to_pylist()
    assert "toy: 0 of 2 pairs of own are covered" in caplog.text
    assert "toy: 0 of 3 analogy questions are covered" in caplog.text
    empty = {row["metric"]: row for row in long if row["metric"] in WORDS}
    assert set(empty) == set(WORDS)
    for row in empty.values():
        assert np.isnan([row["value"], row["ci_low"], row["ci_high"]]).all()
        assert row["covered"] == 0
        assert row["total"] in (1, 2)
    assert next(row["value"] for row in long if row["metric"] == "fitted_share") == 0


def test_a_seed_that_was_not_fitted_is_named(table, codecs, benchmarks):
    with pytest.raises(UserError, match="int8 was not fitted for seed 9"):
        measure_module(table, "toy", codecs / "scalar", benchmarks, [9], 20)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", 0, 0], "--seeds: [0, 0] holds one twice, or one below 0"),
        (["--seeds", -1], "--seeds: [-1] holds one twice, or one below 0"),
        (["--seeds", 0, "--queries", 0], "--queries: at least 1 is needed, not 0"),
    ],
)
def test_seeds_and_queries_that_are_none_are_refused(more, message, table, codecs, benchmarks, tmp_path, capsys):
    write_embedding(tmp_path / "toy.parquet", table)
    given = ["--embedding", tmp_path / "toy.parquet", "--codecs", codecs / "scalar", "--benchmarks", benchmarks]
    given += [*more, "--output", tmp_path / "out.parquet"]
    assert stage.run(main, [str(argument) for argument in given]) == 1
    assert f"error: {message}" in capsys.readouterr().err


def test_nothing_to_measure_is_said(table, benchmarks, tmp_path, caplog):
    fit_module(table, "floats", ["truncate_99"], [0], tmp_path / "floats")
    assert not len(measure_module(table, "toy", tmp_path / "floats", benchmarks, [0], 20))
    assert "floats has no representation that the table can have" in caplog.text


def test_codecs_of_other_vectors_and_a_manifest_of_another_kind_are_refused(table, codecs, benchmarks, tmp_path):
    other = EmbeddingTable(table.words, table.vectors * np.float32(2))
    with pytest.raises(UserError, match=r"int8/seed-0\.safetensors: belongs elsewhere: its embedding_digest is"):
        measure_module(other, "toy", codecs / "scalar", benchmarks, [0], 20)
    (tmp_path / "manifest.json").write_text('{"files": []}')
    with pytest.raises(UserError, match=r"manifest\.json: not what pipeline\.codecs\.fit writes: no key 'module'"):
        measure_module(table, "toy", tmp_path, benchmarks, [0], 20)


def test_the_command_line_gives_the_same_numbers_twice(table, codecs, benchmarks, tmp_path):
    write_embedding(tmp_path / "toy.parquet", table)
    made = []
    for run in "ab":
        arguments = ["--embedding", tmp_path / "toy.parquet", "--codecs", codecs / "binary", "--benchmarks", benchmarks]
        arguments += ["--seeds", 0, 1, "--queries", 20, "--output", tmp_path / f"{run}.parquet"]
        assert stage.run(main, [str(argument) for argument in arguments]) == 0
        found = read_parquet(tmp_path / f"{run}.parquet")
        assert found.schema.remove_metadata() == SCHEMA
        assert found.schema.metadata[b"embedding_digest"].decode() == array_digest(table.vectors)
        made.append([row for row in found.to_pylist() if not row["metric"].endswith("per_s")])
    assert len(made[0]) > 50
    np.testing.assert_equal(made[0], made[1])
    assert {row["embedding"] for row in made[0]} == {"toy"}


def test_wordsim353_of_real_vectors_is_what_scipy_says(tmp_path):
    sets.make_sets({"wordsim353": "packaged"}, "packaged", tmp_path / "benchmarks")
    pairs = read_parquet(tmp_path / "benchmarks/similarity/wordsim353.parquet").to_pylist()
    words = dict.fromkeys(word for pair in pairs for word in (pair["word1"], pair["word2"]))
    table = spacy_md.read(Vocabulary(list(words)), {})
    fit_module(table, "floats", ["float32"], [0], tmp_path / "floats")
    long = measure_module(table, "spacy_md", tmp_path / "floats", tmp_path / "benchmarks", [0], 20).to_pylist()
    (found,) = [row for row in long if row["metric"] == "wordsim353"]

    vectors, key_to_row = spacy_md.load()
    owner = spacy_md.owners(key_to_row)
    row_of = {word: spacy_md.find(word, key_to_row, owner).row for word in table.words}
    both = [pair for pair in pairs if pair["word1"] in row_of and pair["word2"] in row_of]
    cosines = [
        1 - cosine_distance(*(vectors[row_of[pair[w]]].astype(float) for w in ("word1", "word2"))) for pair in both
    ]
    expected = stats.spearmanr(cosines, [pair["score"] for pair in both]).statistic
    assert found["value"] == pytest.approx(expected, abs=1e-6)
    assert found["covered"] == len(both) > 330
    assert found["value"] > 0.5  # real vectors, real scores


# --- spikes -------------------------------------------------------------------------------------------------------


class Faulty(IntegrateFire):
    """Loses a spike of every odd integer."""

    def to_integers(self, train):
        return super().to_integers(train) & ~1


@pytest.mark.parametrize("kind", [IntegrateFire, Faulty])
def test_spikes_are_counted_and_integers_compared(kind):
    x = np.random.default_rng(0).standard_normal((400, 6)).astype(np.float32)
    codec = kind("integrate_fire_15", 0, steps=15).fit(x[:300])
    some = np.concatenate([x[300:], np.full((1, 6), 9, np.float32)])
    codes = codec.encode(some)
    found = {one.metric: one.estimate.value for one in spike_measurements(codec, some, codes, codec.decode(codes))}
    reach = np.abs(x[:300]).max(axis=0)
    q = np.clip(np.rint((some + reach) / (2 * reach / 15)), 0, 15).astype(int)
    assert found["spikes_per_value"] == q.mean()
    assert found["timesteps"] == 15
    beyond = np.abs(some) > reach * (1 + 2e-6)  # a millionth of the range, which is twice as wide
    assert found["clipped_values"] == beyond.mean() > 0
    if kind is IntegrateFire:
        assert found["exact_codes"] == 1
        assert 0.4 < found["largest_error_steps"] < 0.50001
    else:
        assert found["exact_codes"] == (q % 2 == 0).mean() < 1
        assert found["largest_error_steps"] > 1


def test_codes_that_are_no_spikes_have_no_measurements_of_spikes():
    x = np.eye(3, dtype=np.float32)
    codec = build("scalar", "int8", 0).fit(x)
    assert not list(spike_measurements(codec, x, codec.encode(x), x))
