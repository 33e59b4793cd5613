"""What the workflow refuses before any job starts, in one line; nothing has to be run for that."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tree(plant: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    tree = plant(tmp_path_factory.mktemp("refusals") / "tree with a space")
    yield tree
    shutil.rmtree(tree.folder, ignore_errors=True)


def test_a_mistyped_key_is_named(tree: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("vocabulary: {sise: 10}\n")
    done = tree.run("-n", configfiles=[str(wrong)])
    assert done.returncode != 0
    assert done.stderr.splitlines()[1:] == [  # the first line is Snakemake's, about its profile
        "error: config: vocabulary: unknown key 'sise'; did you mean 'size'?"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n", None),
        (
            "snn: {spikformer: {variants: [spiking]}}\n",
            "error: config: snn.spikformer.variants: ['spiking'] has 1 of at least 2 items",
        ),
        ("device: tpu\n", "error: config: device: 'tpu' is not one of auto, cpu, cuda"),
        ("device: {cpu\n", "error: config/user.yaml: line 2, column 1: expected ',' or '}', but got '<stream end>'"),
        ("embeddings: {ada: {source: spacy_md}}\n", "error: embedding name 'ada' is reserved for source 'openai'"),
        ("evaluation: {similarity: {cosine: a}}\n", "error: config: evaluation.similarity.cosine: that is another"),
        ("evaluation: {similarity: {men: packaged}}\n", "error: config: evaluation.similarity.men: no packaged set"),
    ],
)
def test_a_user_configuration_is_laid_over_the_shipped_one(tree: Any, text: str, message: str | None) -> None:
    own = tree.folder / "config/user.yaml"
    own.write_text(text)
    try:
        done = tree.run("-n", configfiles=())
    finally:
        own.unlink()
    assert (done.returncode == 0) == (message is None), done.stderr
    if message is not None:
        (line,) = done.stderr.splitlines()[1:]  # the first line is Snakemake's, about its profile
        assert line.startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "embeddings: {mine: {source: npy, options: {path: no.npy}, vocabulary: all}}",
            "embeddings.mine.options: no.npy: no such file",
        ),
        (
            "embeddings: {mine: {source: openai, options: {model: m, api_key: sk-1}}}",
            "option 'api_key' looks like a key",
        ),
        (
            "embeddings: {m: {source: sentence_transformers, options: {model: 3}}}",
            "model must be a folder or a hub name, not 3",
        ),
        ("corpus: {options: {lim: 3}}", "corpus source 'packaged': unknown key 'lim'"),
        ("evaluation: {analogy: no.txt}", "evaluation.analogy: no.txt: no such file"),
        ("evaluation: {similarity: {men: no.txt}}", "evaluation.similarity.men: no.txt: no such file"),
        ("training: {ablation: {left_out: [alon]}}", "config: training.ablation: left_out: there is no variant 'alon'"),
    ],
)
def test_options_and_files_are_checked_before_anything_runs(
    tree: Any, tmp_path: Path, change: str, message: str
) -> None:
    (tmp_path / "wrong.yaml").write_text(change)
    done = tree.run("-n", configfiles=[str(tmp_path / "wrong.yaml")])
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()[1:]  # the first line is Snakemake's, about its profile
    assert line.startswith("error: ")
    assert message in line
    assert "sk-1" not in done.stderr + done.stdout
