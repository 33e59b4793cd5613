"""Stage: what a trained PopSpike network of store-recall does in one sequence: spikes, membranes, the state it holds.

    python -m pipeline.snn.popspike_activity --model results/snn/models/store_recall/spiking-0.safetensors \\
        --embedding data/embeddings/spacy_md.parquet --output results/snn/activity/popspike.safetensors

Makes a file of pipeline/recording.py, of a sequence that no training drew: BEFORE words, the one to be stored, and
DISTRACTORS behind it. Layers: `words` (the input's population code, cues behind it), `inputs`, `values` and `gates` of
the working memory, `state` (what it holds, c), `output`. At the last place stands what the network answers.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import recording, stage, store
from pipeline.codec import Array
from pipeline.neurons.lif import LIF
from pipeline.recording import Recording
from pipeline.snn import store_recall
from pipeline.snn.popspike import PopSpike
from pipeline.snn.popspike_measure import read_model
from pipeline.snn.tracing import layer, spikes_alone, traced
from pipeline.stage import UserError

BEFORE, DISTRACTORS = 4, 8
SEED = 1


@torch.no_grad()
def recorded(model: PopSpike, row: Array, vectors: Array, names: Sequence[str]) -> Recording:
    """Of one sequence int [1, L + 1] of store_recall; `vectors` and `names` of its words."""
    sequence = torch.from_numpy(row)
    memory: dict[str, Array] = {}

    def note(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        width = made.shape[-1] // 2  # [x, c]
        memory["words"], memory["state"] = given[0][:, 0].numpy(), made[:, 0, width:].numpy()

    handle = model.memory.register_forward_hook(note)
    try:
        with traced(model) as traces:
            scores, _ = store_recall.logits(model, sequence, torch.from_numpy(vectors))
    finally:
        handle.remove()
    cues = store_recall.cues(sequence)[0]
    layers = [spikes_alone("", "words", memory["words"])]
    for name, trace in traces.items():
        if name == "output":
            layers.append(spikes_alone("", "state", memory["state"]))
        lif: Any = model.get_submodule(name)
        assert isinstance(lif, LIF)
        layers.append(layer("", name.removeprefix("memory."), lif, trace))
    marks = {cue: int(place) for cue, place in zip(("store", "recall"), cues.argmax(0), strict=True)}
    shown = [names[word] for word in row[0, : len(cues) - 1]]
    answer = f"answer: {names[int(scores[0].argmax())]}"
    return Recording("PopSpike, store-recall", model.timesteps, [*shown, answer], False, layers, {}, marks)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="spiking network of pipeline.snn.store_recall")
    parser.add_argument("--embedding", type=Path, required=True, help="the embedding table it was trained on")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to make")
    arguments = parser.parse_args(argv)
    table = store.read_embedding(arguments.embedding)
    found = read_model(arguments.model, arguments.embedding, table, None)
    if not (found.module == store_recall.__name__ and isinstance(found.network, PopSpike)):
        raise UserError(f"{arguments.model}: no spiking network of store-recall")
    drawn = store_recall.sequences(np.array([DISTRACTORS]), BEFORE + DISTRACTORS + 2, np.random.default_rng(SEED))
    names = store_recall.chosen_words(table).words
    made = recorded(found.network, drawn, found.codes.vectors[: store_recall.WORDS], names)
    recording.write(arguments.output, made)


if __name__ == "__main__":
    sys.exit(stage.run(main))
