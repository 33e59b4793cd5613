import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import save_file

from pipeline.codec import (
    Codes,
    Comparable,
    Searchable,
    Strings,
    build,
    check_vectors,
    load,
    read_codes,
    save,
    shared_bytes,
    write_codes,
)
from pipeline.stage import UserError
from pipeline.store import write_parquet

CODECS = [  # those of sentence-transformers are saved in their own test: importing the library takes six seconds
    *(("floats", name) for name in ("float32", "float16", "truncate_5", "pca_5")),
    ("autoencoder", "autoencoder_5"),
    *(("scalar", name) for name in ("int8", "int5", "int4")),
    *(("successive_refinement", "successive_refinement_37"), ("bit_planes", "bit_planes_40")),
    *(("matryoshka", f"matryoshka_64{kind}") for kind in ("", "_planes_float", "_ternary")),
    *(("ternary", name) for name in ("ternary", "ternary_entropy")),
    *(("linear_decoder", f"sign_ridge{weights}") for weights in ("", "_int8", "_ternary")),
    *(("sigma_delta", f"sigma_delta_{name}") for name in ("r2_64", "r1_64_dual", "r3_40_sparse", "r1_40_smooth")),
    *(("sigma_delta", f"sigma_delta_{name}") for name in ("r2_48_smooth_dual", "greedy_30")),
    *(("phase", "phase_4"), ("naf", "naf_5"), ("rate", "rate_9"), ("integrate_fire", "integrate_fire_15")),
    *(("latency", "latency_16"), ("delta", "delta_7"), ("temporal_sigma_delta", "temporal_sigma_delta_7")),
    *(("staggered", "staggered_3x5"), ("staggered", "staggered_4x4_4"), ("few_spikes", "few_spikes_4")),
    *(("minimum_weight", f"minimum_weight_4_{slots}") for slots in ("8", "2x5")),
    *(("population", f"population_5_9{kind}") for kind in ("", "_latency")),
    *(("transport", f"transport_{kind}") for kind in ("bf16", "float32")),
    *(("carried", f"carried_{inner}") for inner in ("16:binary:sign", "5:scalar:int5", "2:faiss_peers:faiss:ITQ6,LSH")),
    ("spike_codes", "phase_3"),
    *(("spikingjam", f"spikingjam_{name}") for name in ("exact_4x4_4", "8_0.5", "3x4_1")),
    *(("lossless", "lossless"), ("zstd_peers", "zstd"), ("zstd_peers", "zstd_shuffled")),
    *(("binary", name) for name in ("sign", "sign_centered")),
    *(("faiss_peers", f"faiss:{name}") for name in ("SQ8", "RaBitQ2", "EDEN2", "PCA6,SQ4", "ITQ6,LSH", "PQ4x4np")),
]


def rows(count, dims, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


@pytest.fixture(params=CODECS, ids=lambda pair: pair[1])
def pair(request):
    """A module's name, and a codec of it, fitted on 12 dimensions (SQ8 asks for nothing of 8)."""
    module, name = request.param
    return module, build(module, name, 3).fit(rows(60, 12))


# --- every codec ----------------------------------------------------------------------------------------------------


def test_a_saved_codec_encodes_and_decodes_as_before(pair, tmp_path):
    module, codec = pair
    path = tmp_path / "deep" / "codec.safetensors"
    save(codec, module, path, {"seed": 3, "versions": {"numpy": "2"}})
    again = load(path)
    assert type(again) is type(codec)
    assert (again.name, again.seed) == (codec.name, 3)
    assert shared_bytes(again) == shared_bytes(codec)
    x = rows(9, 12, seed=1)
    before, after = codec.encode(x), again.encode(x)
    assert before.arrays.keys() == after.arrays.keys()
    for name in before.arrays:
        if isinstance(before[name], Strings):
            assert before[name].strings() == after[name].strings()
        else:
            assert before[name].dtype == after[name].dtype
            np.testing.assert_array_equal(before[name], after[name])
    if codec.decodes:
        np.testing.assert_array_equal(codec.decode(before), again.decode(after))
    write_codes(tmp_path / "codes.parquet", [f"w{i}" for i in range(9)], before, {})
    _, stored = read_codes(tmp_path / "codes.parquet")
    if codec.decodes:
        np.testing.assert_array_equal(codec.decode(stored), codec.decode(before))
    for rule in getattr(codec, "searches", ()):
        np.testing.assert_array_equal(codec.searcher(rule, stored)(x, 4), codec.searcher(rule, before)(x, 4))
        np.testing.assert_array_equal(*(one.searcher(rule, before)(x, 4) for one in (codec, again)))


def test_every_codec_keeps_the_protocol(pair):
    _, codec = pair
    x = rows(7, 12, seed=1)
    codes = codec.encode(x)
    assert len(codes) == 7
    strings = [array for array in codes.arrays.values() if isinstance(array, Strings)]
    if not strings:
        assert codes.nbytes == 7 * codec.encode(x[:1]).nbytes
    assert isinstance(codec.lossless, bool)
    if codec.decodes:
        assert codec.decode(codes).shape == (7, 12)
        assert codec.decode(codes).dtype == np.float32
        if all(array.group == 1 for array in strings):  # else no vector can be taken by itself
            # A matrix product's last bit may hang on where in its blocks a row stands.
            tolerance = 0 if codec.lossless else 1e-6
            some, every = codec.decode(codes.take(np.array([5, 2]))), codec.decode(codes)
            np.testing.assert_allclose(some, every[[5, 2]], rtol=tolerance, atol=tolerance)
    if isinstance(codec, Searchable):
        for rule in codec.searches:
            assert codec.searcher(rule, codes)(x[:2], 3).shape == (2, 3)
    if isinstance(codec, Comparable):
        for rule in codec.compares:
            assert codec.similarity(rule, codes, codes.take(np.arange(3))).shape == (7, 3)


def test_another_number_of_dimensions_is_refused(pair):
    _, codec = pair
    if codec.name in ("float32", "float16"):
        return  # these store whatever width they are given
    with pytest.raises(UserError, match="vectors of 13 dimensions for a codec fitted on 12"):
        codec.encode(rows(4, 13))


@pytest.mark.parametrize("fault", ["nan", "float64", "empty"])
def test_unusable_vectors_are_refused(pair, fault):
    _, codec = pair
    x = rows(4, 12)
    x[2, 5] = np.nan if fault == "nan" else 0
    bad = {"nan": x, "float64": x.astype(np.float64), "empty": x[:0]}[fault]
    for use in (codec.fit, codec.encode):
        with pytest.raises(UserError, match={"nan": "vector 2 holds", "float64": "float64", "empty": "shape"}[fault]):
            use(bad)


# --- codes ----------------------------------------------------------------------------------------------------------


def test_size_counts_every_array():
    codes = Codes({"bits": np.zeros((10, 3), np.uint8), "norm": np.zeros(10, np.float16), "x": np.zeros((10, 2, 2))})
    assert codes.nbytes == 10 * (3 + 2 + 4 * 8)
    assert len(codes) == 10


def test_arrays_of_different_length_are_no_codes():
    with pytest.raises(ValueError, match="differ in length"):
        Codes({"a": np.zeros((3, 1)), "b": np.zeros((2, 1))})


def test_take_takes_rows_of_every_array_in_the_order_given():
    codes = Codes({"a": np.arange(5), "b": np.arange(10).reshape(5, 2)}).take(np.array([3, 0, 3]))
    assert codes["a"].tolist() == [3, 0, 3]
    assert codes["b"].tolist() == [[6, 7], [0, 1], [6, 7]]


def test_check_vectors():
    x = rows(3, 4)
    assert check_vectors(x) is x
    assert check_vectors(x, 4) is x
    for bad, message in [
        (x[0], r"shape \(4,\)"),
        (x[:0], r"shape \(0, 4\)"),
        (x[:, :0], r"shape \(3, 0\)"),
        (x.astype(np.float64), "type float64: expected float32"),
        (np.where(np.arange(4) == 1, np.float32(np.inf), x), "vector 0 holds NaN or infinity"),
        (np.where(np.arange(3)[:, None] == 2, np.float32(np.nan), x), "vector 2 holds NaN or infinity"),
    ]:
        with pytest.raises(UserError, match=message):
            check_vectors(bad)
    with pytest.raises(UserError, match="4 dimensions for a codec fitted on 5"):
        check_vectors(x, 5)


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("nothing", "x", "no codec module 'nothing'"),
        ("projection", "x", "pipeline.codecs.projection holds no codecs"),
        ("binary", "sing", "'sing'"),
        ("floats", "float8", "'float8'"),
    ],
)
def test_unknown_modules_and_names(module, name, message):
    with pytest.raises(UserError, match=message):
        build(module, name, 0)


# --- codec files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "codec.safetensors"
    save(build("scalar", "int8", 0).fit(rows(5, 3)), "scalar", path, {"seed": 4, "embedding_digest": "abc"})
    return path


def refused(path, content=None):
    """The error that loading the file ends in: one line that names it."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_header_tells_module_name_and_facts(saved):
    with safe_open(saved, framework="numpy") as file:
        header = json.loads(file.metadata()["codec"])
    assert {"module": "scalar", "name": "int8", "seed": 4, "embedding_digest": "abc"}.items() <= header.items()


def test_facts_cannot_rename_a_codec(tmp_path):
    save(build("scalar", "int8", 0).fit(rows(5, 3)), "scalar", tmp_path / "c", {"name": "sign", "module": "binary"})
    assert load(tmp_path / "c").name == "int8"


def test_a_file_cut_short_is_refused_at_every_length(saved):
    whole = saved.read_bytes()
    for length in range(len(whole)):
        refused(saved, whole[:length])


def test_every_flipped_bit_is_noticed(saved):
    whole = saved.read_bytes()
    for place in range(len(whole)):
        for bit in (place % 8, (place + 5) % 8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            refused(saved, bytes(changed))


def test_other_files_are_refused(saved, tmp_path):
    assert "not a whole codec file" in refused(tmp_path / "missing.safetensors")
    assert "not a whole codec file" in refused(tmp_path)
    assert "not a whole codec file" in refused(saved, b"word,vector\ncat,1\n" * 9)
    assert "not a whole codec file" in refused(saved, b"")
    write_parquet(saved, pa.table({"a": [1]}))
    assert "not a whole codec file" in refused(saved)
    save_file({"low": np.zeros(3, np.float32)}, saved)  # safetensors of someone else
    assert "not a whole codec file" in refused(saved)
    for header in ("[]", '"text"', "{}", "{", "null"):
        save_file({"low": np.zeros(3, np.float32)}, saved, metadata={"codec": header})
        assert "not a whole codec file" in refused(saved)


def test_a_codec_that_is_no_more_is_named_with_its_file(saved):
    codec = build("scalar", "int8", 0).fit(rows(5, 3))
    codec.name = "int7"
    save(codec, "scalar", saved, {})
    assert "int7" in refused(saved)
    save(codec, "../scalar", saved, {})
    assert "no name of a codec module" in refused(saved)


@pytest.mark.parametrize("seed", ["x", -1, 1.5, None, [1]])
def test_a_seed_that_is_no_number_is_refused(saved, seed):
    save(build("scalar", "int8", 0).fit(rows(5, 3)), "scalar", saved, {"seed": seed})
    assert f"its seed is {seed!r}" in refused(saved)


def test_facts_that_are_not_those_expected_are_refused(saved, tmp_path):
    assert load(saved, {"name": "int8", "seed": 4, "embedding_digest": "abc"}).name == "int8"
    for expected in ({"name": "int4"}, {"seed": 3}, {"embedding_digest": "abd"}, {"absent": "x"}):
        ((key, value),) = expected.items()
        with pytest.raises(UserError) as error:
            load(saved, {"module": "scalar", **expected})
        assert str(error.value).startswith(f"{saved}: belongs elsewhere: its {key} is ")
        assert str(error.value).endswith(f"not {value!r}")
    path = tmp_path / "codes.parquet"
    write_codes(path, ["a"], Codes({"bits": np.ones(1, np.uint8)}), {"representation": "x"})
    assert read_codes(path, {"representation": "x"})[0] == ["a"]
    with pytest.raises(UserError, match=r"codes\.parquet: belongs elsewhere: its representation is 'x', not 'y'"):
        read_codes(path, {"representation": "y"})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("floats", f"truncate_{k}") for k in ("012", "1٣", "٣", "１2")),
        *(("successive_refinement", f"successive_refinement_{k}") for k in ("012", "1٣", "０12")),
        *(("sigma_delta", f"sigma_delta_{k}") for k in ("r2_0512", "r2_5١2", "r02_512", "r٢_512", "greedy_00")),
        *(("faiss_peers", f"faiss:{k}") for k in ("PCA06,SQ4", "PQ4x04np", "PCA٦,SQ8", "PQ4x4np@pq_niter=0٣")),
        *(("faiss_peers", f"faiss:{k}") for k in ("PQ4x4np@pq_niter=03", "PQ4x4np@pq_niter=3٣", "LSH064")),
    ],
)
def test_a_number_in_a_name_is_written_in_one_way(module, name):
    with pytest.raises(UserError, match="representations: ") as error:
        build(module, name, 0)
    assert "\n" not in str(error.value)


def test_nothing_is_left_behind_when_saving_fails(tmp_path):
    codec = build("scalar", "int8", 0).fit(rows(5, 3))
    with pytest.raises(TypeError):
        save(codec, "scalar", tmp_path / "codec.safetensors", {"fact": object()})
    assert not list(tmp_path.iterdir())


# --- files of codes -------------------------------------------------------------------------------------------------

dtypes = st.sampled_from(["u1", "i1", "u2", "f2", "f4", "f8", "i8", "?"])


@given(rows=st.integers(1, 9), data=st.data())
def test_codes_come_back_in_type_shape_and_value(tmp_path_factory, rows, data):
    inner = st.lists(st.integers(1, 4), max_size=2)
    arrays = {name: data.draw(hnp.arrays(data.draw(dtypes), (rows, *data.draw(inner)))) for name in ("bits", "scale")}
    path = tmp_path_factory.mktemp("codes") / "codes.parquet"
    words = [f"wörd{i}" for i in range(rows)]
    write_codes(path, words, Codes(arrays), {"representation": "x"})
    again, codes = read_codes(path)
    assert again == words
    assert codes.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert codes[name].dtype == array.dtype
        assert codes[name].shape == array.shape
        assert codes[name].tobytes() == array.tobytes()
    assert codes.nbytes == sum(array.nbytes for array in arrays.values())


def test_codes_that_are_no_contiguous_block_and_more_rows_than_a_row_group(tmp_path):
    big = np.random.default_rng(0).integers(0, 255, (5, 1_100_000), dtype=np.uint8).T[:, ::2]
    write_codes(tmp_path / "c.parquet", ["w"] * len(big), Codes({"bits": big}), {})
    np.testing.assert_array_equal(read_codes(tmp_path / "c.parquet")[1]["bits"], big)


def test_code_files_that_are_not_whole_are_refused(tmp_path):
    path = tmp_path / "codes.parquet"
    write_codes(path, ["a", "b"], Codes({"bits": np.arange(2, dtype=np.uint8)}), {})
    whole = path.read_bytes()

    def error():
        with pytest.raises(UserError) as raised:
            read_codes(path)
        assert str(raised.value).startswith(f"{path}: ")
        return str(raised.value)

    path.write_bytes(whole[: len(whole) // 2])
    error()
    path.unlink()
    assert "no such file" in error()
    write_parquet(path, pa.table({"word": ["a"], "vector": [1.0]}))
    assert "holds no codes" in error()
    layout = {"layout": json.dumps({"bits": ["|u1", []]})}
    write_parquet(path, pa.table({"word": ["a"], "other": [1.0]}), layout)
    assert "not the codes" in error()
    write_parquet(path, pa.table({"word": ["a"], "bits": pa.array([b"123"], pa.binary(3))}), layout)
    assert "not the codes" in error()
    write_parquet(path, pa.table({"word": ["a"], "bits": ["text"]}), layout)
    assert "not the codes" in error()
    write_parquet(path, pa.table({"word": ["a"]}), {"layout": "{"})
    assert "not the codes" in error()


def test_a_flipped_bit_in_codes_is_noticed_or_changes_nothing(tmp_path):
    path, words = tmp_path / "codes.parquet", [f"w{row}" for row in range(40)]
    strings = Strings.of([bytes([row]) * (row % 3) for row in range(40)])
    codes = Codes({"bits": np.arange(120, dtype=np.uint8).reshape(40, 3), "level": np.ones(40, "f2"), "text": strings})
    write_codes(path, words, codes, {"representation": "x"})
    whole, noticed, harmless = path.read_bytes(), 0, 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            again, found = read_codes(path)
        except UserError as error:
            noticed += str(error).startswith(f"{path}: ")
            continue
        assert again == words
        assert found.arrays.keys() == codes.arrays.keys()
        assert found["bits"].tobytes() + found["level"].tobytes() == codes["bits"].tobytes() + codes["level"].tobytes()
        assert found["text"].strings() == strings.strings()
        harmless += 1
    assert noticed + harmless == len(whole)
    assert noticed > len(whole) / 2


def test_codes_without_a_checksum_or_with_other_facts_are_refused(tmp_path):
    import pyarrow.parquet as pq

    path = tmp_path / "codes.parquet"
    write_codes(path, ["a"], Codes({"bits": np.ones(1, np.uint8)}), {"representation": "x"})
    table = pq.read_table(path)
    for facts in ({b"representation": b"y"}, {b"sha256": b"0"}):
        write_parquet(path, table.replace_schema_metadata({**table.schema.metadata, **facts}))
        with pytest.raises(UserError, match="its checksum is wrong"):
            read_codes(path)
    write_parquet(path, table.replace_schema_metadata({"layout": table.schema.metadata[b"layout"]}))
    with pytest.raises(UserError, match="its checksum is wrong"):
        read_codes(path)


def test_the_columns_hold_the_packed_bytes_themselves(tmp_path):
    import pyarrow.parquet as pq

    values = np.array([[1.5, -2], [0.25, 3]], np.float32)
    write_codes(tmp_path / "c.parquet", ["a", "b"], Codes({"values": values}), {"representation": "float32"})
    table = pq.read_table(tmp_path / "c.parquet")
    assert table.column_names == ["word", "values"]
    assert table.column("values").to_pylist() == [struct.pack("<2f", *row) for row in values.tolist()]
    assert table.schema.metadata[b"representation"] == b"float32"


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 4))
def test_strings_come_back_and_count_with_their_lengths(strings: list[bytes], group: int) -> None:
    count = max(0, len(strings) * group - (group - 1))
    found = Strings.of(strings, count, group)
    assert found.strings() == strings
    assert len(found) == count
    width = 1 if max(map(len, strings), default=0) < 256 else 2
    assert found.nbytes == sum(map(len, strings)) + width * len(strings)
    if group == 1 and strings:
        assert found[np.array([len(strings) - 1, 0])].strings() == [strings[-1], strings[0]]


def test_strings_on_disk(tmp_path: Path) -> None:
    alone = Strings.of([b"abc", b"", b"\x00" * 300])
    shared = Strings.of([b"xy", b"z"], count=3, group=2)
    codes = Codes({"alone": alone, "shared": shared, "scale": np.arange(3, dtype=np.float32)})
    write_codes(tmp_path / "codes.parquet", ["a", "b", "c"], codes, {})
    words, found = read_codes(tmp_path / "codes.parquet")
    assert words == ["a", "b", "c"]
    assert found["alone"].strings() == alone.strings()
    assert (found["shared"].strings(), found["shared"].group) == ([b"xy", b"z"], 2)
    assert found.nbytes == codes.nbytes == 303 + 3 * 2 + 3 + 2 + 12
    with pytest.raises(TypeError, match="2 vectors share a string"):
        codes.take(np.array([0]))
    with pytest.raises(ValueError, match="1 strings, 2 bytes, 3 by 1"):
        Strings(np.zeros(2, np.uint8), np.array([2], np.uint8), 3)
