"""What is recorded of a network's activity: membranes, attention's weights, and both networks' recordings."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from pipeline import recording, stage, store
from pipeline.codec import Array
from pipeline.corpus import tokenizer
from pipeline.neurons.lif import LIF
from pipeline.recording import Recording
from pipeline.snn import attention, popspike_activity, spikformer, spikformer_activity, store_recall
from pipeline.snn.attention import Shifts
from pipeline.snn.attention_weights import weights
from pipeline.snn.popspike import PopSpike, network, read_options
from pipeline.snn.tracing import NEURONS, TRACED, Trace, evenly, layer, membrane, traced
from pipeline.store import EmbeddingTable
from pipeline.training import checkpoint

LIFS = {
    "immediate": {"reset": "immediate"},
    "delayed": {"reset": "delayed"},
    "adaptive": {"adaptation": (0.4, 0.8)},
    "bounded": {"bounds": (-0.5, 1.3)},
}


def by_hand(lif: LIF, current: Array, kind: str) -> tuple[Array, Array]:
    """Potentials and thresholds [T, N] by the equations of `leaky`, in float64."""
    beta, theta = lif.decay.detach().double().numpy(), lif.threshold.detach().double().numpy()
    left, fired, trace = np.zeros((3, len(theta)))
    potentials, thresholds = [], []
    for i in current:
        u = beta * left + i - (theta * fired if kind == "delayed" else 0)
        if kind == "bounded":
            u = u.clip(-0.5, 1.3)
        compared = theta + 0.4 * trace if kind == "adaptive" else theta
        fired = (u > compared).astype(float)
        left = u if kind == "delayed" else u - theta * fired
        trace = 0.8 * trace + fired
        potentials.append(u)
        thresholds.append(compared)
    return np.array(potentials), np.array(thresholds)


@pytest.mark.parametrize("kind", LIFS)
def test_membranes_follow_their_equations_and_cross_where_there_are_spikes(kind: str) -> None:
    lif = LIF(7, decay=0.7, **LIFS[kind])  # type: ignore[arg-type]
    current = torch.randn(60, 7, generator=torch.Generator().manual_seed(0))
    potential, threshold = membrane(lif, current)
    expected = by_hand(lif, current.double().numpy(), kind)
    np.testing.assert_allclose(potential, expected[0], atol=1e-4)
    np.testing.assert_allclose(threshold, expected[1], atol=1e-4)
    assert torch.equal((potential >= threshold).float(), lif(current))


def test_traces_are_of_one_row_and_leave_the_network_as_it_was() -> None:
    model = nn.Sequential(LIF(5), nn.Linear(5, 4), LIF(4))
    current = 2 * torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = model[0](current)
    with traced(model, row=1) as traces:
        model(current)
        assert {lif.backend for lif in (model[0], model[2])} == {"reference"}
    assert list(traces) == ["0", "2"]
    assert torch.equal(traces["0"].current, current[:, 1])
    assert torch.equal(traces["0"].spikes, expected[:, 1])
    assert {lif.backend for lif in (model[0], model[2])} == {"auto"}
    traces.clear()
    model(current)
    assert not traces


def test_a_layer_keeps_neurons_evenly_and_traces_those_that_fire() -> None:
    lif = LIF(200, learned=False)
    current = torch.zeros(8, 200)
    current[3, 100:] = 5.0
    found = layer("block 1", "keys", lif, Trace(current, lif(current)))
    assert found.neurons == 200
    assert found.spikes.shape == (8, NEURONS)
    assert found.spikes.sum() == (evenly(np.arange(200), NEURONS) >= 100).sum() * found.spikes[:, -1].sum() > 0
    assert len(found.traced) == TRACED
    assert found.spikes[:, found.traced].any(axis=0).all()
    np.testing.assert_array_equal(found.potential >= found.threshold, found.spikes[:, found.traced])
    silent = layer("block 1", "keys", lif, Trace(current, lif(current)), slice(0, 90), steps=3)
    assert (silent.neurons, silent.spikes.shape, silent.potential.shape) == (90, (3, NEURONS), (3, TRACED))


def test_tokens_stand_behind_one_another() -> None:
    lif = LIF(2, learned=False)
    current = torch.zeros(3, 4, 2)  # steps, tokens, neurons
    current[1, 2, 0] = 2.0
    found = layer("", "x", lif, Trace(current, lif(current)))
    assert np.argwhere(found.spikes).tolist() == [[2 * 3 + 1, 0]]


def spikes_of_attention(steps: int, tokens: int, heads: int, dims: int) -> tuple[Tensor, Tensor, Shifts, Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randint(2, (steps, 2, tokens, heads, dims), generator=generator).float() for _ in range(2))
    pace = torch.tensor([0.0, 1.0, 0.3])[:heads, None]
    shifts = Shifts((pace * torch.arange(tokens)).floor(), torch.tensor([0.0, 1.0, 2.0])[:heads])
    return q, k, shifts, torch.tensor([1.0, 0.5, 0.9])[:heads]


def test_weights_are_those_of_the_equation() -> None:
    steps, tokens, heads, dims = 4, 7, 3, 5
    q, k, shifts, decay = spikes_of_attention(steps, tokens, heads, dims)
    expected = np.zeros((heads, steps, steps, tokens))
    for h in range(heads):
        for t in range(steps):
            for i in range(tokens):
                for j in range(i + 1):
                    turn = shifts.heads[h] + shifts.tokens[h, i] - shifts.tokens[h, j]
                    s = int(t + turn) % steps
                    product = (q[t, :, i, h] * k[s, :, j, h]).sum(-1).mean().item()
                    expected[h, t, s, i - j] += decay[h].item() ** (i - j) * product / dims / (tokens - i + j)
    np.testing.assert_allclose(weights(q, k, shifts, decay), expected, atol=1e-6)


def test_weights_are_what_attention_adds_up() -> None:
    steps, tokens = 4, 9
    q, k, shifts, decay = spikes_of_attention(steps, tokens, 3, 5)
    heard = attention.attend(q, k, torch.ones_like(k), shifts, decay)[..., 0]  # of ones: the sum of the weights
    found = weights(q, k, shifts, decay) * (tokens - torch.arange(tokens))
    np.testing.assert_allclose(found.sum((2, 3)).T, heard.mean(1).sum(1), rtol=1e-5)


OPTIONS = {"dims": 8, "heads": 2, "hidden": 24, "blocks": 4, "context": 8, "timesteps": 3}


def recorded_language() -> Recording:
    torch.manual_seed(0)
    model = spikformer.build(20, OPTIONS).eval()
    tokens = np.random.default_rng(0).integers(20, size=(5, 8))
    return spikformer_activity.recorded(model, tokens, [str(token) for token in tokens[0]])


def test_recording_of_a_language_model() -> None:
    found = recorded_language()
    assert (found.timesteps, found.rests, len(found.places)) == (3, True, 8)
    assert list(found.attention) == ["block 1", "block 3", "block 4"]
    assert [one.name for one in found.layers[:7]] == list(sum(spikformer_activity.NAMES.values(), ()))
    assert all(one.spikes.shape == (24, 24 if one.name == "MLP hidden" else 8) for one in found.layers)
    assert sum(one.spikes.sum() for one in found.layers) > 100
    for one in found.layers:
        np.testing.assert_array_equal(one.potential >= one.threshold, one.spikes[:, one.traced])
    heads = found.attention["block 1"]
    assert heads.weights.shape == (2, 3, 3, 8)
    assert heads.weights.sum() > 0
    np.testing.assert_allclose(heads.pace, [1, 2 / 7])  # the phases after 7 tokens
    np.testing.assert_array_equal(heads.shift, [0, 1])


def table() -> EmbeddingTable:
    vectors = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    return EmbeddingTable([f"w{row}" for row in range(80)], vectors)


def test_recording_of_store_recall() -> None:
    torch.manual_seed(0)
    options = read_options({"dims": 8, "neurons": 4, "width": 32, "timesteps": 2})
    codes = store_recall.codes(table(), options)
    model = network(codes, options, store_recall.CUES).eval()
    assert isinstance(model, PopSpike)
    row = store_recall.sequences(np.array([3]), 7, np.random.default_rng(0))
    vectors = codes.vectors[: store_recall.WORDS]
    found = popspike_activity.recorded(model, row, vectors, store_recall.chosen_words(table()).words)
    assert [one.name for one in found.layers] == ["words", "inputs", "values", "gates", "state", "output"]
    assert found.marks == {"store": 2, "recall": 6}
    assert (found.rests, len(found.places)) == (False, 7)
    best = store_recall.logits(model, torch.from_numpy(row), torch.from_numpy(vectors))[0].argmax()
    assert found.places[-1] == f"answer: {store_recall.chosen_words(table()).words[best]}"
    spikes = {one.name: one.spikes for one in found.layers}
    read = evenly(np.arange(found.layers[0].neurons), NEURONS)
    words = read < 32  # cues behind them
    np.testing.assert_array_equal(spikes["words"][:, words], codes.spikes[row[0, :-1]].reshape(14, 32)[:, read[words]])
    state = np.zeros(32)
    for write, value, held in zip(spikes["gates"], spikes["values"], spikes["state"], strict=True):
        state = np.where(write, value, state)
        np.testing.assert_array_equal(held, state)
    for one in found.layers:
        np.testing.assert_array_equal(one.potential >= one.threshold, one.spikes[:, one.traced])
    assert spikes["output"].any()


def save(path: Path, module: str, model: nn.Module, options: dict, data: str = "") -> None:
    facts = {"module": module, "options": options, "settings": {"seed": 0}, "result": {"seconds": 1.0}, "data": data}
    checkpoint.write(path, {f"model.{name}": x for name, x in model.state_dict().items()}, facts)


def test_stages_write_recordings_and_refuse_other_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = 260
    tokenizer.train([["ab abc abcd"]], size).save(str(tmp_path / "tokenizer.json"))
    tokens = pa.table({"id": ["0"], "tokens": pa.array([list(range(1, 31))], pa.list_(pa.int32()))})
    facts = {"vocabulary_size": str(size), "end_of_text": "0"}
    store.write_parquet(tmp_path / "tokens" / store.shard_name(0), tokens, facts)
    torch.manual_seed(0)
    save(tmp_path / "spikformer.safetensors", spikformer.__name__, spikformer.build(size, OPTIONS), OPTIONS)
    recall = {"dims": 8, "neurons": 4, "width": 16}
    options = read_options(recall)
    model = network(store_recall.codes(table(), options), options, store_recall.CUES)
    data = store_recall.samples(store_recall.LONGEST, table())[0].identity
    save(tmp_path / "popspike.safetensors", store_recall.__name__, model, recall, data)
    store.write_embedding(tmp_path / "table.parquet", table())
    held = ["--tokens", str(tmp_path / "tokens"), "--tokenizer", str(tmp_path / "tokenizer.json")]
    words = ["--embedding", str(tmp_path / "table.parquet")]
    for stage_of, name, given in ((spikformer_activity, "spikformer", held), (popspike_activity, "popspike", words)):
        how = [*given, "--output", str(tmp_path / "out.safetensors")]
        assert stage.run(stage_of.main, ["--model", str(tmp_path / f"{name}.safetensors"), *how]) == 0
        assert recording.read(tmp_path / "out.safetensors").layers
        other = {"spikformer": "popspike", "popspike": "spikformer"}[name]
        assert stage.run(stage_of.main, ["--model", str(tmp_path / f"{other}.safetensors"), *how]) == 1
        assert f"{other}.safetensors: a " in capsys.readouterr().err
    tokenizer.train([["ab abc abcd"]], size + 1).save(str(tmp_path / "tokenizer.json"))
    how = [*held, "--output", str(tmp_path / "other.safetensors")]
    assert stage.run(spikformer_activity.main, ["--model", str(tmp_path / "spikformer.safetensors"), *how]) == 1
    assert f"tokenizer.json: {size + 1} tokens, and {tmp_path / 'tokens'} has {size}" in capsys.readouterr().err
    assert not (tmp_path / "other.safetensors").exists()
