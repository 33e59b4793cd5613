import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.codec import Codes, build, load, read_codes, save, shared_bytes, write_codes
from pipeline.spikes import carried
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

FIXED = [
    ("binary", "sign"),
    ("binary", "sign_centered"),
    ("scalar", "int8"),
    ("floats", "float16"),
    ("floats", "truncate_3"),
    ("ternary", "ternary"),
    ("sigma_delta", "sigma_delta_r2_64"),
    ("sigma_delta", "sigma_delta_r1_64_dual"),
    ("successive_refinement", "successive_refinement_37"),
    ("bit_planes", "bit_planes_40"),
    ("faiss_peers", "faiss:PQ4x4np"),
]


def rows(count, dims=12, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


def made(steps, module, name, seed=3):
    """The carried codec and the one that it carries, both fitted."""
    whole = build("carried", f"carried_{steps}:{module}:{name}", seed).fit(rows(60))
    return whole, build(module, name, seed).fit(rows(60))


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 12))),
    st.integers(1, 120),
)
def test_bytes_of_any_width_come_back_from_any_number_of_steps(data, steps):
    train = carried.bytes_to_train(data, steps)
    bits = 8 * data.shape[1]
    assert (train.neurons, train.timesteps) == (-(-bits // steps), steps)
    np.testing.assert_array_equal(carried.train_to_bytes(train, data.shape[1]), data)
    slots = train.to_dense().transpose(1, 0, 2).reshape(len(data), -1)
    for row, spikes in zip(data, slots, strict=True):
        assert "".join(format(byte, "08b") for byte in row) == "".join(str(int(spike)) for spike in spikes[:bits])
        assert not spikes[bits:].any()


@pytest.mark.parametrize(("module", "name"), FIXED)
@pytest.mark.parametrize("steps", [1, 5, 16])
def test_codes_come_back_bit_for_bit(steps, module, name):
    whole, inner = made(steps, module, name)
    x = rows(9, seed=1)
    codes, direct = whole.encode(x), inner.encode(x)
    again = whole.carried(codes)
    assert again.arrays.keys() == direct.arrays.keys()
    for key, array in direct.arrays.items():
        assert again[key].dtype == array.dtype
        assert again[key].tobytes() == np.ascontiguousarray(array).tobytes()
    np.testing.assert_array_equal(whole.decode(codes), inner.decode(direct))
    train = whole.spike_train(codes)
    assert whole.timesteps == train.timesteps == steps
    assert train.neurons == -(-8 * direct.nbytes // 9 // steps)
    set_bits = sum(int(np.bitwise_count(np.ascontiguousarray(a).view(np.uint8)).sum()) for a in direct.arrays.values())
    assert train.spikes == set_bits


@pytest.mark.parametrize(("module", "name"), FIXED)
def test_a_saved_codec_and_its_codes_are_read_again(module, name, tmp_path):
    whole, inner = made(5, module, name)
    save(whole, "carried", tmp_path / "codec", {"seed": 3})
    again = load(tmp_path / "codec", {"name": f"carried_5:{module}:{name}"})
    x = rows(9, seed=1)
    write_codes(tmp_path / "codes", [f"w{row}" for row in range(9)], whole.encode(x), {})
    _, codes = read_codes(tmp_path / "codes")
    np.testing.assert_array_equal(again.encode(x)["spikes"], codes["spikes"])
    np.testing.assert_array_equal(again.decode(codes), inner.decode(inner.encode(x)))
    assert set(whole.shared) == {*(f"inner.{key}" for key in inner.shared), "layout"}
    assert whole.inner.shared.keys() == inner.shared.keys()
    assert shared_bytes(whole) == shared_bytes(inner) + whole.shared["layout"].nbytes
    assert (again.learns, again.decodes, again.family) == (inner.learns, inner.decodes, "spikes")


def test_hamming_on_spikes_is_that_of_the_bits():
    for steps in (1, 5, 16):
        whole, inner = made(steps, "binary", "sign")
        base, queries = rows(300, seed=1), rows(20, seed=2)
        assert whole.searches == ("hamming",)
        spikes = whole.searcher("hamming", whole.encode(base))(queries, 40)
        np.testing.assert_array_equal(spikes, inner.searcher("hamming", inner.encode(base))(queries, 40))
    assert made(4, "scalar", "int8")[0].searches == made(4, "scalar", "int5")[0].searches == ()
    assert made(4, "faiss_peers", "faiss:ITQ6,LSH")[0].searches == ("hamming",)


def test_a_codec_that_is_fitted_again_forgets_the_first_rows():
    whole, _ = made(5, "scalar", "int8")
    x = rows(9, seed=1)
    first = whole.encode(x)
    again = whole.fit(rows(60, seed=7) * 2).encode(x)
    np.testing.assert_array_equal(
        again["spikes"], build("carried", whole.name, 3).fit(rows(60, seed=7) * 2).encode(x)["spikes"]
    )
    assert (again["spikes"] != first["spikes"]).any()


def test_a_code_without_a_decoder_has_none_as_spikes():
    whole, inner = made(4, "faiss_peers", "faiss:ITQ6,LSH")
    assert not whole.decodes
    x = rows(5, seed=1)
    assert all((whole.carried(whole.encode(x))[key] == inner.encode(x)[key]).all() for key in inner.encode(x).arrays)


@pytest.mark.parametrize(("module", "name"), [("ternary", "ternary_entropy"), ("lossless", "lossless")])
def test_codes_of_byte_strings_are_refused(module, name):
    with pytest.raises(UserError, match=r"are byte strings: only codes of fixed width") as error:
        made(4, module, name)
    assert str(error.value).startswith(f"carried_4:{module}:{name}: ")
    assert "\n" not in str(error.value)


def test_the_decoder_of_the_code_inside_stays_one_in_the_ledger():
    from pipeline.evaluation.ledger import shares

    whole, inner = made(4, "linear_decoder", "sign_ridge")
    assert shares(inner).decoder > 0
    assert shares(whole).decoder == shares(inner).decoder
    assert shares(whole).codebook == shares(inner).codebook + whole.shared["layout"].nbytes


def test_other_spikes_are_refused():
    whole, _ = made(5, "binary", "sign")  # 16 bits: 5 steps of 4 neurons, 4 slots to spare
    codes = whole.encode(rows(3))
    with pytest.raises(UserError, match=r"expected is spikes uint8\[5, 1\]"):
        whole.decode(made(16, "binary", "sign")[0].encode(rows(3)))
    spikes = codes["spikes"].copy()
    spikes[1, 4, 0] |= 0x10
    with pytest.raises(UserError, match=r"carried_5:binary:sign: .*vector 1 has a spike behind the last of 16 bits"):
        whole.decode(Codes({"spikes": spikes}))


def test_a_layout_of_several_arrays_is_one_behind_the_other():
    codec = carried.Carried("carried_3:x:y", steps=3)
    codec.shared["layout"] = np.frombuffer(b'{"bits":["|u1",[2]],"scale":["<f4",[]],"pair":["<i2",[1,2]]}', np.uint8)
    codes = Codes(
        {
            "pair": np.array([[[1, -2]], [[3, 4]]], np.int16),
            "bits": np.array([[255, 0], [1, 2]], np.uint8),
            "scale": np.array([1.5, -0.25], np.float32),
        }
    )
    train = codec.spike_train(codec.carry(codes))
    assert isinstance(train, SpikeTrain)
    whole = np.concatenate([codes["bits"], codes["scale"].view(np.uint8).reshape(2, 4)], axis=1)
    np.testing.assert_array_equal(carried.train_to_bytes(train, 10)[:, :6], whole)
    for name, array in codec.carried(codec.carry(codes)).arrays.items():
        np.testing.assert_array_equal(array, codes[name])


def test_more_rows_than_a_block():
    data = np.random.default_rng(0).integers(0, 256, (9000, 5), dtype=np.uint8)
    np.testing.assert_array_equal(carried.train_to_bytes(carried.bytes_to_train(data, 3), 5), data)


@pytest.mark.parametrize(
    "name", ["carried", "carried_0:binary:sign", "carried_04:binary:sign", "carried_4:binary", "carried_4٣:binary:sign"]
)
def test_unknown_names(name):
    with pytest.raises(UserError, match="carried has no codec"):
        build("carried", name, 0)


def test_names_of_the_code_inside_are_checked_before_fitting():
    with pytest.raises(UserError, match="binary has no codec 'signs'"):
        build("carried", "carried_4:binary:signs", 0)
    with pytest.raises(UserError, match="no codec module 'nothing'"):
        build("carried", "carried_4:nothing:sign", 0)
    assert carried.parts("carried_16:faiss_peers:faiss:PQ4x4np") == (16, "faiss_peers", "faiss:PQ4x4np")
