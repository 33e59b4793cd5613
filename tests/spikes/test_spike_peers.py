"""Against the libraries themselves; each test needs its package (`make spike-peers`), but for those of names."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from pipeline.codec import load, save, shared_bytes
from pipeline.spikes import spike_peers
from pipeline.spikes.spike_peers import CURRENT, KINDS, build
from pipeline.stage import UserError

NAMES = [
    *("snntorch:rate_20", "snntorch:latency_20", "spikingjelly:poisson_20", "spikingjelly:latency_20"),
    *("spikingjelly:phase_6", "norse:poisson_20", "norse:lif_20", "norse:latency_20", "norse:population_5_20"),
    "nengo:ensemble_7_20",
]
T = 20


def rows(count, dims=4, seed=0):
    x = np.random.default_rng(seed).uniform(-1, 1, (count, dims)).astype(np.float32)
    x[0] = 1  # the same range for all
    return x


@pytest.fixture(scope="module")
def codecs():
    return {}


@pytest.fixture
def fitted(codecs):
    """name -> the codec, fitted on 300 rows of 4 values in -1 .. 1"""

    def fit(name):
        pytest.importorskip(name.partition(":")[0])
        if name not in codecs:
            codecs[name] = build(name, 3).fit(rows(300))
        return codecs[name]

    return fit


def dense(codec, x):
    """[T, n, d P]"""
    return codec.spike_train(codec.encode(x)).to_dense()


def library(name):
    return pytest.importorskip(name)


def test_every_kind_is_tested():
    assert {build(name, 0).kind for name in NAMES} == set(KINDS)


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_the_same_each_time_and_decode_as_before_when_saved(name, fitted, tmp_path, monkeypatch):
    codec, x = fitted(name), rows(9, seed=1)
    assert codec.family == "peer"
    first = codec.encode(x)
    np.testing.assert_array_equal(codec.encode(x)["spikes"], first["spikes"])
    decoded = codec.decode(first)
    assert (decoded.shape, decoded.dtype) == (x.shape, np.float32)
    save(codec, "spike_peers", tmp_path / "codec.safetensors", {"seed": 3})
    again = load(tmp_path / "codec.safetensors")
    np.testing.assert_array_equal(again.encode(x)["spikes"], first["spikes"])
    monkeypatch.setattr(spike_peers, "module", None)  # no package is needed to decode
    np.testing.assert_array_equal(again.decode(first), decoded)
    assert shared_bytes(again) == 4 * (2 * 4 + again.shared["weights"].size + 1)


@pytest.mark.parametrize("name", ["snntorch:rate_20", "norse:poisson_20", "nengo:ensemble_7_20"])
def test_another_seed_draws_other_spikes(name, fitted):
    codec, other = fitted(name), build(name, 4).fit(rows(300))
    x = rows(30, seed=1)
    assert (codec.encode(x)["spikes"] != other.encode(x)["spikes"]).any()


@pytest.mark.parametrize("name", ["snntorch:rate_20", "spikingjelly:phase_6", "nengo:ensemble_7_20"])
def test_rows_are_encoded_in_blocks_in_order(name, fitted, monkeypatch):
    codec, x = fitted(name), rows(50, seed=1)
    whole = codec.decode(codec.encode(x))
    monkeypatch.setattr(spike_peers, "BLOCK_BYTES", 7 * 4 * 4 * codec.steps * codec.population)
    parts = codec.decode(codec.encode(x))
    if name == "snntorch:rate_20":
        assert ((parts - x) ** 2).mean() < 0.1
    else:
        np.testing.assert_array_equal(parts, whole)


def test_snntorch_spikes_are_its_own(fitted):
    torch, spikegen = library("torch"), library("snntorch.spikegen")
    x = rows(9, seed=1)
    u = torch.from_numpy((x + 1) / 2)
    np.testing.assert_array_equal(
        dense(fitted("snntorch:latency_20"), x), spikegen.latency(u, num_steps=T, normalize=True, linear=True)
    )
    torch.manual_seed(3)
    np.testing.assert_array_equal(dense(fitted("snntorch:rate_20"), x), spikegen.rate(u, num_steps=T))


def test_encoding_leaves_torch_s_random_numbers_alone(fitted):
    torch, codec = library("torch"), fitted("snntorch:rate_20")
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    codec.encode(rows(3))
    assert torch.equal(torch.rand(3), expected)


def test_spikingjelly_spikes_are_its_own(fitted):
    torch, encoding = library("torch"), library("spikingjelly.activation_based.encoding")
    x = rows(9, seed=1)
    u = torch.from_numpy((x + 1) / 2)
    for name, encoder, value in (
        ("spikingjelly:latency_20", encoding.LatencyEncoder(T), u),
        ("spikingjelly:phase_6", encoding.WeightedPhaseEncoder(6), u * (1 - 2**-6)),
        ("spikingjelly:poisson_20", encoding.PoissonEncoder(), u),
    ):
        torch.manual_seed(3)
        found = dense(fitted(name), x)
        expected = [encoder(value).numpy() for _ in range(len(found))]
        if name == "spikingjelly:poisson_20":  # drawn all at once here, step by step there: the same numbers
            torch.manual_seed(3)
            expected = [encoder(value).numpy() for _ in range(T)]
        np.testing.assert_array_equal(found, expected)


def test_norse_spikes_are_its_own(fitted):
    torch, encode = library("torch"), library("norse.torch.functional.encode")
    x = rows(9, seed=1)
    u = torch.from_numpy((x + 1) / 2)
    np.testing.assert_array_equal(dense(fitted("norse:lif_20"), x), encode.constant_current_lif_encode(CURRENT * u, T))
    np.testing.assert_array_equal(dense(fitted("norse:latency_20"), x), encode.spike_latency_lif_encode(CURRENT * u, T))
    torch.manual_seed(3)
    np.testing.assert_array_equal(dense(fitted("norse:poisson_20"), x), encode.poisson_encode(u, T))
    torch.manual_seed(3)
    with_largest = torch.cat([u, torch.ones(1, 4)])  # its scale is the largest of what it is given
    expected = encode.poisson_encode(encode.population_encode(with_largest, 5)[:-1], T)
    np.testing.assert_array_equal(dense(fitted("norse:population_5_20"), x), expected.reshape(T, 9, 20))


def test_nengo_spikes_and_decoded_values_are_those_of_its_simulator(fitted):
    nengo, codec = library("nengo"), fitted("nengo:ensemble_7_20")
    x = rows(3, seed=1)
    codes = codec.encode(x)
    found, decoded = codec.spike_train(codes).to_dense().reshape(T, 12, 7), codec.decode(codes).ravel()
    for place, value in enumerate(x.ravel()):
        with nengo.Network() as network:
            neurons = nengo.Ensemble(7, dimensions=1, seed=3)
            answer = nengo.Node(size_in=1)
            nengo.Connection(nengo.Node([value]), neurons, synapse=None)
            nengo.Connection(neurons, answer, synapse=None)
            spikes, answers = nengo.Probe(neurons.neurons), nengo.Probe(answer)
        with nengo.Simulator(network, progress_bar=False) as simulator:
            simulator.run_steps(T)
        np.testing.assert_array_equal(found[:, place], simulator.data[spikes] > 0)
        assert decoded[place] == pytest.approx(simulator.data[answers].mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("spikingjelly:phase_6", 2.0**-6 / 3**0.5),
        ("spikingjelly:latency_20", 1 / 19 / 3**0.5),
        ("snntorch:latency_20", 1 / 19 / 3**0.5),
        ("snntorch:rate_20", (4 / 6 / T) ** 0.5),
        ("spikingjelly:poisson_20", (4 / 6 / T) ** 0.5),
    ],
)
def test_decoders_are_as_good_as_theory_says(name, error, fitted):
    """Root mean square on uniform values: of rounding step / sqrt(12), of Bernoulli 2 sqrt(E p (1 - p) / T)."""
    codec, x = fitted(name), rows(2000, seed=1)
    found = np.sqrt(((codec.decode(codec.encode(x)) - x) ** 2).mean())
    assert 0.8 * error < found < 1.06 * error


def test_more_of_nengo_s_neurons_and_steps_decode_better(fitted):
    x = rows(100, seed=1)
    errors = [
        ((c.decode(c.encode(x)) - x) ** 2).mean() for c in map(fitted, ("nengo:ensemble_7_20", "nengo:ensemble_50_200"))
    ]
    assert errors[0] > 10 * errors[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *(
            (wrong, "is not one of snntorch:rate_<steps>, ")
            for wrong in ("snntorch:delta_8", "rate_8", "norse:lif_4_8")
        ),
        *((wrong, "is not one of") for wrong in ("nengo:ensemble_8", "norse:lif_08", "norse:lif_٣", "snntorch:rate")),
        ("snntorch:latency_1", "it takes 2 steps at least and 1000 at most"),
        ("spikingjelly:phase_17", "16 at most"),
        ("norse:population_1001_8", "1000 neurons at most"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        build(name, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_is_missing_is_named_in_one_line(name, monkeypatch):
    package = name.partition(":")[0]

    def without(wanted, *rest):
        if wanted.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(wanted, *rest)

    real = importlib.import_module
    spike_peers.ensemble.cache_clear()
    monkeypatch.setattr(spike_peers, "import_module", without)
    with pytest.raises(UserError, match=f"package '{package}'.* is not installed; .*'spike-peers'") as error:
        build(name, 0).fit(rows(20))
    assert "\n" not in str(error.value)


def test_no_peer_is_imported_before_its_codec_is_used():
    code = "import sys; from pipeline.spikes import spike_peers as s\n"
    code += "for kind, how in s.KINDS.items(): s.build(kind + '_4' * (1 + how.population), 0)\n"
    code += "print(sorted({'torch', 'snntorch', 'spikingjelly', 'norse', 'nengo'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
