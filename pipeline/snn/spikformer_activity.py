"""Stage: what a trained spiking language model does with held-out text: spikes, membranes, attention by phase.

    python -m pipeline.snn.spikformer_activity --model results/snn/models/spikformer/spiking-0.safetensors \\
        --tokens data/corpus/language/tokens/test --tokenizer data/corpus/language/tokenizer.json \\
        --output results/snn/activity/spikformer.safetensors

Makes a file of pipeline/recording.py. Spikes and membranes are of the first test document's first tokens, some STEPS
micro-steps; attention's weights are means over CONTEXTS contexts. Of a deep network: the first, the middle and the last
block.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import recording, stage
from pipeline.corpus import language as corpus
from pipeline.corpus import tokenizer
from pipeline.neurons.lif import LIF
from pipeline.recording import Attention, Layer, Recording
from pipeline.snn import language_measure, spikformer
from pipeline.snn.attention import PhaseShiftedAttention, Shifts
from pipeline.snn.attention_weights import weights
from pipeline.snn.tracing import Trace, layer, traced
from pipeline.stage import UserError

STEPS = 48
CONTEXTS = 16
# What a layer of a block is called: one name, or one for each equal part of its neurons.
NAMES = {
    "lif_in": ("input",),
    "lif_qkv": ("queries", "keys", "values"),
    "lif_out": ("attended",),
    "lif_mlp": ("MLP input",),
    "lif_up": ("MLP hidden",),
}


def shown(blocks: int) -> list[int]:
    """The first, the middle and the last of so many."""
    return sorted({0, blocks // 2, blocks - 1})


def attention(module: PhaseShiftedAttention, q: Tensor, k: Tensor, shifts: Shifts) -> Attention:
    """Of spikes [T, B, N, dims]; the pace is the mean one over the N tokens."""
    q, k = (x.unflatten(-1, (module.heads, -1)) for x in (q, k))
    tokens = shifts.tokens.shape[1]
    found = (
        weights(q, k, shifts, module.decay),
        shifts.heads % len(q),
        (shifts.tokens[:, -1] - shifts.tokens[:, 0]) / max(1, tokens - 1),
        module.decay,
    )
    return Attention(*(x.detach().float().numpy() for x in found))


def block_layers(number: int, block: nn.Module, traces: dict[str, Trace], steps: int) -> list[Layer]:
    found = []
    for name, lif in block.named_modules():
        if isinstance(lif, LIF):
            names = NAMES.get(name, (name,))
            size = lif.neurons // len(names)
            found += [
                layer(
                    f"block {number + 1}",
                    one,
                    lif,
                    traces[f"blocks.{number}.{name}"],
                    slice(part * size, (part + 1) * size),
                    steps,
                )
                for part, one in enumerate(names)
            ]
    return found


@torch.no_grad()
def recorded(model: spikformer.Spikformer, tokens: np.ndarray, words: Sequence[str]) -> Recording:
    """Of contexts int [n, context]; `words`: what each token of the first one is."""
    heard: dict[int, Attention] = {}
    numbers = shown(len(model.blocks))

    def note(number: int) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            assert isinstance(module, PhaseShiftedAttention)
            q, k, _, shifts = given
            heard[number] = attention(module, q, k, shifts)

        return hook

    blocks = {number: model.get_submodule(f"blocks.{number}") for number in numbers}
    handles = [
        block.get_submodule("attention").register_forward_pre_hook(note(number)) for number, block in blocks.items()
    ]
    try:
        with traced(model) as traces:
            model(torch.from_numpy(tokens).long())
    finally:
        for handle in handles:
            handle.remove()
    places = max(1, min(STEPS // model.timesteps, tokens.shape[1]))
    layers = [
        one for number, block in blocks.items() for one in block_layers(number, block, traces, places * model.timesteps)
    ]
    by_group = {f"block {number + 1}": heard[number] for number in numbers}
    return Recording("Spikformer", model.timesteps, list(words[:places]), True, layers, by_group, {})


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help=".safetensors of pipeline.snn.spikformer")
    parser.add_argument("--tokens", type=Path, required=True, help="directory of test token shards")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json of these tokens")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to make")
    arguments = parser.parse_args(argv)
    trained = language_measure.read(arguments.model, spikformer.__name__)
    if (known := corpus.fact(arguments.tokens, "vocabulary_size")) != trained.vocabulary:
        raise UserError(f"{arguments.model}: a vocabulary of {trained.vocabulary}, and {arguments.tokens} has {known}")
    flat = np.concatenate(corpus.documents(arguments.tokens))
    context = trained.how.context
    if len(flat) < context:
        raise UserError(f"{arguments.tokens}: {len(flat)} tokens are fewer than a context of {context}")
    contexts = flat[: min(CONTEXTS, len(flat) // context) * context].reshape(-1, context)
    named = tokenizer.load(arguments.tokenizer)
    if named.get_vocab_size() != known:
        raise UserError(f"{arguments.tokenizer}: {named.get_vocab_size()} tokens, and {arguments.tokens} has {known}")
    words = [named.decode([number], skip_special_tokens=False).strip() for number in contexts[0].tolist()]
    assert isinstance(trained.model, spikformer.Spikformer)
    recording.write(arguments.output, recorded(trained.model, contexts, words))


if __name__ == "__main__":
    sys.exit(stage.run(main))
