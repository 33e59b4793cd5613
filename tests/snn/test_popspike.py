"""PopSpike: its state, its words' codes, its controls, and the two tasks."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.codec import Array
from pipeline.snn import next_word, popspike, popspike_measure, store_recall, word_sequences
from pipeline.snn.popspike import Options, network, read_options
from pipeline.snn.word_codes import WordCodes, word_codes
from pipeline.snn.working_memory import gated
from pipeline.spikes import population
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, write_embedding, write_parquet
from pipeline.training import checkpoint
from pipeline.training.loop import train
from pipeline.training.settings import Settings

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


@pytest.mark.slow
def test_memory_is_learned(tmp_path) -> None:  # type: ignore[no-untyped-def]
    write_embedding(tmp_path / "t.parquet", table(80, 40))
    options = {"dims": 32, "width": 128, "longest": 8, "dead_layers": "warn"}
    torch.manual_seed(0)
    task = store_recall.task([tmp_path / "t.parquet"], options)
    how = Settings(steps=600, batch=64, weights={"vector": 1}, learning_rate=0.003, clip_norm=1.0, warmup_steps=20)
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
    assert popspike_measure.by_similarity("decoded", side, right).tolist() == expected(similar)
    assert popspike_measure.by_prior(side, prior, 2.0, right).tolist() == expected(2 * similar + prior)


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
    with pytest.raises(UserError, match=r"bad\.parquet: holds word 99, and the table has 80 words"):
        next_word.task([tmp_path / "t.parquet", *[tmp_path / "bad.parquet"] * 2], {**SMALL, "length": 2})


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
    facts = {"module": "pipeline.snn.next_word", "settings": {"seed": 0}, "result": {"seconds": 1.0}}
    checkpoint.write(path, weights, {**facts, "options": {**options, "width": 16}})
    with pytest.raises(UserError, match=r"m\.safetensors: a checkpoint of another architecture: memory\."):
        popspike_measure.read_model(path, table())
    checkpoint.write(path, weights, {**facts, "options": options})
    assert popspike_measure.read_model(path, table()).seed == 0
    checkpoint.write(path, weights, {**facts, "module": "pipeline.training.skipgram", "options": options})
    with pytest.raises(UserError, match=r"m\.safetensors: a model of pipeline\.training\.skipgram"):
        popspike_measure.read_model(path, table())
