"""Against the library itself. Where scores tie, scores are compared, not row numbers."""

import re

import numpy as np
import pytest
from sentence_transformers.util.quantization import (
    quantize_embeddings,
    semantic_search_faiss,
    semantic_search_usearch,
)

from pipeline.codec import load, read_codes, save, shared_bytes, write_codes
from pipeline.codecs.sentence_transformers_peers import KINDS, PREFIX, build
from pipeline.stage import UserError

DIMS = [5, 8, 13, 30, 37, 64]
K = 10


def unit(rows, dims, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def fitted(kind, x):
    return build(PREFIX + kind, 0).fit(x)


def ranges_of(x):
    return np.vstack([x.min(axis=0), x.max(axis=0)])


def library(search, kind, **how):
    (hits, _) = search(**how, top_k=K, rescore=kind.endswith("rescore"), rescore_multiplier=4, exact=True)
    rows = np.array([[hit["corpus_id"] for hit in row] for row in hits])
    return rows, np.array([[hit["score"] for hit in row] for row in hits])


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_the_library_s(kind, dims):
    x, fit = unit(60, dims), unit(50, dims, seed=2)
    codes = fitted(kind, fit).encode(x)
    expected = {}
    if "binary" in kind:
        expected["bits"] = quantize_embeddings(x, "ubinary")
        np.testing.assert_array_equal(expected["bits"], np.packbits(x > 0, axis=1))
    if "int8" in kind:
        expected["bytes"] = quantize_embeddings(x, "int8", ranges=ranges_of(fit))
    assert set(codes.arrays) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(codes[name], array)
        assert codes[name].dtype == array.dtype
    assert codes.nbytes == 60 * (("binary" in kind) * -(-dims // 8) + ("int8" in kind) * dims)
    assert shared_bytes(fitted(kind, fit)) == 4 + 8 * dims * ("int8" in kind)


@pytest.mark.parametrize("dims", DIMS)
def test_binary_ranks_are_those_of_semantic_search_faiss(dims):
    x, asked = unit(300, dims), unit(20, dims, seed=1)
    codec = fitted("binary", x)
    codes = codec.encode(x)
    rows, scores = library(
        semantic_search_faiss,
        "binary",
        query_embeddings=asked,
        corpus_embeddings=quantize_embeddings(x, "ubinary"),
        corpus_precision="ubinary",
    )
    found = codec.searcher("hamming", codes)(asked, K)
    np.testing.assert_array_equal(found, rows)
    distances = np.sum((asked > 0)[:, None] != (x > 0)[None], axis=2)
    np.testing.assert_array_equal(np.take_along_axis(distances, found, axis=1), scores)
    np.testing.assert_allclose(codec.similarity("hamming", codes.take(np.arange(20)), codes), 1 - 2 * np.sum(
        (x[:20] > 0)[:, None] != (x > 0)[None], axis=2) / dims, atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("dims", DIMS)
def test_rescored_binary_ranks_are_those_of_semantic_search_faiss(dims):
    x, asked = unit(300, dims), unit(20, dims, seed=1)
    codec = fitted("binary+rescore", x)
    rows, scores = library(
        semantic_search_faiss,
        "binary+rescore",
        query_embeddings=asked,
        corpus_embeddings=quantize_embeddings(x, "ubinary"),
        corpus_precision="ubinary",
    )
    found = codec.searcher("native", codec.encode(x))(asked, K)
    # the library scores with bits 0 and 1, which orders as signs do: 2 q.b - sum q
    own = np.einsum("qd,nd->qn", asked, (x > 0).astype(np.float64))
    np.testing.assert_allclose(np.take_along_axis(own, found, axis=1), scores, atol=1e-5)
    tie_free = np.all(np.diff(-scores, axis=1) > 1e-6, axis=1)
    np.testing.assert_array_equal(found[tie_free, : K - 1], rows[tie_free, : K - 1])
    assert dims < 13 or tie_free.any()


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("kind", ["int8", "int8+rescore"])
def test_int8_ranks_are_those_of_semantic_search_usearch(kind, dims):
    x, asked, ranges = unit(300, dims), unit(20, dims, seed=1), ranges_of(unit(200, dims, seed=2))
    codec = fitted(kind, unit(200, dims, seed=2))
    rows, scores = library(
        semantic_search_usearch,
        kind,
        query_embeddings=asked,
        corpus_embeddings=quantize_embeddings(x, "int8", ranges=ranges),
        corpus_precision="int8",
        ranges=ranges,
    )
    found = codec.searcher("native", codec.encode(x))(asked, K)
    stored = quantize_embeddings(x, "int8", ranges=ranges).astype(np.float64)
    if kind == "int8":
        query = quantize_embeddings(asked, "int8", ranges=ranges).astype(np.float64)
        own, scores = query @ stored.T, 1 - scores  # usearch's distance is 1 - inner product
        tolerance = {"rtol": 1e-6}
    else:
        own, tolerance = asked @ ((stored + 128) * (ranges[1] - ranges[0]) / 255 + ranges[0]).T, {"atol": 1e-5}
    np.testing.assert_allclose(np.take_along_axis(own, found, axis=1), scores, **tolerance)
    tie_free = np.all(np.diff(-scores, axis=1) > 1e-6, axis=1)
    assert tie_free.any()
    np.testing.assert_array_equal(found[tie_free, : K - 1], rows[tie_free, : K - 1])


@pytest.mark.parametrize("dims", [13, 64])
def test_bits_then_int8_against_both_steps_written_out(dims):
    x, asked = unit(300, dims), unit(20, dims, seed=1)
    codec = fitted("binary+int8_rescore", x)
    found = codec.searcher("native", codec.encode(x))(asked, K)
    low, high = ranges_of(x).astype(np.float64)
    rows = (quantize_embeddings(x, "int8", ranges=ranges_of(x)).astype(np.float64) + 128) * (high - low) / 255 + low
    distances = np.sum((asked > 0)[:, None] != (x > 0)[None], axis=2)
    for query, near, own in zip(asked, distances, found, strict=True):
        candidates = np.argsort(near, kind="stable")[: 4 * K]
        scores = rows[candidates] @ query
        np.testing.assert_array_equal(own, candidates[np.argsort(-scores)][:K])


def test_rescoring_never_asks_for_more_rows_than_there_are():
    x = unit(15, 9)
    for kind in KINDS:
        codec = fitted(kind, x)
        found = codec.searcher(codec.searches[0], codec.encode(x))(x[:3], K)
        assert found.shape == (3, K)
        assert all(len(set(row)) == K for row in found.tolist())


@pytest.mark.parametrize("dims", DIMS)
def test_decoded_bytes_are_what_the_library_rescores_with(dims):
    x = unit(60, dims)
    x[:, 1] = 0.25  # a constant dimension
    fit, x = x[:50], x.copy()
    x[55:, 1] = [1.5, 0.3, -1, 2.5, 0.25]
    codec = fitted("int8", fit)
    decoded = codec.decode(codec.encode(x))
    assert decoded.dtype == np.float32
    # score unit queries by the library: one value of every stored row at a time
    hits, _ = semantic_search_usearch(
        query_embeddings=np.eye(dims, dtype=np.float32),
        corpus_embeddings=quantize_embeddings(x, "int8", ranges=ranges_of(fit)),
        corpus_precision="int8",
        ranges=ranges_of(fit),
        top_k=60,
        rescore=True,
        rescore_multiplier=1,
    )
    for dimension, row in enumerate(hits):
        for hit in row:
            assert decoded[hit["corpus_id"], dimension] == pytest.approx(hit["score"], abs=1e-6)


@pytest.mark.parametrize("dims", DIMS)
def test_decoded_bits_are_unit_vectors_with_these_signs(dims):
    x = unit(20, dims)
    codec = fitted("binary", x)
    decoded = codec.decode(codec.encode(x))
    np.testing.assert_allclose(decoded, np.where(x > 0, 1, -1) / np.sqrt(dims), rtol=1e-6)
    assert decoded.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_codec_searches_and_decodes_as_before(kind, tmp_path):
    x, asked = unit(40, 13), unit(5, 13, seed=1)
    codec = fitted(kind, x)
    save(codec, "sentence_transformers_peers", tmp_path / "codec.safetensors", {"seed": 0})
    again = load(tmp_path / "codec.safetensors")
    before = codec.encode(x)
    write_codes(tmp_path / "codes.parquet", [f"w{i}" for i in range(40)], again.encode(x), {})
    _, stored = read_codes(tmp_path / "codes.parquet")
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(stored[name], array)
    (rule,) = codec.searches
    np.testing.assert_array_equal(again.searcher(rule, stored)(asked, 3), codec.searcher(rule, before)(asked, 3))
    np.testing.assert_array_equal(again.decode(stored), codec.decode(before))
    with pytest.raises(UserError, match="14 dimensions for a codec fitted on 13"):
        codec.encode(unit(3, 14))


def test_codes_of_another_kind_or_dimension_are_refused():
    codecs = {(kind, dims): fitted(kind, unit(40, dims)) for kind in KINDS for dims in (12, 13, 20)}
    layouts = {kind: ("bits" if "binary" in kind else "") + ("bytes" if "int8" in kind else "") for kind in KINDS}
    for (kind, dims), codec in codecs.items():
        for (other, others), maker in codecs.items():
            if (layouts[other], others) == (layouts[kind], dims):
                continue
            codes = maker.encode(unit(40, others, seed=4))
            if layouts[kind] == layouts[other] == "bits" and (dims, others) == (13, 12):
                continue  # twelve bits are thirteen, the last of them 0
            uses = [codec.decode, lambda codes, codec=codec: codec.searcher(codec.searches[0], codes)]
            uses += [lambda codes, codec=codec: codec.similarity("hamming", codes, codes)] if codec.compares else []
            for use in uses:
                with pytest.raises(UserError, match=rf"{re.escape(codec.name)}: codes of another"):
                    use(codes)


def test_abilities():
    for kind, decodes, learns, rule in (
        ("binary", False, False, "hamming"),
        ("binary+rescore", False, False, "native"),
        ("binary+int8_rescore", False, True, "native"),
        ("int8", True, True, "native"),
        ("int8+rescore", False, True, "native"),
    ):
        codec = build(PREFIX + kind, 0)
        assert (codec.decodes, codec.learns, codec.searches) == (decodes, learns, (rule,))
        assert codec.compares == (("hamming",) if kind == "binary" else ())
        assert codec.family == "peer"


@pytest.mark.parametrize("name", ["binary", "sentence-transformers:", PREFIX + "int4", PREFIX + "binary+int8"])
def test_unknown_names(name):
    with pytest.raises(UserError, match="is not one of sentence-transformers:binary"):
        build(name, 0)
