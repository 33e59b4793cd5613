import numpy as np
import pytest
import torch

from pipeline import store
from pipeline.codecs import ridge
from pipeline.evaluation import sentence_encoder as evaluation
from pipeline.snn import measurements, sentence_encoder, sentences
from pipeline.stage import UserError
from pipeline.store import unit_rows, write_parquet
from pipeline.training import checkpoint

OPTIONS = {"dims": 8, "heads": 2, "hidden": 24, "blocks": 1, "context": 8, "timesteps": 2, "code": 16}
COUNTS = {"train": 90, "validation": 12, "test": 30}


def unit(count, dims, seed):
    return unit_rows(np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, rng = tmp_path_factory.mktemp("sentences"), np.random.default_rng(0)
    tokens, turn = unit(50, 12, 5), rng.standard_normal((12, 12))
    for name, count in COUNTS.items():
        rows = [rng.integers(50, size=rng.integers(2, 9)) for _ in range(count)]
        vectors = np.stack([tokens[row].sum(0) @ turn for row in rows])  # a linear teacher
        texts = [f"{name} {number}" for number in range(count)]
        write_parquet(made / f"{name}.parquet", sentences.table(texts, vectors, rows))
    write_parquet(made / "tokens.parquet", sentences.table([f"t{i}" for i in range(50)], tokens))
    return made


@pytest.fixture(scope="module")
def models(folder, tmp_path_factory):
    found = []
    for variant in sentence_encoder.VARIANTS:
        torch.manual_seed(0)
        options = {**OPTIONS, "variant": variant}
        inputs = [folder / f"{name}.parquet" for name in ("train", "validation", "tokens")]
        model, data, *_ = sentence_encoder.task(inputs, options)
        facts = {"module": evaluation.MODULE, "options": options, "settings": {"seed": 3}, "result": {"seconds": 1.5}}
        facts["data"] = data.identity
        found.append(tmp_path_factory.mktemp("models") / f"{variant}-3.safetensors")
        checkpoint.write(found[-1], {f"model.{name}": x for name, x in model.state_dict().items()}, facts)
    return found


@pytest.fixture(scope="module")
def found(folder, models):
    return evaluation.measured(folder, models, folder.parent / "vectors.parquet")


def nearest(scores):
    np.fill_diagonal(scores, -np.inf)
    return [set(np.argsort(-row)[:10]) for row in scores]


def share(scores, teacher):
    pairs = zip(nearest(scores), nearest(teacher @ teacher.T), strict=True)
    return np.mean([len(a & b) / 10 for a, b in pairs])


def test_searches_against_plain_numpy(folder, models, found):
    value = {(row["variant"], row["search"]): row for row in found if row["task"] == "sentence_retrieval"}
    test, teacher = sentence_encoder.read(folder / "test.parquet")
    train, aim = sentence_encoder.read(folder / "train.parquet")
    saved = checkpoint.read(models[0])
    model, _ = sentence_encoder.build(50, 12, saved.facts["options"])
    model.load_state_dict(saved.part("model"))
    y, code = evaluation.encoded(model.eval(), test)
    fit = evaluation.encoded(model, train)[1]
    cut, base = np.clip(code, -7, 7), np.clip(fit, -7, 7).mean(0)
    bits = np.where(code > np.median(fit, axis=0), 1, -1)
    assert value["spiking", "decoded"]["value"] == pytest.approx(share(unit_rows(y) @ unit_rows(y).T, teacher))
    counts = unit_rows(cut - base)
    assert value["spiking", "counts"]["value"] == pytest.approx(share(counts @ counts.T, teacher), abs=0.01)
    # of equal distances any may be taken
    assert value["spiking", "hamming"]["value"] == pytest.approx(share(bits @ bits.T * 1.0, teacher), abs=0.1)
    assert [value["spiking", one]["bytes_per_vector"] for one in ("decoded", "counts", "hamming")] == [48, 8, 2]
    assert value["spiking", "counts"]["spikes_per_value"] == pytest.approx(np.abs(cut).mean())
    assert value["spiking", "phase_4"]["bytes_per_vector"] > 6
    assert value["spiking", "sign_centered"]["spikes_per_value"] is None
    assert value["dense", "decoded"]["value"] > value["tokens", "decoded"]["value"] + 0.1
    assert value["ridge", "decoded"]["value"] > value["tokens", "decoded"]["value"] + 0.1
    assert {(row["variant"], row["seed"]) for row in found} == {
        *(("spiking", 3), ("dense", 3), ("ridge", -1), ("tokens", -1))
    }
    assert aim.shape == (90, 12)
    measurements.table(found)


@pytest.mark.parametrize("whole", [True, False])
def test_searches_learn_of_training_sentences_and_not_of_test(whole):
    """Test vectors to which what was learnt does not apply: searches that learnt of themselves would find more."""
    y, rng = unit(60, 12, 1), np.random.default_rng(2)
    code = 3 * y @ np.linalg.qr(rng.standard_normal((12, 12)))[0]
    code, elsewhere = (np.round(2 * code), np.round(2 * code) + 9) if whole else (code, 1000 * code + 9)
    true = evaluation.truth(y)
    own, other = (
        {one.search: one.overlap for one in evaluation.searches(y, code, *fit, true)}
        for fit in ((y, code), (y + 9, elsewhere))
    )
    assert other["decoded"] == own["decoded"]
    for name in own.keys() - {"decoded"}:
        assert other[name] < own[name] - 0.05, name


def test_what_is_learnt_is_handed_training_sentences(folder, models, monkeypatch):
    searched, solved, solve = [], [], ridge.solve
    monkeypatch.setattr(evaluation, "searches", lambda *given: searched.append([*map(len, given)]) or iter(()))
    monkeypatch.setattr(ridge, "solve", lambda x, y: solved.append((len(x), len(y))) or solve(x, y))
    evaluation.measured(folder, models)
    assert searched == [[30, 30, 90, 90, 30]] * 4  # both networks, ridge, tokens
    assert solved == [(90, 90)]


def test_spikes_of_the_code_are_in_what_it_costs(folder, models):
    saved = checkpoint.read(models[0])
    model, _ = sentence_encoder.build(50, 12, saved.facts["options"])
    model.load_state_dict(saved.part("model"))
    test, _ = sentence_encoder.read(folder / "test.parquet")
    model.eval()
    layers = evaluation.costs(model, test[:5])
    lengths = test[:5, -1].astype(int)
    assert layers["counted"].accumulates == lengths.sum() * 16
    assert layers["counted"].updates >= 2 * lengths.sum() * 16
    assert layers["counted"].spikes >= np.abs(evaluation.encoded(model, test[:5])[1]).sum()
    assert layers["read"].accumulates == np.abs(evaluation.encoded(model, test[:5])[1]).sum() * 12
    assert "current" not in layers  # folded into the look-up
    assert layers["enter"].macs == lengths.sum() * 16 * 8


def test_vectors_are_a_table_of_all_sentences(folder, found, models):
    table = store.read_embedding(folder.parent / "vectors.parquet")
    assert len(table.words) == sum(COUNTS.values())
    assert table.words[:2] == ["test 0", "test 1"]
    with pytest.raises(UserError, match=r"none of .*dense-3\.safetensors is a spiking network"):
        evaluation.measured(folder, models[1:], folder.parent / "none.parquet")


def test_files_are_read_once(folder, models, monkeypatch):
    paths, read = [], store.read_parquet
    monkeypatch.setattr(store, "read_parquet", lambda path, *how: paths.append(path.name) or read(path, *how))
    evaluation.measured(folder, models)
    assert sorted(paths) == ["test.parquet", "tokens.parquet", "train.parquet"]


def test_rows_are_those_of_a_longer_context(folder):
    rows, _ = sentence_encoder.read(folder / "train.parquet")
    longer, _ = sentence_encoder.read(folder / "train.parquet", 11)
    np.testing.assert_array_equal(sentence_encoder.padded(rows, 11), longer)


def test_networks_that_are_none_of_these_are_named(folder, models, tmp_path):
    saved = checkpoint.read(models[0])
    weights = {f"model.{name}": x for name, x in saved.part("model").items()}
    nan = {name: torch.full_like(x, np.nan) for name, x in weights.items()}
    for tensors, facts, message in (
        (weights, {"module": "other"}, r"other\.safetensors: a network of other"),
        (weights, {"options": {**OPTIONS, "code": 5}}, r"other\.safetensors: of another architecture"),
        (weights, {"options": {**OPTIONS, "code": 0}}, r"other\.safetensors: options: code must be a whole number"),
        (weights, {"options": {**OPTIONS, "context": 7}}, r"other\.safetensors: a context of 7, and .* 8 tokens"),
        (weights, {"data": "0"}, r"other\.safetensors: trained on other data than .*train\.parquet"),
        (weights, {"result": {}}, r"other\.safetensors: not a finished training \(no result\.seconds\)"),
        (nan, {}, r"other\.safetensors: \S+ holds NaN or infinity"),
    ):
        checkpoint.write(tmp_path / "other.safetensors", tensors, {**saved.facts, **facts})
        with pytest.raises(UserError, match=message):
            evaluation.measured(folder, [tmp_path / "other.safetensors"])
