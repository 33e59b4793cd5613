"""The default corpus, and what is made from it, once for all tests here."""

from pathlib import Path

import pytest

from pipeline.corpus import tokenizer
from pipeline.corpus.documents import write_documents
from pipeline.corpus.packaged import Source
from pipeline.corpus.source import Document


@pytest.fixture(scope="session")
def packaged() -> list[Document]:
    return list(Source())


@pytest.fixture(scope="session")
def documents(packaged: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards of every fourth document of the default corpus."""
    output = tmp_path_factory.mktemp("corpus") / "documents"
    write_documents(packaged[::4], output, shard_bytes=150_000)
    return output


@pytest.fixture(scope="session")
def tokenizer_json(documents: Path) -> Path:
    output = documents.parent / "tokenizer.json"
    arguments = ["--documents", documents, "--vocabulary-size", 3000, "--lowercase", "--output", output]
    tokenizer.main(list(map(str, arguments)))
    return output
