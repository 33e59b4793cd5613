import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline import stage, store
from pipeline.corpus import language as corpus
from pipeline.snn import language, language_measure, measurements, ngram
from pipeline.stage import UserError
from pipeline.training import checkpoint, run, settings
from pipeline.training.distributed import Processes
from pipeline.training.shards import Tokens

OPTIONS = {"dims": 8, "heads": 2, "hidden": 24, "blocks": 1, "context": 8, "timesteps": 2}


def write_tokens(folder, rng, count, ordered=True):
    """Documents of 30 tokens: the next token is the last one plus 1, mostly; without order, any."""
    documents = []
    for _ in range(count):
        steps = rng.choice([1, 5], 30, p=[0.9, 0.1]) if ordered else rng.integers(19, size=30)
        documents.append([*(1 + np.cumsum(steps) % 19).tolist(), 0])
    tokens = pa.table(
        {
            "id": pa.array([f"{number}" for number in range(count)]),
            "tokens": pa.array(documents, pa.list_(pa.int32())),
        }
    ).replace_schema_metadata({"vocabulary_size": "20", "end_of_text": "0"})
    folder.mkdir()
    pq.write_table(tokens, folder / store.shard_name(0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tokens of three parts, and both networks trained a little."""
    folder = tmp_path_factory.mktemp("language")
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("validation", 8), ("test", 8)):
        write_tokens(folder / part, rng, count)
    chosen = settings.from_json({"steps": 40, "batch": 8, "weights": {"nats": 1}, "learning_rate": 1e-2})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in ("spikformer", "transformer"):
        inputs = [folder / "train", folder / "validation"]
        where = folder / f".{name}", folder / name
        run.run(f"pipeline.snn.{name}", inputs, OPTIONS, chosen, *where, Processes())
    torch.set_num_threads(threads)
    return folder


@pytest.mark.slow  # trains both networks
def test_networks_are_measured_beside_unigrams_and_the_5_gram(made):
    files = [made / "spikformer.safetensors"], [made / "transformer.safetensors"]
    rows = language_measure.measured(made, *files, 1 << 30)
    table = measurements.table(rows)
    assert len(table) == len(rows)
    found = {(row["variant"], row["metric"]): row["value"] for row in rows if row["task"] == "language"}
    unigram, ngram = found["unigram", "test_bits"], found["ngram", "test_bits"]
    assert ngram < 2 < unigram
    for variant in ("spiking", "dense"):
        assert found[variant, "test_bits"] < unigram
        assert found[variant, "test_bits_with_ngram"] <= ngram + 0.02
        assert 0 <= found[variant, "weight_with_ngram"] <= 1
    gains = (unigram - found[variant, "test_bits"] for variant in ("spiking", "dense"))
    assert found["spiking", "share_of_gap"] == pytest.approx(next(gains) / next(gains))
    assert 0 < found["spiking", "rate_blocks.0.lif_up"] < 1
    costs = {row["variant"]: row for row in rows if row["metric"] == "test_bits"}
    assert costs["spiking"]["parameters"] == pytest.approx(costs["dense"]["parameters"], rel=0.01)
    assert costs["spiking"]["synaptic_operations"] > 0
    assert costs["spiking"]["timesteps"] == 2
    assert costs["dense"]["timesteps"] is None


@pytest.mark.slow  # trains both networks
def test_other_networks_are_refused_by_name(made, tmp_path):
    spiking, dense = made / "spikformer.safetensors", made / "transformer.safetensors"
    with pytest.raises(UserError, match=r"of pipeline\.snn\.transformer, not of pipeline.snn.spikformer"):
        language_measure.measured(made, [dense], [dense], 100)
    saved = checkpoint.read(spiking)
    changed = json.loads(json.dumps(saved.facts))
    changed["options"]["hidden"] = 30
    checkpoint.write(tmp_path / "wider.safetensors", saved.tensors, changed)
    with pytest.raises(UserError, match=r"of another architecture: blocks.0.down.weight is \[8, 24\], expected"):
        language_measure.measured(made, [tmp_path / "wider.safetensors"], [dense], 100)
    with pytest.raises(UserError, match="are fewer than a context of 8"):
        language_measure.measured(made, [spiking], [dense], 5)


def test_the_limit_takes_whole_documents_and_cuts_the_last():
    documents = [np.arange(4), np.arange(3), np.arange(9)]
    assert [len(one) for one in language_measure.limited(documents, 9)] == [4, 3, 2]
    assert [len(one) for one in language_measure.limited(documents, 7)] == [4, 3]


def test_a_limit_of_no_tokens_is_refused(tmp_path, capsys):
    folders = ["--tokens", str(tmp_path), "--output", str(tmp_path / "made.parquet")]
    arguments = [*folders, "--spiking", "spiking.safetensors", "--dense", "dense.safetensors", "--limit", "0"]
    assert stage.run(language_measure.main, arguments) == 1
    assert "--limit must be at least 1, not 0" in capsys.readouterr().err


def trained(path, seed=0, data="", **options):
    """A network's file, its weights as they began."""
    module = f"pipeline.snn.{path.stem.split('-')[0]}"
    facts = {
        "module": module,
        "options": {**OPTIONS, **options},
        "settings": {"seed": seed},
        "result": {"seconds": 1.0},
        "data": data,
    }
    model = language_measure.BUILD[module](20, facts["options"])
    checkpoint.write(path, {f"model.{name}": x for name, x in model.state_dict().items()}, facts)
    return path


def test_networks_that_differ_in_more_than_what_they_are_are_not_compared(tmp_path):
    spiking, dense = trained(tmp_path / "spikformer.safetensors"), trained(tmp_path / "transformer.safetensors")
    other = trained(tmp_path / "transformer-1.safetensors", seed=1)
    with pytest.raises(UserError, match=r"spikformer.safetensors has seed 0, and .*transformer-1.safetensors .* 1"):
        language_measure.measured(tmp_path, [spiking], [other], 100)
    for name, module in (("transformer-2", dense), ("spikformer-2", spiking)):
        deeper = trained(tmp_path / f"{name}.safetensors", blocks=2)
        files = ([spiking], [deeper]) if module is dense else ([spiking, deeper], [dense, dense])
        with pytest.raises(UserError, match=rf"{name}.safetensors: blocks is 2, and 1 in .*spikformer.safetensors"):
            language_measure.measured(tmp_path, *files, 100)


def test_a_seed_is_measured_once(tmp_path):
    spiking = [trained(tmp_path / f"spikformer-{number}.safetensors") for number in range(2)]
    dense = trained(tmp_path / "transformer.safetensors")
    with pytest.raises(UserError, match=r"spikformer-1.safetensors has seed 0, and so has .*spikformer-0.safetensors"):
        language_measure.measured(tmp_path, spiking, [dense, dense], 100)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("vocabulary_size", b"many", "vocabulary_size is 'many', not a whole number"),
        ("vocabulary_size", b"-3", "vocabulary_size is '-3', not a whole number"),
        ("tokens", [], "hold no tokens"),
        ("tokens", [[1, 2], None], "row 1 of row group 0 is null"),
        ("tokens", [[1, 2], [], [3, None]], "row 2 of row group 0 holds a null token"),
        ("tokens", [[1, 2], [], [3, -1]], "row 2 of row group 0 holds token -1, expected 0 to 19"),
        ("tokens", [[1, 20], [3, 1]], "row 0 of row group 0 holds token 20, expected 0 to 19"),
    ],
)
def test_tokens_that_are_none_are_refused_by_place(tmp_path, capsys, name, value, said):
    rows, facts = [[1, 2, 0]] * 9, {"vocabulary_size": "20"}
    if name == "tokens":
        rows = value
    else:
        facts = {name: value}
    (tmp_path / "train").mkdir()
    table = pa.table({"tokens": pa.array(rows, pa.list_(pa.int32()))}).replace_schema_metadata(facts)
    pq.write_table(table, tmp_path / "train" / store.shard_name(0))
    for part in ("validation", "test"):
        write_tokens(tmp_path / part, np.random.default_rng(0), 2)
    data = Tokens(store.shards(tmp_path / "train"), 2 * OPTIONS["context"]).identity
    files = [trained(tmp_path / f"{one}.safetensors", data=data) for one in ("spikformer", "transformer")]
    given = ["--tokens", tmp_path, "--spiking", files[0], "--dense", files[1], "--output", tmp_path / "made.parquet"]
    assert stage.run(language_measure.main, [str(one) for one in given]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path / 'train'}")
    assert line.endswith(f"{said}\n")
    assert line.count("\n") == 1
    assert not (tmp_path / "made.parquet").exists()


def test_networks_of_other_tokens_are_refused(tmp_path):
    for part in ("train", "validation", "test"):
        write_tokens(tmp_path / part, np.random.default_rng(0), 8)
    files = [[trained(tmp_path / f"{name}.safetensors", data="other")] for name in ("spikformer", "transformer")]
    with pytest.raises(UserError, match=r"spikformer\.safetensors: trained on other data than .*train"):
        language_measure.measured(tmp_path, *files, 100)


def test_weights_that_are_none_and_options_that_cannot_be_are_refused_with_the_file(tmp_path):
    path = trained(tmp_path / "spikformer.safetensors")
    saved = checkpoint.read(path)
    name = "model.embedding.weight"
    weight = saved.tensors[name]
    nan = torch.full_like(weight, float("nan"))
    for tensors, options, message in (
        ({name: nan}, {}, "embedding.weight holds NaN or infinity"),
        ({name: weight.long()}, {}, "embedding.weight is torch.int64: no weights"),
        ({name: weight[0, 0]}, {}, "of another architecture"),
        ({}, {"heads": 3}, "dims do not fall into 3 heads"),
        ({}, {"position": "nowhere"}, "position: 'nowhere' is not one of"),
    ):
        facts = {**saved.facts, "options": {**saved.facts["options"], **options}}
        checkpoint.write(path, {**saved.tensors, **tensors}, facts)
        with pytest.raises(UserError, match=rf"spikformer.safetensors: .*{message}"):
            language_measure.read(path, "pipeline.snn.spikformer")


def test_the_weight_beside_the_n_gram_is_the_best_on_validation_and_not_on_test():
    likely, unlikely = np.full(50, -1.0), np.full(50, -9.0)
    mixed, weight = language_measure.with_ngram([likely, unlikely], [unlikely, likely])
    assert weight > 0.99
    assert mixed > 7


def test_training_documents_fit_the_n_gram_and_validation_documents_weigh_it(tmp_path):
    """The 5-gram knows the test documents' order and validation documents have none: its weight is too low for test."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("validation", 8), ("test", 8)):
        write_tokens(tmp_path / part, rng, count, ordered=part != "validation")
    data = language.samples(tmp_path / "train", OPTIONS["context"]).identity
    files = [[trained(tmp_path / f"{name}.safetensors", data=data)] for name in ("spikformer", "transformer")]
    rows = language_measure.measured(tmp_path, *files, 1 << 30)
    found = {(row["variant"], row["metric"]): row["value"] for row in rows if row["task"] == "language"}
    grams = ngram.fit(corpus.documents(tmp_path / "train"), 20, language_measure.ORDER)
    logs = np.concatenate([grams.log2(one) for one in corpus.documents(tmp_path / "test")])
    assert found["ngram", "test_bits"] == language_measure.bits(logs)
    for variant in ("spiking", "dense"):
        assert found[variant, "weight_with_ngram"] > 0.5
        assert found[variant, "test_bits_with_ngram"] > found["ngram", "test_bits"] + 0.1


def test_the_share_of_the_gap():
    assert language_measure.share_of_gap(9.0, 7.2, 7.0) == pytest.approx(0.9)
    assert np.isnan(language_measure.share_of_gap(9.0, 7.0, 9.0))
