"""Stage: how many of a sentence's neighbours, by the sentence model, trained encoders find among unseen sentences.

Takes   the folder of pipeline/snn/sentences.py, and networks of pipeline/snn/sentence_encoder.py.
Makes   a Parquet file of rows of `snn/measurements`: network spikformer, task `sentence_retrieval`, metric
        `knn10_overlap` on the test sentences, each a query against all others; queries and base are both encoded.

Searches: `decoded`, cosine of read-out vectors; `counts`, cosine of the code less its mean over training sentences;
`hamming`, bits, 1 where a value of the code a token is above its median over training sentences. `ridge` predicts the
vector from token counts (its strength by generalised cross-validation); its code is its vector. Costs are a sentence's.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import exhaustive, stage, store
from pipeline.codec import Array
from pipeline.codecs import ridge
from pipeline.evaluation import retrieval
from pipeline.snn import energy, measurements, operations, sentence_encoder
from pipeline.stage import UserError
from pipeline.training import checkpoint

COSTED = 64  # sentences whose operations are counted


def overlap(search: Any, queries: Array, true: Array) -> float:
    found = retrieval.neighbours(search, queries, np.arange(len(queries)))
    return float(retrieval.overlaps(found, true).mean())


def recalls(y: Array, code: Array, fitted: Array, true: Array) -> dict[str, float]:
    """By search, for vectors y [n, d] and codes a token [n, k]; `fitted` [m, k] are codes of training sentences."""
    vectors, centred = store.unit_rows(y), store.unit_rows(code - fitted.mean(0))
    bits = np.packbits(code > np.median(fitted, axis=0), axis=1)
    return {
        "decoded": overlap(exhaustive.inner_product(vectors), vectors, true),
        "counts": overlap(exhaustive.inner_product(centred), centred, true),
        "hamming": overlap(exhaustive.hamming(bits), bits, true),
    }


@torch.no_grad()
def encoded(model: sentence_encoder.Encoder, rows: Array) -> tuple[Array, Array]:
    """Vectors [n, d] and codes a token [n, k]."""
    made = [sentence_encoder.encoded(model, part) for part in torch.from_numpy(rows).split(64)]
    code, y = (torch.cat(one).numpy() for one in zip(*made, strict=True))
    return y, code / rows[:, -1:].astype(np.float32)


def bags(rows: Array, vocabulary: int) -> Array:
    """Counts of each token, and 1, over the square root of their number: float32 [n, vocabulary + 1]."""
    found = np.zeros((len(rows), vocabulary + 1), np.float32)
    for number, row in enumerate(rows):
        np.add.at(found[number], row[: row[-1]], row[-1] ** -0.5)
    found[:, -1] = 1
    return found


def measured(sentences: Path, models: Sequence[Path]) -> list[dict[str, Any]]:
    """Raises UserError, naming the file, for what is no network of this module, or of another architecture."""
    vocabulary, found = sentence_encoder.vocabulary_size(sentences / "train.parquet"), []
    size = "small"
    for path in models:
        saved = checkpoint.read(path)
        if saved.facts.get("module") != "pipeline.snn.sentence_encoder":
            raise UserError(f"{path}: a network of {saved.facts.get('module')}, not of pipeline.snn.sentence_encoder")
        options, weights = saved.facts["options"], saved.part("model")
        _, teacher = sentence_encoder.read(sentences / "test.parquet", 1 << 12)
        model, how = sentence_encoder.build(vocabulary, teacher.shape[1], options)
        if {k: x.shape for k, x in model.state_dict().items()} != {k: x.shape for k, x in weights.items()}:
            raise UserError(f"{path}: of another architecture than its options and {sentences} say")
        model.load_state_dict(weights)
        model.eval()
        train, _ = sentence_encoder.read(sentences / "train.parquet", how.context)
        test, _ = sentence_encoder.read(sentences / "test.parquet", how.context)
        steps, size = how.timesteps if model.spiking else None, how.model
        with torch.no_grad(), operations.counted(model) as layers:
            for row in torch.from_numpy(test[:COSTED]):  # one by one: nothing is computed behind a sentence's end
                sentence_encoder.encoded(model, row[None])
        keys = {
            "network": "spikformer",
            "variant": options.get("variant", "spiking"),
            "seed": saved.facts["settings"]["seed"],
        }
        columns = energy.costs(layers, min(COSTED, len(test)), steps)
        columns |= {"parameters": operations.parameters(model), "train_seconds": saved.facts["result"]["seconds"]}
        found += energy.rows(layers, min(COSTED, len(test)), steps, **keys, size=f"sentence_{size}")
        values = recalls(*encoded(model, test), encoded(model, train)[1], truth(teacher))
        found += [_row(search, value, **keys, size=size, **columns) for search, value in values.items()]
    train, aim = sentence_encoder.read(sentences / "train.parquet", 1 << 12)
    test, teacher = sentence_encoder.read(sentences / "test.parquet", 1 << 12)
    map_to_vectors = ridge.solve(bags(train, vocabulary), aim)
    y, fitted = ((bags(rows, vocabulary) @ map_to_vectors).astype(np.float32) for rows in (test, train))
    values = recalls(y, y, fitted, truth(teacher))
    keys = {"network": "spikformer", "variant": "ridge", "seed": -1, "size": size, "parameters": map_to_vectors.size}
    return found + [_row(search, values[search], **keys) for search in ("decoded", "hamming")]


def truth(teacher: Array) -> Array:
    return retrieval.neighbours(exhaustive.inner_product(teacher), teacher, np.arange(len(teacher)))


def _row(search: str, value: float, **columns: Any) -> dict[str, Any]:
    return {**columns, "task": "sentence_retrieval", "metric": "knn10_overlap", "search": search, "value": value}


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--sentences", type=Path, required=True, help="folder that pipeline.snn.sentences made")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="trained encoders")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    given = parser.parse_args(argv)
    found = measured(given.sentences, given.models)
    for row in found:
        if row["task"] == "sentence_retrieval":
            stage.log.info("%s %s: %.3f", row["variant"], row["search"], row["value"])
    store.write_parquet(given.output, measurements.table(found))


if __name__ == "__main__":
    sys.exit(stage.run(main))
