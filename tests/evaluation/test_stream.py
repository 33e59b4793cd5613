"""The stream claim on a small corpus of its own."""

import csv
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import stage
from pipeline.codec import Codes, load, read_codes, write_codes
from pipeline.codecs.fit import fit_module
from pipeline.corpus.documents import write_documents
from pipeline.corpus.source import Document
from pipeline.corpus.tokenizer import train
from pipeline.evaluation import context_model, id_coders
from pipeline.evaluation.stream import break_even, main, part_sizes, read_stream, shared_tables
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, read_embedding, with_ending, write_embedding

WORDS = ["cat", "dog", "sat", "on", "the", "mat", "Paris", *(f"{a}{b}" for a in "bcdfgklm" for b in ("ax", "ix", "ox"))]
DIMS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Documents, a tokenizer, a table and two modules of its codecs."""
    folder = tmp_path_factory.mktemp("stream")
    rng = np.random.default_rng(0)
    texts = ["The cat sat, unseen, on the mat. Paris!"]
    texts += [" ".join(rng.choice(WORDS, 80, p=np.arange(31, 0, -1) / 496)) for _ in range(40)]
    write_documents([Document(str(i), text) for i, text in enumerate(texts)], folder / "documents", 2000)
    train([texts], 300).save(str(folder / "tokenizer.json"))
    table = EmbeddingTable(WORDS, rng.normal(size=(len(WORDS), DIMS)).astype(np.float32))
    write_embedding(folder / "own.parquet", table)
    for module, names in (("floats", ["float32", "float16"]), ("scalar", ["int8"])):
        fit_module(table, module, names, [0], folder / "codecs" / module)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return read_embedding(folder / "own.parquet")


def arguments(folder, output, *more):
    return [
        *("--documents", str(folder / "documents"), "--tokenizer", str(folder / "tokenizer.json")),
        *("--embedding", str(folder / "own.parquet"), "--output", str(output), *more),
    ]


def run(folder, output, *more):
    assert stage.run(main, arguments(folder, output, *more)) == 0
    with open(with_ending(output, ".csv"), newline="") as file:
        return {(row["method"], row["table"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def rows(folder):
    return run(folder, folder / "stream", "--codecs", *(str(folder / "codecs" / m) for m in ("floats", "scalar")))


def test_words_come_in_order_and_those_that_the_table_lacks_are_left_out(folder, table):
    found = read_stream(folder / "documents", folder / "tokenizer.json", table, 1 << 20)
    assert [WORDS[row] for row in found.ids[:7]] == ["the", "cat", "sat", "on", "the", "mat", "Paris"]
    assert (len(found.ids), found.running) == (3207, 3208)
    for most in (5, 7):  # whole documents
        assert len(read_stream(folder / "documents", folder / "tokenizer.json", table, most).ids) == 7


def test_a_table_without_a_word_of_the_corpus_is_refused(folder):
    strange = EmbeddingTable(["zzz"], np.ones((1, 3), np.float32))
    with pytest.raises(UserError, match="none of its words is in the embedding table"):
        read_stream(folder / "documents", folder / "tokenizer.json", strange, 9)


def test_every_coder_meets_every_table_and_what_is_counted_adds_up(rows):
    assert set(rows) == {(m, t) for m in ("order-0", "context model", "PPMd") for t in ("float32", "int8")}
    for (_, shared), row in rows.items():
        payload, decoder, size = (int(row[key]) for key in ("payload_bytes", "decoder_bytes", "table_bytes"))
        assert size == len(WORDS) * DIMS * (4 if shared == "float32" else 1) + (
            0 if shared == "float32" else 2 * DIMS * 4
        )
        assert int(row["shared_bytes"]) == decoder + size
        assert float(row["bits_per_token"]) == pytest.approx(8 * payload / 3207, abs=1e-4)
        assert float(row["ratio_all_in"]) == pytest.approx(4 * DIMS * 3207 / (payload + decoder + size), rel=1e-5)
        assert float(row["ratio_limit"]) == pytest.approx(32 * DIMS / float(row["bits_per_token"]), rel=1e-3)
        assert row["coverage"] == "0.9997"
        assert (row["line_bits_per_token"], row["break_even_tokens_10000x"]) == ("0.128", "never")


def test_only_an_exact_table_gives_exact_vectors(rows):
    assert all(row["ids_bit_exact"] == "True" for row in rows.values())
    assert {shared: row["decoded_bit_exact"] for (_, shared), row in rows.items()} == {
        "float32": "True",
        "int8": "False",
    }


def test_parts_end_with_the_whole(folder, rows):
    parts = pq.read_table(folder / "stream.parquet").to_pylist()
    for (method, shared), row in rows.items():
        line = [part for part in parts if (part["method"], part["table"]) == (method, shared)]
        assert [part["tokens"] for part in line] == [1024, 2048, 3207]
        assert [line[-1][key] for key in ("payload_bytes", "shared_bytes")] == [
            int(row[key]) for key in ("payload_bytes", "shared_bytes")
        ]
        assert [part["ratio_all_in"] for part in line] == sorted(part["ratio_all_in"] for part in line)


def test_a_decoder_that_errs_is_told(folder, tmp_path, monkeypatch):
    decode = context_model.decode

    def erring(data, tree):
        ids = decode(data, tree)
        ids[1000] ^= 1
        return ids

    monkeypatch.setattr(context_model, "decode", erring)
    rows = run(folder, tmp_path / "stream.v1")  # what stands behind a dot is kept
    assert {m: (row["ids_bit_exact"], row["decoded_bit_exact"]) for (m, _), row in rows.items()} == {
        "order-0": ("True", "True"),
        "context model": ("False", "False"),
        "PPMd": ("True", "True"),
    }


def test_settings_that_ppmd_does_not_decode_are_passed_over(folder, tmp_path, monkeypatch):
    real, tried = id_coders.ppmd, []

    def failing(ids, setting):
        tried.append(setting)
        if len({(one.variant, one.order) for one in tried}) < 3:
            raise id_coders.NotReversibleError
        return real(ids, setting)

    monkeypatch.setattr(id_coders, "ppmd", failing)
    assert ("PPMd", "float32") in run(folder, tmp_path / "stream")
    monkeypatch.setattr(id_coders, "settings", lambda ids, choices: [])
    assert {method for method, _ in run(folder, tmp_path / "stream")} == {"order-0", "context model"}


def test_break_even():
    # 4 d / 10,000 is a byte a token; 4 bits of it are spent, so the other half carries what is shared.
    assert break_even(1000, 2500, 4) == 2000
    assert break_even(1, 2500, 8) is None
    # 32 d / 10,000 bits a token: 5.875 for 300 + 1,536 dimensions, 2.1888 for 684.
    assert break_even(1, 1836, 5.8752) is None
    assert break_even(1, 1836, 5.875) == pytest.approx(40_000, rel=1e-3)
    assert break_even(1, 684, 2.19) is None
    assert break_even(1, 684, 2.188) == pytest.approx(10_000, rel=1e-3)


def test_parts():
    assert part_sizes(3000) == [1024, 2048, 3000]
    assert part_sizes(2048) == [1024, 2048]
    assert part_sizes(5) == [5]


def refused(codecs, table, message):
    with pytest.raises(UserError, match=message):
        list(shared_tables(table, codecs))


def test_codes_of_another_table_are_refused(folder, table, tmp_path, capsys):
    scalar = folder / "codecs" / "scalar"
    refused([scalar], EmbeddingTable(WORDS[::-1], table.vectors), r"int8/codes\.parquet: holds codes of other words")
    other = EmbeddingTable(WORDS, np.ones((len(WORDS), DIMS), np.float32))
    refused([scalar], other, r"int8/seed-0\.safetensors: belongs elsewhere: its embedding_digest is")
    shutil.copytree(folder / "documents", tmp_path / "documents")
    shutil.copy(folder / "tokenizer.json", tmp_path)
    write_embedding(tmp_path / "own.parquet", other)
    assert stage.run(main, arguments(tmp_path, tmp_path / "stream", "--codecs", str(scalar))) == 1
    assert "belongs elsewhere" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "stream.csv").exists()


def test_a_table_of_two_directories_and_a_manifest_of_another_kind_are_refused(folder, table, tmp_path):
    scalar = folder / "codecs" / "scalar"
    shutil.copytree(scalar, tmp_path / "scalar")
    refused([scalar, tmp_path / "scalar"], table, "int8 stands in .* too")
    (tmp_path / "scalar" / "manifest.json").write_text("[]")
    refused([tmp_path / "scalar"], table, r"manifest\.json: not what pipeline\.codecs\.fit writes: a list")


def test_the_codes_are_decoded_by_the_codec_that_made_them(table, tmp_path):
    """The first seed's, which is not the smallest."""
    fit_module(table, "scalar", ["int8"], [2, 0], tmp_path / "scalar")
    expected = [load(tmp_path / f"scalar/int8/seed-{seed}.safetensors") for seed in (2, 0)]
    _, codes = read_codes(tmp_path / "scalar/int8/codes.parquet")
    right, wrong = (array_digest(codec.decode(codes)) for codec in expected)
    found = {shared.name: shared.digest for shared in shared_tables(table, [tmp_path / "scalar"])}
    assert found["int8"] == right != wrong


def test_codes_that_their_codec_does_not_decode_are_named(table, tmp_path):
    fit_module(table, "scalar", ["int8"], [0], tmp_path / "scalar")
    path = tmp_path / "scalar/int8/codes.parquet"
    facts = {
        "representation": "int8",
        "codec": "int8/seed-0.safetensors",
        "embedding_digest": array_digest(table.vectors),
    }
    write_codes(path, WORDS, Codes({"levels": np.zeros((len(WORDS), DIMS - 1), np.uint8)}), facts)
    refused([tmp_path / "scalar"], table, r"scalar/int8/codes\.parquet: int8: codes of another codec or dimension")
