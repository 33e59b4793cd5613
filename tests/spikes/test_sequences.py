import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import stage
from pipeline.codec import Codes, build, load, save, write_codes
from pipeline.spikes import positions, sequences
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, unit_rows, write_embedding

WORDS = ["the", "cat", "sat", "Paris", "on", "mat"]


def train(rows, steps, neurons, signed, seed):
    rng = np.random.default_rng(seed)
    dense = rng.integers(-1 if signed else 0, 2, (steps, rows, neurons))
    return SpikeTrain.from_dense(dense.astype(np.float32), signed)


def same(a, b):
    np.testing.assert_array_equal(a.to_dense(), b.to_dense())
    assert (a.neurons, a.signed) == (b.neurons, b.signed)


@given(
    rows=st.integers(1, 9),
    steps=st.integers(1, 5),
    neurons=st.integers(1, 20),
    extra=st.integers(1, 20),
    signed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_words_and_positions_come_back(rows, steps, neurons, extra, signed, seed):
    words = train(rows, steps, neurons, signed, seed)
    where = np.random.default_rng(seed + 1).random((rows, steps, extra)) < 0.5
    whole = sequences.attach(words, where)
    dense = np.concatenate([words.to_dense(), where.transpose(1, 0, 2)], axis=2)
    np.testing.assert_array_equal(whole.to_dense(), dense)
    again, found = sequences.detach(whole, neurons)
    same(again, words)
    np.testing.assert_array_equal(found, where)
    line = sequences.in_time(whole)
    assert (len(line), line.timesteps, line.neurons) == (1, rows * steps, neurons + extra)
    np.testing.assert_array_equal(line.to_dense()[:, 0], dense.transpose(1, 0, 2).reshape(rows * steps, -1))
    same(sequences.by_word(line, steps), whole)


def test_more_words_than_a_block():
    words, where = train(5000, 1, 3, False, 0), np.random.default_rng(1).random((5000, 1, 2)) < 0.5
    again, found = sequences.detach(sequences.attach(words, where), 3)
    same(again, words)
    np.testing.assert_array_equal(found, where)


def test_what_is_no_sequence_is_refused():
    words = train(3, 4, 5, True, 0)
    with pytest.raises(ValueError, match="for 3 words of 4 steps"):
        sequences.attach(words, np.zeros((3, 5, 2), bool))
    whole = sequences.attach(words, np.ones((3, 4, 2), bool))
    with pytest.raises(UserError, match="a negative spike of a position neuron"):
        sequences.detach(SpikeTrain(whole.packed, 7, whole.packed), 5)
    with pytest.raises(UserError, match="1 rows of 12 steps are no words of 5 steps"):
        sequences.by_word(sequences.in_time(whole), 5)
    with pytest.raises(UserError, match="3 rows of 4 steps are no words"):
        sequences.by_word(whole, 4)


@pytest.fixture
def files(tmp_path):
    """An embedding table and, by name, codecs that were fitted on it."""
    vectors = np.random.default_rng(0).standard_normal((len(WORDS), 11)).astype(np.float32)
    table = EmbeddingTable(WORDS, vectors)
    write_embedding(tmp_path / "table.parquet", table)
    for module, name in (
        ("phase", "phase_8"),
        ("naf", "naf_8"),
        ("binary", "sign"),
        ("carried", "carried_4:binary:sign"),
    ):
        codec = build(module, name, 0).fit(unit_rows(vectors))
        save(codec, module, tmp_path / name, {"embedding_digest": array_digest(vectors)})
    return tmp_path, table


def run(folder, text, codec="phase_8", **options):
    arguments = {"text": text, "embedding": folder / "table.parquet", "codec": folder / codec, "output": folder / "out"}
    arguments |= options
    sequences.main([part for key, value in arguments.items() for part in (f"--{key.replace('_', '-')}", str(value))])
    return sequences.read_sequence(folder / "out")


@pytest.mark.parametrize("kind", positions.KINDS)
@pytest.mark.parametrize("name", ["phase_8", "naf_8", "carried_4:binary:sign"])
def test_a_text_comes_back_as_words_vectors_and_positions(files, kind, name):
    folder, table = files
    stored = run(folder, "the cat sat on the Mat", name, positions=kind)
    assert stored.words == ["the", "cat", "sat", "on", "the", "mat"]
    np.testing.assert_array_equal(stored.positions, np.arange(6))
    codec = load(folder / name)
    x = unit_rows(table.vectors)[[WORDS.index(word) for word in stored.words]]
    same(stored.codes, codec.spike_train(codec.encode(x)))
    np.testing.assert_array_equal(codec.decode(codec.codes(stored.codes)), codec.decode(codec.encode(x)))


def test_the_positions_are_read_from_their_neurons(files):
    folder, _ = files
    run(folder, "cat sat on")
    table = pq.read_table(folder / "out")
    words, codes = sequences.read_codes(folder / "out")
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    facts = {key: facts[key] for key in ("representation", "codec", "embedding_digest", "versions", "sequence")}
    write_codes(folder / "out", words[::-1], codes.take(np.array([2, 1, 0])), facts)
    np.testing.assert_array_equal(sequences.read_sequence(folder / "out").positions, [2, 1, 0])
    spikes = codes["spikes"].copy()
    spikes[1, 3] ^= np.packbits(np.arange(16) == 12)  # the last of 11 + 2 neurons, in one step of the word
    write_codes(folder / "out", words, Codes({"spikes": spikes}), facts)
    with pytest.raises(UserError, match=r"out: positions: the spikes of word 1 are those of no position below 3"):
        sequences.read_sequence(folder / "out")


def test_the_number_of_position_neurons_is_as_asked_for(files):
    folder, _ = files
    assert run(folder, "the cat", position_neurons=7).positions.tolist() == [0, 1]
    _, codes = sequences.read_codes(folder / "out")
    assert codes["spikes"].shape == (2, 8, 3)  # 11 + 7 neurons
    with pytest.raises(UserError, match="1 bits of Gray code tell 2 positions apart, not 3: the least that do are 2"):
        run(folder, "the cat sat", position_neurons=1)


def test_missing_words_are_one_error_that_names_them_all(files):
    folder, _ = files
    with pytest.raises(UserError, match=r"--text: .*table\.parquet has no vector of dog, paris, zebra$"):
        run(folder, "the zebra dog paris zebra")
    with pytest.raises(UserError, match="--text: holds no word"):
        run(folder, "  ")
    assert not (folder / "out").exists()


def test_other_codecs_and_files_are_refused(files):
    folder, table = files
    with pytest.raises(UserError, match=r"sign: sign is no spike code"):
        run(folder, "the cat", "sign")
    write_embedding(folder / "other.parquet", EmbeddingTable(WORDS, table.vectors + 1))
    with pytest.raises(UserError, match=r"phase_8: belongs elsewhere: its embedding_digest"):
        run(folder, "the cat", embedding=folder / "other.parquet")
    write_codes(folder / "codes", ["a"], Codes({"spikes": np.zeros((1, 2, 3), np.uint8)}), {})
    with pytest.raises(UserError, match=r"codes: holds codes, but no sequence"):
        sequences.read_sequence(folder / "codes")


def test_bad_input_ends_in_one_line(files, capsys):
    folder, _ = files
    arguments = ["--embedding", folder / "table.parquet", "--codec", folder / "phase_8", "--output", folder / "out"]
    arguments = [*map(str, arguments), "--text"]
    assert stage.run(sequences.main, [*arguments, "cow"]) == 1
    assert capsys.readouterr().err == f"error: --text: {folder / 'table.parquet'} has no vector of cow\n"
    assert stage.run(sequences.main, [*arguments, "cat mat"]) == 0
    assert sequences.read_sequence(folder / "out").words == ["cat", "mat"]


def test_a_file_is_read_by_the_command_too(files, capsys):
    folder, _ = files
    run(folder, "the cat sat on the mat", positions="cpg")
    capsys.readouterr()
    assert stage.run(sequences.main, ["--read", str(folder / "out")]) == 0
    assert capsys.readouterr().out == "0\tthe\n1\tcat\n2\tsat\n3\ton\n4\tthe\n5\tmat\n"
    assert stage.run(sequences.main, ["--read", str(folder / "table.parquet")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {folder / 'table.parquet'}: holds no codes")


@pytest.mark.parametrize("arguments", [[], ["--text", "the cat"], ["--text", "the", "--read", "out"]])
def test_a_command_that_is_not_whole(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        sequences.main(arguments)
    assert end.value.code == 2
    assert "error: " in capsys.readouterr().err
