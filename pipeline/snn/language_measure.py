"""Stage: what trained language models make of the test documents, beside unigrams, a 5-gram and each other.

Takes   the language tokens (a directory of train, validation and test token shards), and spiking and dense networks
        (.safetensors of pipeline.training.run), as many of each.
Makes   a Parquet file of rows of `measurements`: bits a token of test documents of each network, the unigrams and the
        interpolated Kneser-Ney 5-gram; of each network mixed with the 5-gram, its weight chosen on the validation
        documents; the share of the dense network's gain over unigrams that the spiking one has; spike rates by layer,
        parameters, operations and energies of both.

All count the same tokens: every one of a document, its end-of-text too, the first predicted from an end-of-text.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from pipeline import stage, store
from pipeline.corpus import language as corpus
from pipeline.snn import energy, language, measurements, ngram, operations, spikformer, transformer
from pipeline.snn.activity import recorded
from pipeline.stage import UserError
from pipeline.training import trained
from pipeline.training.task import Array
from pipeline.training.trained import Trained

Row = dict[str, Any]

ORDER = 5
BUILD: dict[str, Callable[[int, Mapping[str, Any]], nn.Module]] = {
    spikformer.__name__: spikformer.build,
    transformer.__name__: transformer.build,
}


class Network(NamedTuple):
    """A trained network, ready to be measured: `how` are its options, `vocabulary` the number of its tokens."""

    trained: Trained
    how: language.How
    vocabulary: int
    model: nn.Module

    @property
    def path(self) -> Path:
        return self.trained.path

    @property
    def seed(self) -> int:
        return self.trained.seed


def read(path: Path, module: str) -> Network:
    """Raises UserError, naming the file, as `trained.read`, and for another architecture than its options say."""
    found = trained.read(path, [module])
    embedded = found.weights.get("embedding.weight")
    vocabulary = len(embedded) if embedded is not None and embedded.ndim else 0
    how, model = found.built(lambda options: (language.options(options), BUILD[module](vocabulary, options)))
    found.load(model)
    return Network(found, how, vocabulary, model)


def limited(documents: Sequence[Array], tokens: int) -> list[Array]:
    """The first `tokens` tokens of the documents: from the first document on, the last one cut."""
    kept: list[Array] = []
    for document in documents:
        left = tokens - sum(map(len, kept))
        if left <= 0:
            break
        kept.append(document[:left])
    return kept


def bits(log2: Array) -> float:
    return float(-log2.mean())


def share_of_gap(unigram: float, spiking: float, dense: float) -> float:
    """(H_unigram - H_spiking) / (H_unigram - H_dense); NaN where the dense network gains nothing."""
    return (unigram - spiking) / (unigram - dense) if unigram > dense else float("nan")


def with_ngram(logs: Sequence[Array], of_grams: Sequence[Array]) -> tuple[float, float]:
    """Bits a token of test documents by a network mixed with the n-gram, and the network's weight, the best one on
    validation documents; log2 probabilities of [validation, test] tokens by each."""
    weight = ngram.best_weight(logs[0], of_grams[0])
    return bits(ngram.mixed(logs[1], of_grams[1], weight)), weight


def comparable(pairs: Sequence[tuple[Network, Network]]) -> None:
    """Raises UserError, naming the files: pairs of unequal seeds, networks of unequal options, a seed in two pairs."""
    for pair in pairs:
        if pair[0].seed != pair[1].seed:
            raise UserError(f"{pair[0].path} has seed {pair[0].seed}, and {pair[1].path} beside it {pair[1].seed}")
    first = pairs[0][0]
    for one in (network for pair in pairs for network in pair):
        for name, value in one.how._asdict().items():
            if value != (expected := getattr(first.how, name)):
                raise UserError(f"{one.path}: {name} is {value}, and {expected} in {first.path}: nothing to compare")
    seen: dict[int, Path] = {}
    for one, _ in pairs:
        if one.seed in seen:
            raise UserError(f"{one.path} has seed {one.seed}, and so has {seen[one.seed]}: each seed is measured once")
        seen[one.seed] = one.path


def measured(folder: Path, spiking: Sequence[Path], dense: Sequence[Path], tokens: int) -> list[Row]:
    """The rows. Raises UserError as `read` and `comparable`, and for a network of another vocabulary than the tokens'
    or trained on others."""
    pairs = [
        (read(one, spikformer.__name__), read(other, transformer.__name__))
        for one, other in zip(spiking, dense, strict=True)
    ]
    comparable(pairs)
    vocabulary = corpus.fact(folder / "train", "vocabulary_size")
    identity = language.samples(folder / "train", pairs[0][0].how.context).identity  # of equal options: of all
    for network in (network for pair in pairs for network in pair):
        if network.vocabulary != vocabulary:
            what = f"a vocabulary of {network.vocabulary}, and {folder} has {vocabulary}"
            raise UserError(f"{network.path}: of another architecture: {what}")
        network.trained.check_data(identity, folder / "train")
    train = corpus.documents(folder / "train")
    validation, test = (limited(corpus.documents(folder / part), tokens) for part in ("validation", "test"))
    grams = ngram.fit(train, vocabulary, ORDER)
    of_grams = [np.concatenate([grams.log2(one) for one in part]) for part in (validation, test)]
    unigram = bits(np.concatenate([ngram.unigram_log2(train, one, vocabulary) for one in test]))
    size = pairs[0][0].how.model
    rows = [
        _row("unigram", size, "test_bits", -1, unigram),
        _row("ngram", size, "test_bits", -1, bits(of_grams[1])),
    ]
    for pair in pairs:
        found = {}
        for variant, network in zip(("spiking", "dense"), pair, strict=True):
            columns, more = _costs(network, variant, test)
            logs = [
                np.concatenate(language.log2_probabilities(network.model, part, network.how.context))
                for part in (validation, test)
            ]
            mixed, weight = with_ngram(logs, of_grams)
            found[variant] = bits(logs[1])
            values = {"test_bits": found[variant], "validation_bits": bits(logs[0])}
            values |= {"test_bits_with_ngram": mixed, "weight_with_ngram": weight}
            rows += [_row(variant, size, name, network.seed, value, **columns) for name, value in values.items()]
            rows += more
            stage.log.info("%s: %.4g bits a token, %.4g with the 5-gram", network.path, found[variant], mixed)
        gap = share_of_gap(unigram, found["spiking"], found["dense"])
        rows.append(_row("spiking", size, "share_of_gap", pair[0].seed, gap))
    return rows


def _row(variant: str, size: str, metric: str, seed: int, value: float, **columns: Any) -> Row:
    keys = {"network": "spikformer", "variant": variant, "size": size, "task": "language", "seed": seed}
    return {**keys, "metric": metric, "value": value, **columns}


def _costs(network: Network, variant: str, documents: Sequence[Array]) -> tuple[Row, list[Row]]:
    """Columns of measurements.COSTS of a token, from a batch of the documents' contexts; rows of rates and energies."""
    context = network.how.context
    flat = np.concatenate(documents)
    count = min(language.BATCH, len(flat) // context)
    if not count:
        raise UserError(f"{len(flat)} tokens to test on are fewer than a context of {context}")
    batch = torch.from_numpy(flat[: count * context].reshape(count, context)).long()
    with torch.no_grad(), operations.counted(network.model) as layers, recorded(network.model) as rates:
        network.model(batch)
    steps = network.how.timesteps if rates else None
    columns = {
        **energy.costs(layers, batch.numel(), steps),
        "parameters": operations.parameters(network.model),
        "train_seconds": network.trained.seconds,
    }
    keys = {"network": "spikformer", "variant": variant, "size": network.how.model, "seed": network.seed}
    rows = [_row(variant, network.how.model, f"rate_{name}", network.seed, float(rate)) for name, rate in rates.items()]
    return columns, rows + energy.rows(layers, batch.numel(), steps, **keys)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--tokens", type=Path, required=True, help="directory of train, validation and test tokens")
    parser.add_argument(
        "--spiking", type=Path, nargs="+", required=True, help=".safetensors of pipeline.snn.spikformer"
    )
    parser.add_argument("--dense", type=Path, nargs="+", required=True, help=".safetensors of pipeline.snn.transformer")
    parser.add_argument("--limit", type=int, default=1 << 30, help="tokens of validation and of test that are read")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to make")
    arguments = parser.parse_args(argv)
    if arguments.limit < 1:
        raise UserError(f"--limit must be at least 1, not {arguments.limit}")
    if len(arguments.spiking) != len(arguments.dense):
        raise UserError(f"{len(arguments.spiking)} spiking networks beside {len(arguments.dense)} dense ones")
    rows = measured(arguments.tokens, arguments.spiking, arguments.dense, arguments.limit)
    store.write_parquet(arguments.output, measurements.table(rows))


if __name__ == "__main__":
    sys.exit(stage.run(main))
