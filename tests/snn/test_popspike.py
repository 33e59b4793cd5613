"""PopSpike: its state, its words' codes, its controls, and the two tasks."""

import re
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline import stage
from pipeline.codec import Array
from pipeline.snn import energy, next_word, operations, popspike, popspike_measure, store_recall, word_sequences
from pipeline.snn.popspike import Options, network, read_options
from pipeline.snn.word_codes import WordCodes, word_codes
from pipeline.snn.working_memory import WorkingMemory, gated
from pipeline.spikes import population
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, write_embedding, write_parquet
from pipeline.training import checkpoint
from pipeline.training.loop import train
from pipeline.training.settings import Settings
from pipeline.training.task import Context, alone

SMALL = {"dims": 8, "neurons": 4, "width": 32}


def table(words: int = 80, dims: int = 12) -> EmbeddingTable:
    vectors = np.random.default_rng(0).normal(size=(words, dims)).astype(np.float32)
    return EmbeddingTable([f"w{row}" for row in range(words)], vectors)


def small_codes(steps: int = 2) -> WordCodes:
    return word_codes(table(), 8, 4, steps)


def test_state_is_held_to_the_bit_until_a_gate_fires() -> None:
    generator = torch.Generator().manual_seed(0)
    value = torch.randint(2, (50, 3, 4), generator=generator).float()
    write = torch.zeros(50, 3, 4)
    write[[5, 40]] = 1
    state = gated(write, value)
    assert not state[:5].any()
    assert torch.equal(state[5:40], value[5].expand(35, 3, 4))
    assert torch.equal(state[40:], value[40].expand(10, 3, 4))


def test_gradient_crosses_what_is_held_unchanged() -> None:
    value = torch.ones(30, 2, requires_grad=True)
    write = torch.zeros(30, 2)
    write[3] = 1
    gated(write, value)[-1].sum().backward()
    assert value.grad is not None
    assert torch.equal(value.grad, write)


def test_words_spike_as_the_population_code_does() -> None:
    codes = small_codes(steps=5)
    code = population.build("population_4_5", 0)
    reach = 2.5 * codes.vectors[:-1].std(axis=0)
    code.shared = {"zero": -reach, "step": 2 * reach}
    expected = code.spike_train(code.encode(codes.vectors[:-1])).to_dense()  # [T, n, P]
    assert (codes.spikes[:-1].transpose(1, 0, 2) == expected).mean() > 0.999  # drives there are of 15 bits
    assert not codes.spikes[codes.silence].any()


@pytest.mark.parametrize("variant", ["without_memory", "dense"])
def test_controls_have_as_many_parameters(variant: str) -> None:
    def count(options: Options) -> int:
        return sum(p.numel() for p in network(popspike.codes_of(table(100, 80), options), options).parameters())

    full, control = count(Options()), count(Options(variant=variant))
    assert abs(control - full) <= 0.01 * full


def test_goes_on_where_it_was_over_any_length() -> None:
    codes = small_codes()
    model = network(codes, read_options(SMALL))
    assert isinstance(model, popspike.PopSpike)
    words = torch.randint(80, (3, 40))
    whole = model(words).counts
    first, carried = model.run(words[:, :23])
    second, _ = model.run(words[:, 23:], carried)
    assert whole.any()
    assert torch.equal(torch.cat([first.counts, second.counts], dim=1), whole)


def test_counts_are_all_the_spikes_of_a_word() -> None:
    codes = small_codes(steps=3)
    model = network(codes, read_options({**SMALL, "timesteps": 3}))
    assert isinstance(model, popspike.PopSpike)
    seen = []
    model.output.register_forward_hook(lambda layer, given, spikes: seen.append(spikes))
    model.output.move_threshold(0.1)
    counts = model(torch.randint(80, (2, 5))).counts
    expected = seen[0].reshape(5, 3, 2, -1).sum(1).transpose(0, 1)  # time goes by word, then by step
    assert torch.equal(counts, expected)
    assert counts.max() > 1


def test_predictions_know_nothing_of_later_words() -> None:
    model = network(small_codes(), read_options(SMALL))
    words = torch.randint(80, (2, 12))
    other = words.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 80
    assert torch.equal(model(words).vectors[:, :7], model(other).vectors[:, :7])


def test_sequences_of_store_recall() -> None:
    rows = store_recall.sequences(np.array([0, 3]), 6, np.random.default_rng(0))
    cues = store_recall.cues(torch.from_numpy(rows))
    assert cues[:, :, 0].argmax(1).tolist() == [4, 1]
    assert cues[:, :, 1].argmax(1).tolist() == [5, 5]
    assert cues.sum().item() == 4
    assert (rows[:, 5] == store_recall.WORDS).all()


def drawn(seed: int, rows: int, mine: slice) -> Context:
    return Context(0, 1, alone, torch.Generator().manual_seed(seed), rows, mine)


def test_batches_are_ends_of_sequences_of_one_length() -> None:
    rows = torch.from_numpy(store_recall.sequences(np.zeros(64, int), 9, np.random.default_rng(0)))
    lengths, behind = set(), set()
    for seed in range(200):
        found = store_recall.shortened(rows, 5, drawn(seed, 64, slice(0, 64)))
        length = found.shape[1] - 1
        distractors = length - 2 - found[:, -1]
        assert torch.equal(found[:, :-1], rows[:, -1 - length : -1])
        assert 0 <= distractors.min() <= distractors.max() <= min(5, length - 2)
        lengths.add(length)
        behind |= set(distractors.tolist())
        parts = [store_recall.shortened(rows[part], 5, drawn(seed, 64, part)) for part in (slice(0, 32), slice(32, 64))]
        assert torch.equal(torch.cat(parts), found)  # of two processes
    assert lengths == set(range(2, 10))
    assert behind == set(range(6))


def test_a_state_lasts_from_the_beginning() -> None:
    model = network(small_codes(), read_options({**SMALL, "width": 256}))
    assert isinstance(model, popspike.PopSpike)
    fired = []
    model.memory.gates.register_forward_hook(lambda module, given, spikes: fired.append(float(spikes.detach().mean())))
    model(torch.randint(80, (20, 20)))
    assert 0 < fired[0] < 0.05


def test_recall_is_measured_behind_other_words_and_beyond_training(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    shown: list[Array] = []
    monkeypatch.setattr(store_recall, "accuracy", lambda model, rows, vectors: shown.append(rows) or 0.5)
    options = Options()
    model = popspike_measure.Model("", options, 0, small_codes(), torch.nn.Identity(), 1.0, longest=16)
    found = list(popspike_measure.recall_rows(model))
    assert found[-1] == ("store_recall", "longest_trained", 16)
    assert [task for task, _, _ in found[:-1]] == [f"store_recall_{d}" for d in (0, 1, 2, 4, 8, 16, 32)]
    assert all((rows[:, -1] == store_recall.BEFORE).all() for rows in shown)
    assert [rows.shape[1] - 3 - store_recall.BEFORE for rows in shown] == [0, 1, 2, 4, 8, 16, 32]


@pytest.mark.slow
def test_memory_is_learned(tmp_path) -> None:  # type: ignore[no-untyped-def]
    write_embedding(tmp_path / "t.parquet", table(80, 40))
    options = {"dims": 32, "width": 128, "longest": 8, "dead_layers": "warn"}
    torch.manual_seed(0)
    task = store_recall.task([tmp_path / "t.parquet"], options)
    how = Settings(steps=300, batch=64, weights={"vector": 1}, learning_rate=0.005, clip_norm=1.0, warmup_steps=20)
    train(task.model, task.data, task.loss, how, tmp_path / "run")
    assert task.held_out is not None
    assert task.held_out(task.model.eval())["accuracy"] > 0.95


def test_contrast_is_cross_entropy_of_cosines() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, targets, others = (torch.randn(n, 6, generator=generator) for n in (5, 5, 7))
    targets, others = (torch.nn.functional.normalize(x, dim=1) for x in (targets, others))
    cosines = [
        [float(torch.cosine_similarity(p, w, dim=0)) for w in [t, *others]]
        for p, t in zip(predicted, targets, strict=True)
    ]
    expected = torch.nn.functional.cross_entropy(3 * torch.tensor(cosines), torch.zeros(5).long(), reduction="none")
    assert torch.allclose(next_word.contrast(predicted, targets, others, torch.tensor(3.0)), expected, atol=1e-5)


def test_ranks_with_prior_are_those_of_all_scores() -> None:
    draw = np.random.default_rng(0)
    words, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (draw.normal(size=(n, 5)) for n in (30, 9)))
    side = popspike_measure.Side(queries.astype(np.float32), words.astype(np.float32))
    prior, right = draw.normal(size=30).astype(np.float32), draw.integers(30, size=9)

    def expected(scores: Array) -> list[int]:
        return [1 + int((row > row[word]).sum()) for row, word in zip(scores, right, strict=True)]

    similar = queries @ words.T
    assert popspike_measure.by_similarity(side, right).tolist() == expected(similar)
    found = popspike_measure.by_prior(side, prior, (1.0, 2.0), right)
    assert found.tolist() == [expected(a * similar + prior) for a in (1, 2)]


def test_ranks_of_bits_are_those_of_faiss() -> None:
    draw = np.random.default_rng(0)
    words, queries = (draw.random(size=(n, 6)) < 0.5 for n in (50, 200))  # 64 codes: most distances are tied
    side, right = popspike_measure.of_bits(queries, words), draw.integers(50, size=200)
    assert side.nbytes == 1
    every = popspike_measure.nearest(side, 50) == right[:, None]
    assert every.any(axis=1).all()
    assert popspike_measure.by_similarity(side, right).tolist() == (every.argmax(axis=1) + 1).tolist()
    assert len(set(popspike_measure.nearest(side, 1)[:, 0].tolist())) > 10


def test_ranks_of_words_with_one_vector_are_those_of_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the first few of a search ranks are counted, and ties fall there as in it."""
    draw = np.random.default_rng(0)
    vectors = np.sign(draw.normal(size=(4, 16))).astype(np.float32) / 4  # sums are exact: all of one vector are tied
    side = popspike_measure.Side(np.repeat(vectors, 10, axis=0), np.tile(vectors, (10, 1)))
    right = draw.integers(40, size=40)
    every = popspike_measure.nearest(side, 40) == right[:, None]
    monkeypatch.setattr(popspike_measure, "TOP", 1)
    found = popspike_measure.by_prior(side, np.zeros(40), (1.0,), right)[0]
    assert found.tolist() == (every.argmax(axis=1) + 1).tolist()


def test_the_weight_of_the_prior_is_the_best_on_validation_and_not_on_test() -> None:
    """Validation asks for what is near, test for what is frequent: validation's weight is the greatest all the same."""
    words = np.eye(40, dtype=np.float32)
    prior = -np.arange(40, dtype=np.float32)
    near, frequent = np.arange(20, 40), np.zeros(20, np.int64)
    side = popspike_measure.Side(words[near], words)
    found = popspike_measure.searched({"decoded": side}, {"decoded": side}, (near, frequent), prior)
    ranks = popspike_measure.by_prior(side, prior, popspike_measure.PRIOR_WEIGHTS, frequent)
    scores = [popspike_measure.metrics(one) for one in ranks]
    assert found["decoded+prior"] == scores[-1] != scores[0]


def test_how_many_words_ridge_reads_is_chosen_by_validation_alone(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def drawn(seed: int, count: int) -> popspike_measure.Places:
        chunks = np.random.default_rng(seed).integers(80, size=(count, 20))
        return popspike_measure.Places(chunks, np.arange(count), np.full(count, 18), chunks[:, 19])

    fitted, validation, test = drawn(0, 60), drawn(1, 7), drawn(2, 9)
    ranks, asked = iter((3, 2, 1, 2)), list[popspike_measure.Side]()

    def by_similarity(side: popspike_measure.Side, right: Array) -> Array:
        assert right is validation.next
        asked.append(side)
        return np.full(len(right), next(ranks))

    monkeypatch.setattr(popspike_measure, "by_similarity", by_similarity)
    *found, words_read = popspike_measure.ridge_predictions(fitted, validation, test, small_codes())
    assert words_read == popspike_measure.RIDGE_WORDS[2]
    assert [len(x) for x in found] == [7, 9]
    assert found[0] is asked[2].queries


def test_frequencies_are_those_of_training_words(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The only word of the test text is the second in the training text, and not in the validation text."""
    for part, words in (("train", [3] * 30 + [4] * 20), ("validation", [5] * 40), ("test", [4] * 40)):
        tokens = pa.table({"tokens": pa.array([words], pa.list_(pa.int32()))})
        write_parquet(tmp_path / f"{part}.parquet", tokens, {"words": "80"})
    model = popspike_measure.Model("", read_options(SMALL), 0, small_codes(), torch.nn.Identity(), 0.0, None)
    unigram = islice(popspike_measure.next_word_rows([model], tmp_path, table(), 10), 3)
    found = {(variant, metric): value for _, variant, _, metric, value, _ in unigram}
    assert found["unigram", "mean_reciprocal_rank"] == 0.5


def test_words_are_coded_alike_whatever_is_predicted() -> None:
    codes = small_codes()
    counts = codes.spikes.sum(1)
    one, other = (
        popspike_measure.sides({"decoded": codes.vectors[rows] + moved, "spikes": counts[rows]}, codes)
        for rows, moved in ((slice(5), 0), (slice(5, 9), 0.5))
    )
    for name, side in one.items():
        assert (side.words == other[name].words).all(), name


def test_a_gate_that_does_not_fire_writes_nothing() -> None:
    layer = WorkingMemory(6, 4, 1.0, memory=True)
    value, write = torch.ones(3, 2, 4), torch.zeros(3, 2, 4)
    write[1, 0, :3] = 1
    layer._state(value, write)
    assert layer.operations == {"accumulates": 3, "state": 4}
    layer._state(value, 0 * write)
    assert energy.layer(operations.Layer(**layer.operations), energy.FLOAT32) == (0, 0)


def test_hamming_distance_in_unary_is_that_of_counts() -> None:
    counts = np.random.default_rng(0).integers(5, size=(20, 7))
    bits = popspike_measure.unary(counts, 4)
    assert bits.shape == (20, 28)
    assert ((bits[:1] != bits).sum(1) == abs(counts[:1] - counts).sum(1)).all()


def test_each_index_says_what_a_word_takes() -> None:
    codes = small_codes(steps=3)
    queries = {"decoded": codes.vectors[:5], "spikes": codes.spikes[:5].sum(1)}
    found = popspike_measure.sides(queries, codes)
    assert {name: side.nbytes for name, side in found.items()} == {
        "decoded": 4 * 8,
        "hamming": 1,
        "spikes": 4 * 8 * 4,
        "spike_bits": 8 * 4 * 3 // 8,
    }
    for side in found.values():  # words asked for by their own codes
        best = (side.queries * side.words[:5]).sum(1)
        assert (best[:, None] >= side.queries @ side.words.T - 1e-5).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timesteps": 0}, "timesteps must be a whole number of at least 1, not 0"),
        ({"model": "huge"}, "model 'huge' is not one of small"),
        ({"variant": "lstm"}, "variant 'lstm' is not one of"),
        ({"dead_layers": "ignore"}, "dead_layers 'ignore' is not one of"),
        ({"wide": 3}, "unknown key 'wide'"),
    ],
)
def test_options_are_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_options(options)


def test_words_of_another_table_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    write_embedding(tmp_path / "t.parquet", table())
    tokens = pa.table({"tokens": pa.array([[1, 2, 99, 80]], pa.list_(pa.int32()))})
    for name, words in (("other", "81"), ("bad", "80")):
        write_parquet(tmp_path / f"{name}.parquet", tokens, {"words": words})
    with pytest.raises(UserError, match=r"other\.parquet: its numbers are of a table of 81 words"):
        next_word.task([tmp_path / "t.parquet", *[tmp_path / "other.parquet"] * 2], {**SMALL, "length": 2})
    with pytest.raises(UserError, match=r"bad\.parquet: row 0 of row group 0 holds token 99, expected 0 to 80"):
        next_word.task([tmp_path / "t.parquet", *[tmp_path / "bad.parquet"] * 2], {**SMALL, "length": 2})


@pytest.mark.parametrize("wrong", [-1, 80])
def test_numbers_that_no_word_has_are_refused_where_words_are_ranked(tmp_path, wrong: int) -> None:  # type: ignore[no-untyped-def]
    tokens = pa.table({"tokens": pa.array([[1, 2, 80], [3, wrong, 80]], pa.list_(pa.int32()))})
    write_parquet(tmp_path / "test.parquet", tokens, {"words": "80"})
    with pytest.raises(UserError, match=rf"test\.parquet: row 1 holds token {wrong}, expected 0 to 79"):
        word_sequences.read(tmp_path / "test.parquet", 80)


@pytest.mark.parametrize(("row", "said"), [(None, "is null"), ([3, None, 80], "holds a null token")])
def test_nulls_among_words_are_refused_by_file_and_row(tmp_path, row: object, said: str) -> None:  # type: ignore[no-untyped-def]
    write_embedding(tmp_path / "t.parquet", table())
    tokens = pa.table({"tokens": pa.array([[1, 2, 80], row], pa.list_(pa.int32()))})
    write_parquet(tmp_path / "test.parquet", tokens, {"words": "80"})
    with pytest.raises(UserError, match=rf"test\.parquet: row 1 {said}"):
        word_sequences.read(tmp_path / "test.parquet", 80)
    with pytest.raises(UserError, match=rf"test\.parquet: row 1 of row group 0 {said}"):
        next_word.task([tmp_path / "t.parquet", *[tmp_path / "test.parquet"] * 2], {**SMALL, "length": 2})


def test_sequences_come_back_without_their_ends(tmp_path) -> None:  # type: ignore[no-untyped-def]
    tokens = pa.table({"tokens": pa.array([[1, 2, 80], [80], [3, 80]], pa.list_(pa.int32()))})
    write_parquet(tmp_path / "test.parquet", tokens, {"words": "80"})
    found = word_sequences.read(tmp_path / "test.parquet", 80)
    assert [row.tolist() for row in found] == [[1, 2], [], [3]]
    assert {row.dtype.name for row in found} == {"int32"}


@pytest.mark.parametrize(("module", "own"), [(next_word, "length"), (store_recall, "longest")])
def test_an_unknown_option_is_told_all_that_are_known(module: ModuleType, own: str) -> None:
    known = ", ".join(sorted([*popspike.Options._fields, own]))
    with pytest.raises(UserError, match=f"^options: unknown key 'wide'; known are {known}$"):
        module.asked({"wide": 3})


def test_documents_too_short_to_predict_are_refused_by_file() -> None:
    short = [np.zeros(popspike_measure.CONTEXT, np.int32)]
    with pytest.raises(UserError, match=r"test\.parquet: no document has more than 16 known words"):
        popspike_measure.places(short, 10, 80, Path("test.parquet"))


def test_fewer_than_64_words_are_refused() -> None:
    with pytest.raises(UserError, match="64 words, and the table has 50 with different vectors"):
        store_recall.chosen_words(table(50))


def test_unknown_words_are_left_out() -> None:
    assert word_sequences.numbered("the cat sat", {"the": 0, "sat": 4}) == ([0, 4], 3)


def test_a_dead_layer_stops_the_run_by_name(tmp_path) -> None:  # type: ignore[no-untyped-def]
    write_embedding(tmp_path / "t.parquet", table())
    task = store_recall.task([tmp_path / "t.parquet"], SMALL)
    task.model.output.move_threshold(1e6)  # type: ignore[operator, union-attr]
    with pytest.raises(UserError, match="layer output: no neuron fired"):
        train(task.model, task.data, task.loss, Settings(steps=1, batch=8, weights={"vector": 1}), tmp_path / "run")


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    options = {**SMALL, "timesteps": 1}
    model = network(popspike.codes_of(table(), read_options(options)), read_options(options))
    weights = {f"model.{name}": x for name, x in model.state_dict().items()}
    path = tmp_path / "m.safetensors"
    facts = {"module": "pipeline.snn.next_word", "settings": {"seed": 0}, "result": {"seconds": 1.0}, "data": ""}
    given = tmp_path / "t.parquet", table(), None
    checkpoint.write(path, weights, {**facts, "options": {**options, "width": 16}})
    with pytest.raises(UserError, match=r"m\.safetensors: of another architecture: memory\."):
        popspike_measure.read_model(path, *given)
    checkpoint.write(path, weights, {**facts, "options": options})
    assert popspike_measure.read_model(path, *given).seed == 0
    checkpoint.write(path, weights, {**facts, "module": "pipeline.training.skipgram", "options": options})
    with pytest.raises(UserError, match=r"m\.safetensors: a network of pipeline\.training\.skipgram"):
        popspike_measure.read_model(path, *given)
    checkpoint.write(path, weights, {**facts, "options": {**options, "dims": 13}})
    with pytest.raises(UserError, match=r"m\.safetensors: options: dims is 13, and the vectors of the table have 12"):
        popspike_measure.read_model(path, *given)


@pytest.mark.parametrize("module", [next_word, store_recall])
def test_networks_of_another_table_are_refused(tmp_path, module) -> None:  # type: ignore[no-untyped-def]
    tokens = pa.table({"tokens": pa.array([[*range(80), 80]], pa.list_(pa.int32()))})
    for part in word_sequences.PARTS:
        write_parquet(tmp_path / f"{part}.parquet", tokens, {"words": "80"})
    write_embedding(tmp_path / "t.parquet", table())
    options = SMALL if module is store_recall else {**SMALL, "length": 8}
    parts = [] if module is store_recall else [tmp_path / f"{part}.parquet" for part in ("train", "validation")]
    model, data, *_ = module.task([tmp_path / "t.parquet", *parts], options)
    facts = {"module": module.__name__, "options": options, "settings": {"seed": 7}, "result": {"seconds": 1.0}}
    weights = {f"model.{name}": x for name, x in model.state_dict().items()}
    checkpoint.write(tmp_path / "m.safetensors", weights, {**facts, "data": data.identity})
    given = tmp_path / "m.safetensors", tmp_path / "t.parquet"
    assert popspike_measure.read_model(*given, table(), tmp_path).seed == 7
    other = EmbeddingTable(table().words, table().vectors[::-1].copy())
    with pytest.raises(UserError, match=r"m\.safetensors: trained on other data than .*t\.parquet"):
        popspike_measure.read_model(*given, other, tmp_path)


def test_a_network_that_is_broken_is_one_line_and_no_rows(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    write_embedding(tmp_path / "t.parquet", table())
    model, data, *_ = store_recall.task([tmp_path / "t.parquet"], SMALL)
    weights = {f"model.{name}": torch.full_like(x, torch.nan) for name, x in model.state_dict().items()}
    facts = {"module": store_recall.__name__, "options": SMALL, "settings": {"seed": 7}, "result": {"seconds": 1.0}}
    checkpoint.write(tmp_path / "m.safetensors", weights, {**facts, "data": data.identity})
    given = ["--embedding", "t.parquet", "--words", "", "--models", "m.safetensors", "--output", "out.parquet"]
    assert stage.run(popspike_measure.main, [str(tmp_path / one) if "." in one else one for one in given]) == 1
    assert re.fullmatch(r"error: \S+m\.safetensors: \S+ holds NaN or infinity: no weights\n", capsys.readouterr().err)
    assert not (tmp_path / "out.parquet").exists()
