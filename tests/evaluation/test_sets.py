import json
from collections import Counter

import pyarrow as pa
import pytest

from pipeline import stage
from pipeline.evaluation import sets
from pipeline.evaluation.sets import analogy_set, locate, main, make_sets, similarity_set
from pipeline.stage import UserError
from pipeline.store import read_parquet


@pytest.fixture
def write(tmp_path):
    def write(content, name="set.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refusal(read, path):
    with pytest.raises(UserError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the packaged sets ----------------------------------------------------------------------------------------------


def test_packaged_sets_have_the_sizes_of_the_literature():
    wordsim, simlex = (similarity_set(locate(name, "packaged")) for name in ("wordsim353", "simlex999"))
    assert len(wordsim) == 353
    assert wordsim.slice(0, 2).to_pylist() == [
        {"word1": "love", "word2": "sex", "score": 6.77},
        {"word1": "tiger", "word2": "cat", "score": 7.35},
    ]
    assert len(simlex) == 999
    assert simlex.slice(0, 1).to_pylist() == [{"word1": "old", "word2": "new", "score": 1.58}]
    for table in (wordsim, simlex):
        assert 0 <= min(table.column("score").to_pylist()) < max(table.column("score").to_pylist()) <= 10
        assert table.column("score").type == pa.float64()


def test_google_s_questions():
    questions = analogy_set(locate("analogy", "packaged"))
    assert Counter(questions.column("kind").to_pylist()) == {"semantic": 8869, "syntactic": 10675}
    sections = Counter(questions.column("section").to_pylist())
    assert len(sections) == 14
    assert sections["capital-common-countries"] == 506
    assert sections["gram9-plural-verbs"] == 870
    assert list(questions.slice(0, 1).to_pylist()[0].values())[2:] == ["athens", "greece", "baghdad", "iraq"]


def test_a_packaged_set_that_there_is_not():
    with pytest.raises(UserError, match=r"similarity\.men: no packaged set of this name; there are wordsim353"):
        locate("men", "packaged")


# --- files of the user ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["Cat\tDOG\t7.5", "cat,dog,7.5", "cat, dog, 7.5", "cat dog 7.5", " cat  dog\t7.5 "])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_separators_and_line_ends(write, line, end):
    table = similarity_set(write(f"# a comment\n\n{line}{end}"))
    assert table.to_pylist() == [{"word1": "cat", "word2": "dog", "score": 7.5}]


def test_a_byte_order_mark_is_not_part_of_the_first_word(write):
    assert similarity_set(write("\ufeffcat dog 1\n")).column("word1").to_pylist() == ["cat"]
    assert analogy_set(write("\ufeff: family\na b c d\n")).column("section").to_pylist() == ["family"]


def test_words_of_any_script_are_lower_cased(write):
    assert similarity_set(write("Straße ÉCOLE 1\n")).slice(0, 1).to_pylist()[0]["word2"] == "école"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("cat dog", "is not `word word score`: 'cat dog'"),
        ("cat dog seven", "is not `word word score`"),
        ("cat", "is not `word word score`"),
        ("cat dog nan", "has the score 'nan'"),
        ("cat dog inf", "has the score 'inf'"),
    ],
)
def test_a_bad_similarity_line_is_named_by_its_number(write, bad, message):
    error = refusal(similarity_set, write(f"# comment\na b 1\n\n{bad}\nc d 2\n"))
    assert "line 4 " in error
    assert message in error


@pytest.mark.parametrize("bad", ["a b c", "a b c d e", "a,b,c,d"])
def test_a_bad_analogy_line_is_named_by_its_number(write, bad):
    assert "line 3 is not four words" in refusal(analogy_set, write(f": family\na b c d\n{bad}\n"))


def test_questions_before_any_section(write):
    assert "line 1 is not four words under a `: section` line" in refusal(analogy_set, write("a b c d\n"))


def test_kinds_follow_the_section_s_name(write):
    table = analogy_set(
        write(": family\nA b c d\n:gram1-adjective\ne f g h\n: grammar\ni j k l\n: programs\nm n o p\n")
    )
    assert table.column("kind").to_pylist() == ["semantic", "syntactic", "syntactic", "semantic"]
    assert table.column("section").to_pylist() == ["family", "gram1-adjective", "grammar", "programs"]
    assert table.column("a").to_pylist() == ["a", "e", "i", "m"]


@pytest.mark.parametrize("read", [similarity_set, analogy_set])
def test_unreadable_files(read, write, tmp_path):
    assert "No such file" in refusal(read, tmp_path / "missing.txt")
    assert "cannot be read" in refusal(read, tmp_path)
    assert "line 2 is not UTF-8" in refusal(read, write(b"# caf\xc3\xa9\ncaf\xe9 tea 1\n"))
    assert "holds no" in refusal(read, write(""))
    assert "holds no" in refusal(read, write("# nothing but a comment\n"))
    assert "holds no" in refusal(analogy_set, write(": family\n"))


# --- the directory --------------------------------------------------------------------------------------------------


def test_what_is_made(write, tmp_path):
    own, questions = (
        write("Cat dog 1\nemu cat 2\n", "own.txt"),
        write(": family\nking queen cat emu\n", "questions.txt"),
    )
    make_sets({"own": str(own), "wordsim353": str(own)}, str(questions), tmp_path / "out")
    out = tmp_path / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        *("analogy.parquet", "similarity/own.parquet", "similarity/wordsim353.parquet", "words.txt"),
    ]
    assert (out / "words.txt").read_text().split("\n") == ["cat", "emu", "dog", "king", "queen", ""]
    assert read_parquet(out / "similarity/own.parquet").column_names == ["word1", "word2", "score"]
    assert read_parquet(out / "analogy.parquet").column_names == ["section", "kind", *"abcd"]


@pytest.mark.parametrize("name", ["cosine", "seeds", "search", "analogy_semantic", "analogy_semantic_3cosmul"])
def test_a_set_may_not_take_another_column_s_name(write, tmp_path, name):
    with pytest.raises(UserError, match=f"similarity.{name}: that is another column's name"):
        make_sets({name: str(write("a b 1\n"))}, "packaged", tmp_path / "out")


def test_nothing_half_written(write, tmp_path, capsys):
    good, bad = write("a b 1\n", "good.txt"), write("a b\n", "bad.txt")
    similarity = json.dumps({"good": str(good), "bad": str(bad)})
    assert stage.run(main, ["--similarity", similarity, "--output", str(tmp_path / "out")]) == 1
    assert f"error: {bad}: line 1 is not `word word score`" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt", "good.txt"]
    assert stage.run(main, ["--similarity", "[1]", "--output", str(tmp_path / "out")]) == 1
    assert "options must be a JSON object" in capsys.readouterr().err


def test_another_version_of_a_packaged_file_is_refused(monkeypatch):
    file, _ = sets.PACKAGED["wordsim353"]
    monkeypatch.setitem(sets.PACKAGED, "wordsim353", (file, "0" * 64))
    with pytest.raises(UserError, match="expected 0000"):
        locate("wordsim353", "packaged")
