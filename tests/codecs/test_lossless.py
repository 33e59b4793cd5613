import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import Codes, Strings, load, save, shared_bytes
from pipeline.codecs.lossless import GROUP, build, read_values, write_values
from pipeline.stage import UserError

BITS = st.integers(0, 2**32 - 1)


def same(a, b):
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def model_rows(rows=2500, dims=48, seed=0):
    """Unit rows of full mantissas whose dimensions are related, as a language model's are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).standard_normal((dims, dims)) * np.linspace(1, 0.1, dims)
    x = rng.standard_normal((rows, dims)) @ mixing.T + 0.5
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def printed(x, form):
    return np.array([[float(format(value, form)) for value in row] for row in x.tolist()], np.float32)


def ratio(codec, x):
    return x.nbytes / (codec.encode(x).nbytes + shared_bytes(codec))


KINDS = {"full": model_rows(), "places": printed(model_rows(), ".4f"), "digits": printed(model_rows() * 50, ".4e")}
FITTED = {kind: build("lossless", 0).fit(x[:1700]) for kind, x in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_comes_back_bit_for_bit_and_its_kind_is_recorded(kind):
    codec, x = FITTED[kind], KINDS[kind]
    same(codec.decode(codec.encode(x)), x)
    base, digits, lowest = codec.shared["system"].tolist()
    assert base == (2 if kind == "full" else 10)
    assert {"full": digits == 24, "places": lowest == -4, "digits": digits == 5}[kind]


@pytest.mark.parametrize(("kind", "least"), [("full", 1.2), ("places", 2.5), ("digits", 1.7)])
def test_ratio_with_everything_counted(kind, least):
    assert ratio(FITTED[kind], KINDS[kind]) > least


def test_size_is_the_entropy_of_the_model_and_the_grid():
    """Independent Gaussians printed to three places: h = log2(s sqrt(2 pi e)) and the grid's 1 / 1000, bits a value."""
    x = printed(np.random.default_rng(0).standard_normal((3000, 20)), ".3f")
    codec = build("lossless", 0).fit(x)
    expected = np.log2(np.sqrt(2 * np.pi * np.e) * 1000)
    assert 8 * codec.encode(x).nbytes / x.size == pytest.approx(expected, rel=0.01)


SIGNALLING_NANS = [0x7F800001, 0xFF800001]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signalling_nan_stays_one(kind):
    """NumPy warns when it casts one to float64, and a warning is an error here."""
    parts = FITTED[kind]._parts()
    x = KINDS[kind][:3].copy()
    x[0, :2] = np.array(SIGNALLING_NANS, np.uint32).view(np.float32)
    same(read_values(write_values(x, *parts), 3, *parts), x)


@pytest.mark.parametrize("kind", KINDS)
@given(patterns=st.lists(BITS, min_size=1, max_size=40), data=st.data())
def test_any_bits_at_all_come_back_under_any_model(kind, patterns, data):
    """NaN with its payload, infinities, -0.0, denormals, values far from all that was fitted."""
    parts = FITTED[kind]._parts()
    x = KINDS[kind][:3].copy()
    for pattern in patterns:
        row, column = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 47))
        x[row, column] = np.array([pattern], np.uint32).view(np.float32)[0]
    same(read_values(write_values(x, *parts), 3, *parts), x)


def test_the_odd_values_come_back():
    info = np.finfo(np.float32)
    odd = [0.0, -0.0, info.smallest_subnormal, -info.smallest_subnormal, info.tiny, info.max, info.min, 1e-20, 1.0]
    for codec in FITTED.values():
        x = np.zeros((2, 48), np.float32)
        x[0, : len(odd)] = odd
        x[1] = np.linspace(-1e-3, 1e-3, 48)
        same(codec.decode(codec.encode(x)), x)


@pytest.mark.parametrize("spread", [1e-44, 1e-38, 1e-5, 1e30, 1e38])
@pytest.mark.parametrize("rows", [1, 30])
def test_tables_of_any_scale(spread, rows):
    x = (np.random.default_rng(0).uniform(-1, 1, (rows, 5)) * spread).astype(np.float32)
    codec = build("lossless", 0).fit(x)
    for asked in (x, -x[::-1].copy(), np.full((2, 5), 7, np.float32)):
        same(codec.decode(codec.encode(asked)), asked)


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, 1 / 3, -5e7])
def test_a_constant_table_costs_next_to_nothing(value):
    x = np.full((900, 6), value, np.float32)
    codec = build("lossless", 0).fit(x)
    same(codec.decode(codec.encode(x)), x)
    assert codec.encode(x).nbytes < 250
    same(codec.decode(codec.encode(x + 1)), x + 1)


def test_groups_share_a_string_and_only_the_last_is_short():
    codec, x = FITTED["full"], KINDS["full"]
    codes = codec.encode(x)
    assert codes["strings"].group == GROUP
    assert len(codes["strings"].strings()) == -(-len(x) // GROUP)
    same(codec.decode(codec.encode(x[:5])), x[:5])


def test_a_saved_codec_decodes_the_same_codes(tmp_path):
    codec, x = FITTED["full"], KINDS["full"]
    assert "weights" in codec.shared
    save(codec, "lossless", tmp_path / "codec", {})
    same(load(tmp_path / "codec").decode(codec.encode(x)), x)


def test_every_damaged_byte_is_noticed_and_named():
    codec, x = FITTED["places"], KINDS["places"][:2]
    string = codec.encode(x)["strings"].strings()[0]
    for place in range(len(string)):
        changed = bytearray(string)
        changed[place] ^= 1 << place % 8
        with pytest.raises(UserError, match="vectors from 0 on are damaged") as raised:
            codec.decode(Codes({"strings": Strings.of([bytes(changed)], 2, 2)}))
        assert "\n" not in str(raised.value)
    for length in range(0, len(string), 7):
        with pytest.raises(UserError, match="damaged"):
            codec.decode(Codes({"strings": Strings.of([string[:length]], 2, 2)}))


def test_codes_of_another_table_are_refused():
    codes = FITTED["places"].encode(KINDS["places"][:10])
    with pytest.raises(UserError, match="damaged"):
        FITTED["digits"].decode(codes)


def test_it_is_given_raw_values_and_unknown_names_are_refused():
    assert build("lossless", 0).lossless
    with pytest.raises(UserError, match="lossless has no codec 'zip'"):
        build("zip", 0)
