"""Stage: how many of a sentence's neighbours, by the sentence model, trained encoders find among unseen sentences.

Takes   the folder of pipeline/snn/sentences.py, and networks of pipeline/snn/sentence_encoder.py.
Makes   a Parquet file of rows of `snn/measurements`: network spikformer, task `sentence_retrieval`, metric
        `knn10_overlap` on the test sentences, each a query against all others; --vectors, an embedding table: the first
        spiking network's vectors of all sentences, each under its text.

Queries and base are both encoded. Searches, what codecs learn being learnt of training sentences:

    decoded      cosine of y, float32
    counts       cosine of the counts less their mean, 4 bits each: c beyond 7 is cut to 7. What is no whole number is
                 rounded first, in units of half its standard deviation
    hamming      a bit a value of the code: is it above its median?
    <codec>      cosine of what a codec of `CODECS` decodes of y: spike codes, and sign bits

The networks stand beside `ridge`, from the same vectors of tokens (`sentence_encoder.begin`), and `tokens`, the
weighted mean of these by itself; the code of both is y. Costs are a sentence's.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline import codec, exhaustive, stage, store
from pipeline.codec import Array
from pipeline.codecs import ridge
from pipeline.evaluation import retrieval
from pipeline.snn import energy, measurements, operations, sentence_encoder
from pipeline.snn.language import How
from pipeline.stage import UserError
from pipeline.training import trained
from pipeline.training.trained import Trained

COSTED = 64  # sentences whose operations are counted
FIT = 5000  # training sentences that codes are fitted on
CODECS = {
    "phase_4": "spike_codes",
    "minimum_weight_8_16": "spike_codes",
    "temporal_sigma_delta_7": "spike_codes",
    "sign_centered": "binary",
}
MODULE = "pipeline.snn.sentence_encoder"
LARGEST = 7  # spikes that 4 bits hold, of either sign


class Sentences(NamedTuple):
    """Rows as `sentence_encoder.read` has them and unit vectors of the sentence model, of training and test."""

    train: Array
    aim: Array
    test: Array
    teacher: Array
    tokens: Array  # the model's vectors of the tokens


def read(folder: Path) -> Sentences:
    """Raises UserError, naming the file, for what `pipeline.snn.sentences` did not make."""
    tokens = sentence_encoder.read_tokens(folder / "tokens.parquet")
    files = [folder / f"{part}.parquet" for part in ("train", "test")]
    parts = [sentence_encoder.read(path, vocabulary=len(tokens)) for path in files]
    return Sentences(*parts[0], *parts[1], tokens)


def near(search: Any, queries: Array, true: Array) -> float:
    found = retrieval.neighbours(search, queries, np.arange(len(queries)))
    return float(retrieval.overlaps(found, true).mean())


def truth(teacher: Array) -> Array:
    return retrieval.neighbours(exhaustive.inner_product(teacher), teacher, np.arange(len(teacher)))


def whole(code: Array, fitted: Array) -> Array:
    """Counts that 4 bits hold: of whole numbers themselves, of others in units of half their spread."""
    unit = 1.0 if (fitted == np.round(fitted)).all() else fitted.std() / 2
    return np.clip(np.round(code / unit), -LARGEST, LARGEST).astype(np.float32)


class Found(NamedTuple):
    search: str
    overlap: float
    bytes_per_vector: float
    spikes_per_value: float | None = None


def searches(y: Array, code: Array, fit: Array, fit_code: Array, true: Array) -> Iterator[Found]:
    """Of test vectors y [n, d] and codes [n, k]; `fit` and `fit_code`, those of training sentences."""
    unit, dims, size = store.unit_rows(y), y.shape[1], code.shape[1]
    yield Found("decoded", near(exhaustive.inner_product(unit), unit, true), 4.0 * dims)
    counts = whole(code, fit_code)
    centred = store.unit_rows(counts - whole(fit_code, fit_code).mean(0))
    yield Found(
        "counts", near(exhaustive.inner_product(centred), centred, true), size / 2, float(np.abs(counts).mean())
    )
    bits = np.packbits(code > np.median(fit_code, axis=0), axis=1)
    yield Found("hamming", near(exhaustive.hamming(bits), bits, true), float(bits.shape[1]))
    for name, module in CODECS.items():
        one = codec.build(module, name, 0).fit(store.unit_rows(fit))
        codes = one.encode(unit)
        decoded = store.unit_rows(one.decode(codes))
        fired = one.spike_train(codes).spikes_per_value(dims) if isinstance(one, codec.Spiking) else None
        yield Found(name, near(exhaustive.inner_product(decoded), decoded, true), codes.nbytes / len(codes), fired)


@torch.no_grad()
def encoded(model: sentence_encoder.Encoder, rows: Array) -> tuple[Array, Array]:
    """Vectors [n, d] and codes [n, k]."""
    made = [sentence_encoder.encoded(model, part) for part in torch.from_numpy(rows).split(64)]
    code, y = (torch.cat(one).numpy() for one in zip(*made, strict=True))
    return y, code


@torch.no_grad()
def costs(model: sentence_encoder.Encoder, rows: Array) -> operations.Layers:
    """The operations of sentences, one by one: nothing is computed behind a sentence's end.

    The code's neurons are layer `counted`: each token's look-up adds a current to each, and they fire as
    `sentence_encoder.fired` has it."""
    counted = operations.Layer()
    with operations.counted(model) as layers:
        for row in torch.from_numpy(rows):
            tokens, length = row[None, : row[-1]].long(), row[-1:].long()
            currents = model.currents(tokens, length)[0] / model.threshold
            model.read(currents.sum(0).round() if model.spiking else currents.sum(0))
            counted.accumulates += currents.numel()
            if model.spiking:
                spikes = sentence_encoder.fired(currents.double().numpy(), model.timesteps)
                counted.updates += spikes.size
                counted.spikes += float(np.abs(spikes).sum())
    counted.weights = len(model.vectors) * model.code.out_features
    counted.state = model.code.out_features
    del layers["current"]  # each token's current is computed once for all sentences, and looked up
    return layers | {"counted": counted}


def network(saved: Trained, sentences: Path, given: Sentences) -> tuple[sentence_encoder.Encoder, How]:
    """The encoder of a file, and its options. Raises UserError, naming the file, for one of another architecture or
    trained on other sentences."""
    model, how = saved.built(partial(sentence_encoder.build, len(given.tokens), given.teacher.shape[1]))
    saved.load(model)
    path, longest = sentences / "train.parquet", max(given.train.shape[1], given.test.shape[1]) - 1
    if longest > how.context:
        raise UserError(f"{saved.path}: a context of {how.context}, and {sentences} has a sentence of {longest} tokens")
    rows = sentence_encoder.padded(given.train, how.context)
    saved.check_data(sentence_encoder.samples(rows, given.aim).identity, path)
    return model, how


def measured(sentences: Path, models: Sequence[Path], vectors: Path | None = None) -> list[dict[str, Any]]:
    """Raises UserError as `trained.read` and `network`, and where --vectors has no network to be of."""
    files = [trained.read(path, [MODULE]) for path in models]
    given, found, size = read(sentences), [], "small"
    networks = [network(saved, sentences, given) for saved in files]
    if vectors is not None and not any(model.spiking for model, _ in networks):
        raise UserError(f"--vectors: none of {', '.join(map(str, models))} is a spiking network")
    true = truth(given.teacher)
    for saved, (model, how) in zip(files, networks, strict=True):
        steps, size = how.timesteps if model.spiking else None, how.model
        keys = {"network": "spikformer", "variant": saved.options.get("variant", "spiking"), "seed": saved.seed}
        layers, count = costs(model, given.test[:COSTED]), min(COSTED, len(given.test))
        columns = energy.costs(layers, count, steps)
        columns |= {"parameters": operations.parameters(model), "train_seconds": saved.seconds}
        found += energy.rows(layers, count, steps, **keys, size=f"sentence_{size}")
        made = (*encoded(model, given.test), *encoded(model, given.train[:FIT]))
        found += rows(searches(*made, true), size=size, **keys, **columns)
        if vectors is not None and model.spiking:
            write_vectors(vectors, sentences, model, how.context)
            vectors = None
    inputs = sentence_encoder.weights(given.train, len(given.tokens))[:, None] * store.unit_rows(given.tokens)
    means = [sentence_encoder.summed(inputs, one) / one[:, -1:] ** 0.5 for one in (given.test, given.train)]
    linear = ridge.solve(means[1], given.aim)
    for variant, turn in (("ridge", linear), ("tokens", np.eye(len(linear)))):
        y, fit = ((one @ turn).astype(np.float32) for one in (means[0], means[1][:FIT]))
        learned = {"parameters": turn.size if variant == "ridge" else 0}
        found += rows(
            searches(y, y, fit, fit, true), network="spikformer", variant=variant, seed=-1, size=size, **learned
        )
    return found


def rows(found: Iterator[Found], **columns: Any) -> list[dict[str, Any]]:
    """Rows of results/snn.csv; `columns`: the keys, and what the network costs."""
    columns |= {"task": "sentence_retrieval", "metric": "knn10_overlap"}
    return [
        {
            **columns,
            "search": one.search,
            "value": one.overlap,
            "bytes_per_vector": one.bytes_per_vector,
            "spikes_per_value": one.spikes_per_value,
        }
        for one in found
    ]


def write_vectors(target: Path, sentences: Path, model: sentence_encoder.Encoder, context: int) -> None:
    """An embedding table: y of the sentences of all parts, test first."""
    paths = [sentences / f"{part}.parquet" for part in ("test", "validation", "train")]
    texts = [text for path in paths for text in store.read_parquet(path, ["text"])["text"].to_pylist()]
    y = np.concatenate([encoded(model, sentence_encoder.read(path, context)[0])[0] for path in paths])
    facts = {"source": MODULE, "normalisation": "none: raw values of the network"}
    store.write_embedding(target, store.EmbeddingTable(texts, y, facts))


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--sentences", type=Path, required=True, help="folder that pipeline.snn.sentences made")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="trained encoders")
    parser.add_argument("--vectors", type=Path, help="embedding table to make")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    given = parser.parse_args(argv)
    found = measured(given.sentences, given.models, given.vectors)
    for row in found:
        if row["metric"] == "knn10_overlap":
            said = (row[name] for name in ("variant", "seed", "search", "value", "bytes_per_vector"))
            stage.log.info("%s, seed %d, %s: %.3f at %.0f bytes", *said)
    store.write_parquet(given.output, measurements.table(found))


if __name__ == "__main__":
    sys.exit(stage.run(main))
