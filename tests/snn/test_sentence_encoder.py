import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.codecs import ridge
from pipeline.corpus import tokenizer
from pipeline.snn import language, sentence_encoder, sentences
from pipeline.snn.transformer import parameters
from pipeline.stage import UserError
from pipeline.store import read_parquet, unit_rows, write_parquet
from pipeline.training import settings
from pipeline.training.loop import train

OPTIONS = {"dims": 8, "heads": 2, "hidden": 24, "blocks": 1, "context": 8, "timesteps": 2, "code": 6}
BOTH = pytest.mark.parametrize("variant", sentence_encoder.VARIANTS)


def drawn(count, vocabulary, context=8, seed=0):
    """Rows as `sentence_encoder.read` has them."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, context + 1), np.int32)
    for row in rows:
        row[-1] = rng.integers(1, context + 1)
        row[: row[-1]] = rng.integers(vocabulary, size=row[-1])
    return rows


def unit(count, dims, seed):
    return unit_rows(np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32))


def random(variant="spiking", **options):
    """An encoder of which nothing is as it begins."""
    torch.manual_seed(0)
    model = sentence_encoder.build(20, 5, {**OPTIONS, "variant": variant, **options})[0].eval()
    for x in (model.vectors, model.code.weight, model.gain.weight):
        torch.nn.init.normal_(x)
    torch.nn.init.normal_(model.weight, std=0.02)
    return model


@BOTH
def test_what_stands_behind_a_sentence_changes_nothing(variant):
    model = random(variant)
    tokens = torch.randint(20, (4, 8))
    lengths = torch.tensor([3, 8, 1, 5])
    code, y = model(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(tokens[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0][0], code[row])
        torch.testing.assert_close(alone[1][0], y[row])
    for layer in (model.code, model.gain):  # both are heard
        kept = layer.weight.detach().clone()
        layer.weight.data.zero_()
        assert not torch.allclose(model(tokens, lengths)[0], code)
        layer.weight.data.copy_(kept)
    if variant == "spiking":
        assert (code == code.round()).all()
        assert code.abs().max() > 0


def test_both_encoders_have_as_many_parameters():
    spiking, dense = (parameters(sentence_encoder.build(600, 32, {"variant": v})[0]) for v in sentence_encoder.VARIANTS)
    assert dense == pytest.approx(spiking, rel=0.01)


@pytest.mark.parametrize("code", [3, 6, 9])
@BOTH
def test_it_begins_as_ridge_regression(variant, code):
    rows, aim, tokens = drawn(80, 30), unit(80, 6, 1), unit(30, 6, 2) * 3
    torch.manual_seed(0)
    model = sentence_encoder.build(30, 6, {**OPTIONS, "variant": variant, "code": code})[0].eval()
    model.begin(tokens, rows, aim, np.random.default_rng(0))
    seen = [[token in row[: row[-1]] for row in rows] for token in range(30)]
    inputs = np.log(81 / (np.sum(seen, 1) + 1))[:, None] * tokens / 3
    means = np.stack([inputs[row[: row[-1]]].sum(0) / np.sqrt(row[-1]) for row in rows])
    wanted = means @ ridge.solve(means, aim)
    with torch.no_grad():
        c, y = sentence_encoder.encoded(model, torch.from_numpy(rows))
    if variant == "dense":
        assert float(c.std(correction=0)) == pytest.approx(3, rel=1e-5)
        if code < 6:  # the part of it in the directions of most variance
            axes = np.linalg.svd(means @ ridge.solve(means, aim), full_matrices=False)[2][:code]
            wanted = wanted @ axes.T @ axes
        np.testing.assert_allclose(unit_rows(y.numpy()), unit_rows(wanted.astype(np.float32)), atol=1e-4)
    else:
        summed = model.currents(torch.from_numpy(rows[:, :-1]).long(), torch.from_numpy(rows[:, -1]).long()).sum(1)
        assert float((c - summed.detach() * 3).abs().max()) <= 0.5 + 1e-4
        if code >= 6:  # rounding moves directions, a little
            assert float((unit_rows(y.numpy()) * unit_rows(wanted.astype(np.float32))).sum(1).mean()) > 0.85


def test_gradients_pass_rounding_and_reach_every_layer():
    model = random(dropout=0.0)
    model.threshold.fill_(0.5)
    rows = torch.from_numpy(drawn(6, 20))
    code, _ = sentence_encoder.encoded(model, rows)
    mixed = torch.randn(6, 6)
    (code * mixed).sum().backward()
    got = model.code.weight.grad.clone()
    model.zero_grad()
    exact = model.currents(rows[:, :-1].long(), rows[:, -1].long()).sum(1) / 0.5
    (exact * mixed).sum().backward()
    torch.testing.assert_close(got, model.code.weight.grad)
    silent = [name for name, x in model.named_parameters() if x.grad is None or not x.grad.any()]
    assert silent == ["read.weight"]
    assert not model.read.weight.requires_grad


def test_the_threshold_follows_the_spread_of_the_sums():
    model = random(dropout=0.0, resolution=4)
    rows = torch.from_numpy(drawn(60, 20))
    sentence_encoder.encoded(model, rows)
    assert float(model.threshold) == 1
    model.train()
    for _ in range(200):
        code, _ = sentence_encoder.encoded(model, rows)
    assert float(code.detach().std()) == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("size", [0.1, 0.6, 4.0])
def test_spikes_add_up_to_the_code(size):
    currents = np.random.default_rng(0).standard_normal((9, 50)) * size
    spikes = sentence_encoder.fired(currents, 2)
    assert set(np.unique(spikes)) <= {-1, 0, 1}
    np.testing.assert_array_equal(spikes.sum(0), np.round(currents.sum(0)))
    assert spikes[:18].any()
    assert not spikes[-1].any()
    assert len(spikes) > 19 or size < 1  # what is left is fired behind the end


def test_recall_against_plain_numpy():
    z, aim = unit(14, 4, 0), unit(14, 6, 1)
    near, wanted = ([{*np.argsort(-row)[:10]} for row in x @ x.T - 9 * np.eye(14, dtype=np.float32)] for x in (z, aim))
    share = np.mean([len(a & b) / 10 for a, b in zip(near, wanted, strict=True)])
    assert sentence_encoder.recall(torch.from_numpy(3 * z), torch.from_numpy(aim)) == pytest.approx(share)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, tokens = tmp_path_factory.mktemp("sentences"), unit(30, 6, 5)
    weight = np.random.default_rng(7).lognormal(sigma=1, size=30)[:, None]
    for seed, (name, count) in enumerate({"train": 400, "validation": 60}.items()):
        rows = drawn(count, 30, seed=seed)
        vectors = sentence_encoder.summed(weight * tokens, rows)
        table = sentences.table([f"{name} {i}" for i in range(count)], vectors, [row[: row[-1]] for row in rows])
        write_parquet(folder / f"{name}.parquet", table)
    write_parquet(folder / "tokens.parquet", sentences.table([f"t{i}" for i in range(30)], tokens))
    return [folder / f"{name}.parquet" for name in ("train", "validation", "tokens")]


@BOTH
def test_a_training_learns_what_ridge_cannot(files, variant, tmp_path):
    """The sentence model has weights of tokens that ridge regression does not know."""
    torch.manual_seed(0)
    task = sentence_encoder.task(files, {**OPTIONS, "dropout": 0.0, "code": 12, "variant": variant})
    with torch.no_grad():
        before = task.held_out(task.model.eval())
    chosen = settings.Settings(steps=30, batch=40, weights={"cosine": 1, "similarity": 10}, learning_rate=6e-3)
    train(task.model, task.data, task.loss, chosen, tmp_path, task.held_out)
    with torch.no_grad():
        after = task.held_out(task.model.eval())
    assert after["cosine"] > before["cosine"] + 0.02
    assert set(after) == {"cosine", "recall"}


def test_files_that_cannot_be(files):
    with pytest.raises(UserError, match="not 2 files"):
        sentence_encoder.task(files[:2], OPTIONS)
    with pytest.raises(UserError, match=r"train.parquet: row \d+ has \d tokens, and the context is 2"):
        sentence_encoder.task(files, {**OPTIONS, "context": 2})
    assert sentence_encoder.read(files[0])[0].shape[1] <= 9


def changed(files, folder, which, change):
    """The same three files, a copy of one of them with other columns: `change` of its tokens (lists) and vectors."""
    found = read_parquet(files[which])
    tokens = found["tokens"].to_pylist() if "tokens" in found.column_names else None
    vectors = np.array(found["vector"].to_pylist(), np.float32)
    tokens, vectors = change(tokens, vectors)
    write_parquet(folder / "bad.parquet", sentences.table([str(n) for n in range(len(vectors))], vectors, tokens))
    return [folder / "bad.parquet" if number == which else file for number, file in enumerate(files)]


def with_token(token):
    def change(tokens, vectors):
        tokens[7][-1] = token
        return tokens, vectors

    return change


def with_sentence(sentence):
    def change(tokens, vectors):
        tokens[7] = sentence
        return tokens, vectors

    return change


def with_vector(value):
    def change(tokens, vectors):
        vectors[9] = value
        return tokens, vectors

    return change


def cut(tokens, vectors):
    return tokens, vectors[:, :5]


def first(count):
    return lambda tokens, vectors: (tokens[:count] if tokens else None, vectors[:count])


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        *((part, with_token(30), "row 7 holds token 30, expected 0 to 29") for part in (0, 1)),
        *((part, with_token(-2), "row 7 holds token -2, expected 0 to 29") for part in (0, 1)),
        *((part, with_token(None), "row 7 holds a null token") for part in (0, 1)),
        *((part, with_sentence(None), "row 7 is null") for part in (0, 1)),
        *((part, with_sentence([]), "row 7 has 0 tokens, and the context is 8") for part in (0, 1)),
        *((part, with_vector([1, np.nan, 0, 0, 0, 0]), "row 9 holds NaN or infinity") for part in (0, 1, 2)),
        *((part, with_vector(0), "row 9 is a zero vector") for part in (0, 1, 2)),
        *((part, cut, "its vectors have 5 values, and those of .*train.parquet 6") for part in (1, 2)),
        *((part, first(1), "1 sentences; at least 2 are needed") for part in (0, 1)),
        *((part, first(0), "0 sentences; at least 2 are needed") for part in (0, 1)),
        (2, first(0), r"a table of vectors of shape \(0, 6\) holds nothing"),
        (2, first(12), None),
    ],
)
def test_what_cannot_be_trained_on_is_named_by_file_and_row(files, tmp_path, which, change, said):
    inputs = changed(files, tmp_path, which, change)
    named = rf"^\S*bad\.parquet: {said}$" if said else r"^\S*train\.parquet: row \d+ holds token \d+, expected 0 to 11$"
    with pytest.raises(UserError, match=named):
        sentence_encoder.task(inputs, OPTIONS)


@pytest.mark.parametrize(
    ("which", "name", "column", "said"),
    [
        (0, "tokens", pa.array(["a"] * 400), "is string, not list<int32>"),
        (0, "vector", pa.array([1.0] * 400), "is double, not fixed_size_list<float32>"),
        (1, "vector", pa.array([[1.0] * 6] * 60), "is list<.*>, not fixed_size_list<float32>"),
        (2, "vector", pa.array([1.0] * 30), "is double, not fixed_size_list<float32>"),
    ],
)
def test_columns_of_another_type_are_refused(files, tmp_path, which, name, column, said):
    found = read_parquet(files[which])
    write_parquet(tmp_path / "bad.parquet", found.set_column(found.column_names.index(name), name, column))
    inputs = [tmp_path / "bad.parquet" if number == which else file for number, file in enumerate(files)]
    with pytest.raises(UserError, match=rf"^\S*bad\.parquet: column '{name}' {said}$"):
        sentence_encoder.task(inputs, OPTIONS)


def test_an_unknown_option_is_told_all_that_are_known():
    known = ", ".join(sorted([*language.How._fields, "variant", "code", "resolution"]))
    with pytest.raises(UserError, match=f"^options: unknown key 'wide'; known are {known}$"):
        sentence_encoder.build(20, 5, {**OPTIONS, "wide": 3})


def test_options_that_cannot_be_are_refused():
    wrong = {"variant": "other", "code": 0, "timesteps": 0, "resolution": 0}
    for name, value in wrong.items():
        with pytest.raises(UserError, match=name):
            sentence_encoder.build(20, 5, {**OPTIONS, name: value})


def test_sentences_end_at_stops_and_lines():
    text = "One two three four five. Six seven eight nine ten!\nToo short.\nNo stop at e.g. this small letter here"
    assert sentences.sentences(text) == [
        "One two three four five.",
        "Six seven eight nine ten!",
        "No stop at e.g. this small letter here",
    ]


def test_tokens_are_told_without_white_space():
    made = tokenizer.train([["the tiger and the cat", "the tiger sleeps"] * 9], 275)
    texts = sentences.token_texts(made)
    assert len(texts) == 275
    assert {"the", "tiger", "<|endoftext|>", "a"} <= set(texts)
    assert all(text == text.strip() for text in texts)
