import faiss
import numpy as np
import pytest

from pipeline import exhaustive
from pipeline.codec import NotApplicableError, load, save, shared_bytes
from pipeline.codecs import faiss_peers
from pipeline.codecs.faiss_peers import build, parse
from pipeline.stage import UserError

SCALAR = ["SQ4", "SQ6", "SQ8", "SQfp16", "SQtqmse2"]
ROTATED = ["PCA10,SQ8", "PCAR12,SQ4", "OPQ5_20,PQ5x4np@opq_niter=2,pq_niter=3"]
RANKED_OTHERWISE = ["RaBitQ", "RaBitQ2", "RaBitQ4", "EDEN1", "EDEN2", "PCA10,EDEN2", "PCA10,RaBitQ2"]
PRODUCT = ["PQ6x6np", "PQ6x4np@pq_niter=5"]
BINARY = ["LSH", "LSH20", "LSHr", "LSHrt", "LSH64r", "ITQ16,LSH", "ITQ,LSH", "RR64,LSH"]
ALL = SCALAR + ROTATED + RANKED_OTHERWISE + PRODUCT + BINARY
DECODED = SCALAR + ROTATED + PRODUCT + ["EDEN1", "EDEN2", "PCA10,EDEN2"]


def unit(rows, dims, seed=0):
    """Rows with a spectrum that falls, as embeddings have: something to gain for those who look for it."""
    x = np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)
    mixed = (x * 0.9 ** np.arange(dims)) @ np.linalg.qr(np.random.default_rng(99).standard_normal((dims, dims)))[0]
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tables this small only wait for one another's threads."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture(scope="module")
def x():
    return unit(400, 30)


@pytest.fixture(scope="module", params=ALL)
def codec(request, x):
    return build(f"faiss:{request.param}", 0).fit(x[:300])


def faiss_itself(codec, x):
    """The trained index, filled by faiss's own `add`, with faiss's own ranks."""
    index = faiss.deserialize_index(codec.shared["index"])
    index.add(x)
    return index


def test_ranks_are_those_of_add_and_search(codec, x):
    asked = unit(25, 30, seed=1)
    index, codes = faiss_itself(codec, x), codec.encode(x)
    distances, rows = index.search(asked, 10)
    (rule,) = codec.searches
    found = codec.searcher(rule, codes)(asked, 10)
    np.testing.assert_array_equal(found, rows)
    assert rule == ("hamming" if codec.factory in BINARY else "native")
    assert len(np.unique(distances)) > 3  # a search that tells rows apart


def test_codes_and_their_size_are_faiss_s_own(codec, x):
    codes = codec.encode(x)
    index = faiss.deserialize_index(codec.shared["index"])
    assert index.ntotal == 0
    np.testing.assert_array_equal(codes["codes"], index.sa_encode(x))
    assert codes.nbytes == len(x) * index.sa_code_size()
    assert shared_bytes(codec) == len(faiss.serialize_index(index))


def test_decoding_is_faiss_s_own_and_is_near(codec, x):
    name = codec.name.removeprefix("faiss:")
    if name not in DECODED:
        assert not codec.decodes
        return
    assert codec.decodes
    decoded = codec.decode(codec.encode(x))
    index = faiss_itself(codec, x)
    if name in SCALAR + PRODUCT:
        np.testing.assert_array_equal(decoded, index.reconstruct_n(0, len(x)))
    error = ((x - decoded) ** 2).sum() / ((x - x[:300].mean(axis=0)) ** 2).sum()
    assert error < 0.7  # every decoder beats the mean, and one bit a value does not do much better


@pytest.mark.parametrize("factory", ["SQ8_direct", "SQ8_direct_signed"])
def test_codes_that_cut_queries_to_whole_numbers_on_some_processors_are_searched_by_faiss_itself(factory):
    assert not build(f"faiss:{factory}", 0).fit(unit(300, 16)).native_is_euclidean


@pytest.mark.parametrize("factory", ["SQ4", "SQ8", "SQfp16", "SQtqmse2"])
@pytest.mark.parametrize("dims", [16, 30, 33])
def test_scalar_codes_rank_as_the_euclidean_distance_to_the_decoded_row(factory, dims):
    x, asked = unit(300, dims), unit(25, dims, seed=1)
    codec = build(f"faiss:{factory}", 0).fit(x)
    assert codec.native_is_euclidean
    codes = codec.encode(x)
    native = codec.searcher("native", codes)(asked, 10)
    decoded = codec.decode(codes).astype(np.float64)
    distances = ((asked[:, None] - decoded[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(
        np.take_along_axis(distances, native, axis=1), np.sort(distances, axis=1)[:, :10], atol=1e-6
    )
    np.testing.assert_array_equal(exhaustive.euclidean(decoded)(asked, 10), native)


@pytest.mark.parametrize("factory", RANKED_OTHERWISE)
def test_what_ranks_otherwise_does_not_say_euclidean(factory, x):
    codec = build(f"faiss:{factory}", 0).fit(x[:300])
    assert not codec.native_is_euclidean
    codes = codec.encode(x)
    euclidean = exhaustive.euclidean(codec.index.sa_decode(codes["codes"]))(x[:50], 10)
    assert np.mean(euclidean == codec.searcher("native", codes)(x[:50], 10)) < 0.9


@pytest.mark.parametrize("factory", ["LSH", "LSH20", "ITQ13,LSH", "LSH37r", "RR9,LSH"])
def test_hamming_similarity_of_any_number_of_bits_against_faiss_s_distance(factory, x):
    codec = build(f"faiss:{factory}", 0).fit(x)
    nbits = {"LSH": 30, "LSH20": 20, "ITQ13,LSH": 13, "LSH37r": 37, "RR9,LSH": 9}[factory]
    assert codec.compares == ("hamming",)
    index = faiss_itself(codec, x)
    distances, rows = index.search(x[:20], len(x))
    expected = np.empty((20, len(x)))
    np.put_along_axis(expected, rows, 1 - 2 * distances / nbits, axis=1)
    found = codec.similarity("hamming", codec.encode(x[:20]), codec.encode(x))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_bits_say_on_which_side_of_zero_a_value_is(x):
    """LSH without rotation is the plain sign, written down here bit by bit."""
    codec = build("faiss:LSH", 0).fit(x)
    signs = np.unpackbits(codec.encode(x)["codes"], axis=1, count=30, bitorder="little")
    np.testing.assert_array_equal(signs, x >= 0)


@pytest.mark.parametrize("factory", ["PQ6x4np", "OPQ5_20,PQ5x4np@opq_niter=2", "ITQ16,LSH", "EDEN2", "PCA10,SQ8"])
def test_the_same_seed_gives_the_same_codes(factory, x):
    one, two = (build(f"faiss:{factory}", 3).fit(x) for _ in range(2))
    np.testing.assert_array_equal(one.shared["index"], two.shared["index"])
    np.testing.assert_array_equal(one.encode(x)["codes"], two.encode(x)["codes"])


def test_another_seed_starts_k_means_elsewhere(x):
    one, two = (build("faiss:PQ6x4np", seed).fit(x) for seed in (0, 1))
    assert np.any(one.encode(x)["codes"] != two.encode(x)["codes"])


# --- names and settings ---------------------------------------------------------------------------------------------


def test_names_parse():
    assert parse("faiss:SQ8") == ("SQ8", {})
    assert parse("faiss:OPQ16_64,PQ16x8np@opq_niter=4,pq_niter=8") == (
        "OPQ16_64,PQ16x8np",
        {"opq_niter": 4, "pq_niter": 8},
    )
    assert build("faiss:PQ6x4np@pq_niter=5", 0).name == "faiss:PQ6x4np@pq_niter=5"


@pytest.mark.parametrize(
    "name",
    [
        *("SQ8", "faiss", "faiss:", "faiss:garbage", "faiss:SQ9", "faiss:PQ", "faiss:PCA10"),
        *("faiss:IVF4,SQ8", "faiss:HNSW8", "faiss:SQ8,RFlat", "faiss:IDMap,SQ8"),
        *("faiss:PQ6x4np@", "faiss:PQ6x4np@pq_niter", "faiss:PQ6x4np@pq_niter=0", "faiss:PQ6x4np@pq_niter=1.5"),
        *("faiss:PQ6x4np@niter=4", "faiss:PQ6x4np@pq_niter=4,", "faiss:PQ6x4np@pq_niter=4,pq_niter=5"),
        *("faiss:PQ6x4np@opq_niter=4", "faiss:SQ8@pq_niter=4", "faiss:OPQ5_20,SQ8@pq_niter=4"),
    ],
)
def test_names_that_can_never_be_are_refused_before_anything_is_fitted(name):
    with pytest.raises(UserError, match="representations: ") as error:
        build(name, 0)
    assert "\n" not in str(error.value)
    assert name.removeprefix("faiss:").partition("@")[0] in str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("faiss:PQ7x8", "multiple of the number of subquantizers"),
        ("faiss:PCA31,SQ8", "31|d_out|d_in"),
        ("faiss:LSH31", "nbits"),
        ("faiss:ITQ31,LSH", "31|d_out|d_in"),
    ],
)
def test_names_that_this_table_cannot_have_are_not_applicable(name, reason, x):
    with pytest.raises(NotApplicableError, match=reason) as error:
        build(name, 0).fit(x)
    assert "\n" not in str(error.value)
    assert ".cpp" not in str(error.value)
    assert "30 dimensions" in str(error.value)


def test_too_few_rows_to_train_on_are_not_applicable(x):
    with pytest.raises(NotApplicableError, match="cannot be trained on 20 vectors"):
        build("faiss:PQ6x8np", 0).fit(x[:20])


@pytest.mark.parametrize("name", ["faiss:LSH9r", "faiss:PCA12,LSH9rt"])
def test_a_name_is_checked_without_drawing_a_rotation(name, monkeypatch):
    """Of LSH8192r it would take minutes, every time that a configuration is read."""
    asked = []
    monkeypatch.setattr(faiss_peers, "make_index", lambda factory, dims: asked.append(factory))
    assert build(name, 0).name == name
    assert [factory.rstrip("t")[-4:] for factory in asked] == ["LSH9"]


def test_settings_reach_the_index():
    index = faiss_peers.make_index("OPQ5_20,PQ5x4np", 30)
    settings = {"opq_niter": 2, "opq_niter_pq": 3, "opq_niter_pq_0": 5, "pq_niter": 7}
    before = faiss_peers.innermost(index).pq.cp.seed
    faiss_peers.apply_settings(index, settings, seed=11)
    (rotation,) = faiss_peers.transforms(index)
    assert (rotation.niter, rotation.niter_pq, rotation.niter_pq_0) == (2, 3, 5)
    assert faiss_peers.innermost(index).pq.cp.niter == 7
    assert faiss_peers.innermost(index).pq.cp.seed == before + 11


def test_without_settings_faiss_s_defaults_stay():
    index, untouched = (faiss_peers.make_index("OPQ5_20,PQ5x4np", 30) for _ in range(2))
    faiss_peers.apply_settings(index, {}, seed=0)
    for one, two in zip(faiss_peers.transforms(index), faiss_peers.transforms(untouched), strict=True):
        assert (one.niter, one.niter_pq, one.niter_pq_0) == (two.niter, two.niter_pq, two.niter_pq_0)
    one, two = (faiss_peers.innermost(each).pq.cp for each in (index, untouched))
    assert (one.niter, one.seed) == (two.niter, two.seed)


def test_fewer_iterations_give_other_codes(x):
    few, many = (build(f"faiss:PQ6x4np@pq_niter={n}", 0).fit(x) for n in (1, 25))
    assert np.any(few.encode(x)["codes"] != many.encode(x)["codes"])


def test_fitting_again_forgets_the_first_fit(x):
    codec = build("faiss:SQ8", 0).fit(x)
    codec.encode(x)  # the index is held from here on
    codec.fit(x * 2)
    np.testing.assert_allclose(codec.decode(codec.encode(x * 2)), x * 2, atol=0.01)


def test_a_loaded_peer_searches_as_before(codec, x, tmp_path):
    save(codec, "faiss_peers", tmp_path / "codec.safetensors", {})
    again = load(tmp_path / "codec.safetensors")
    (rule,) = codec.searches
    found = again.searcher(rule, again.encode(x))(x[:5], 10)
    np.testing.assert_array_equal(found, codec.searcher(rule, codec.encode(x))(x[:5], 10))


def test_training_without_warnings_trains_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
    loud, silent = (faiss_peers.make_index("OPQ4_16,PQ4x8np", 32) for _ in range(2))
    for index in (loud, silent):
        faiss_peers.apply_settings(index, {"opq_niter": 2}, 0)
    loud.train(x)
    assert "WARNING" in capfd.readouterr().err
    with faiss_peers.without_warnings(silent):
        silent.train(x)
    assert "WARNING" not in capfd.readouterr().err
    np.testing.assert_array_equal(faiss.serialize_index(loud), faiss.serialize_index(silent))
