"""Sources by name, and the packaged one."""

import subprocess
import sys

import pytest

from pipeline import packaged as packaged_files
from pipeline.corpus import packaged as packaged_source
from pipeline.corpus.source import Document, open_source
from pipeline.stage import UserError


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("wikipedia", {}, ["'wikipedia'", "packaged", "files", "huggingface"]),
        ("packaged", {"limits": 3}, ["'limits'", "limit"]),
        ("packaged", {"limit": 0}, ["limit", "0"]),
        ("packaged", {"limit": True}, ["limit", "True"]),
        ("packaged", {"limit": "3"}, ["limit", "'3'"]),
        ("files", {}, ["'paths'", "missing"]),
        ("files", {"paths": []}, ["paths"]),
        ("files", {"paths": [3]}, ["paths"]),
        ("files", {"paths": "a.txt", "document": "word"}, ["'word'", "line", "paragraph", "file"]),
        ("files", {"paths": "a.txt", "text_field": 3}, ["text_field"]),
        ("huggingface", {"split": 3}, ["split", "3"]),
    ],
)
def test_bad_options_are_named(name: str, options: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        open_source(name, options)
    assert all(word in str(error.value) for word in words)


def test_limit_and_order() -> None:
    source = open_source("packaged", {"limit": 3})
    assert list(source) == list(source)
    assert [document.id for document in source] == ["enwiki/12", "enwiki/25", "enwiki/39"]
    assert source.facts()["limit"] == "3"
    assert packaged_source.WIKIPEDIA_SHA256 in source.facts()["sha256"]


def test_parts_of_any_source_hold_every_document_once() -> None:
    whole = list(open_source("packaged", {"limit": 10}))
    parts = [list(open_source("packaged", {"limit": 10}, part, 3)) for part in range(3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert [parts[number % 3][number // 3] for number in range(10)] == whole
    with pytest.raises(UserError, match="no part 3 of 3 parts"):
        open_source("packaged", {}, 3, 3)


def test_packaged_holds_articles_and_news_only(packaged: list[Document]) -> None:
    articles = [document for document in packaged if document.id.startswith("enwiki/")]
    news = [document for document in packaged if document.id.startswith("lee/")]
    # 206 pages: 100 redirects (one of them outside the article namespace).
    assert (len(articles), len(news), len(packaged)) == (106, 300, 406)
    assert len({document.id for document in packaged}) == 406
    assert "enwiki/10" not in {document.id for document in packaged}
    assert news[0].text.startswith("Hundreds of people have been forced to vacate their homes")


def test_changed_package_data_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_files, "digest", lambda path: "0" * 64)
    with pytest.raises(UserError, match="digest"):
        next(iter(open_source("packaged", {})))


def test_nothing_heavy_is_imported() -> None:
    code = "import sys; from pipeline.corpus import documents, source; source.open_source('packaged', {'limit': 1})"
    code += "; print([m for m in ('gensim', 'datasets', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
