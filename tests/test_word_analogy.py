import numpy as np
import pyarrow as pa
import pytest
from gensim.models import KeyedVectors

from pipeline import word_analogy
from pipeline.store import unit_rows
from pipeline.word_analogy import covered

WORDS = 60


def table(questions):
    kinds, *words = zip(*questions, strict=True)
    return pa.table({"kind": list(kinds), **{k: list(w) for k, w in zip("abcd", words, strict=True)}})


pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated `init_sims`")  # gensim's own


@pytest.fixture(scope="module")
def vectors():
    """Words on a grid of five bases by twelve offsets, so that many questions do have an answer."""
    rng = np.random.default_rng(0)
    grid = (
        rng.standard_normal((5, 1, 8)) + 1.2 * rng.standard_normal((1, 12, 8)) + 0.6 * rng.standard_normal((5, 12, 8))
    )
    return unit_rows(grid.reshape(WORDS, 8).astype(np.float32))


@pytest.fixture(scope="module")
def four():
    """300 questions a : b :: c : d, [300, 4]."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        (i, j), (k, m) = rng.choice(5, 2, replace=False), rng.choice(12, 2, replace=False)
        found.append((i * 12 + k, i * 12 + m, j * 12 + k, j * 12 + m))
    return np.array(found)


@pytest.fixture(scope="module")
def questions(four):
    rows = {f"w{i}": i for i in range(WORDS)}
    kinds = ["semantic" if i % 3 else "syntactic" for i in range(len(four))]
    return covered(table([(kind, *(f"w{i}" for i in q)) for kind, q in zip(kinds, four, strict=True)]), rows)


@pytest.fixture(scope="module")
def similarities(vectors, questions):
    return vectors[questions.asked] @ vectors.T


@pytest.fixture(scope="module")
def keyed(vectors):
    found = KeyedVectors(8)
    found.add_vectors([f"w{i}" for i in range(WORDS)], vectors)
    return found


def direct(vectors, four, formula):
    right = []
    for a, b, c, d in four:
        best, highest = None, -np.inf
        for w in range(WORDS):
            if w in (a, b, c):
                continue
            score = formula(*(float(vectors[w].astype(float) @ vectors[q]) for q in (a, b, c)))
            if score > highest:
                best, highest = w, score
        right.append(best == d)
    return np.array(right)


def test_add_against_the_formula_and_gensim(vectors, four, questions, similarities, keyed):
    found = word_analogy.add(similarities, questions)
    assert 0.2 < found.mean() < 0.95
    np.testing.assert_array_equal(found, direct(vectors, four, lambda a, b, c: b - a + c))
    best = [
        keyed.most_similar(positive=[f"w{b}", f"w{c}"], negative=[f"w{a}"], topn=1)[0][0]
        for a, b, c, _ in four.tolist()
    ]
    np.testing.assert_array_equal(found, [word == f"w{d}" for word, d in zip(best, four[:, 3], strict=True)])


def test_multiply_against_the_formula_and_gensim(vectors, four, questions, similarities, keyed):
    found = word_analogy.multiply(similarities, questions)
    expected = direct(vectors, four, lambda a, b, c: (1 + b) / 2 * (1 + c) / 2 / ((1 + a) / 2 + 0.001))
    np.testing.assert_array_equal(found, expected)
    assert np.any(found != word_analogy.add(similarities, questions))
    best = [  # gensim's epsilon is a thousandth of the paper's: now and then another word wins
        keyed.most_similar_cosmul(positive=[f"w{b}", f"w{c}"], negative=[f"w{a}"], topn=1)[0][0]
        for a, b, c, _ in four.tolist()
    ]
    agree = found == np.array([word == f"w{d}" for word, d in zip(best, four[:, 3], strict=True)])
    assert agree.mean() > 0.97


@pytest.mark.parametrize("method", [word_analogy.add, word_analogy.multiply])
def test_question_words_are_never_the_answer(method):
    """b - a + c is nearest to b itself, as it nearly always is."""
    vectors = unit_rows(np.array([[1, 0.02], [1, 0.01], [1, 0], [1, 0.3], [0, 1]], np.float32))
    rows = {word: i for i, word in enumerate("abcde")}
    found = covered(table([("semantic", *"abcd"), ("semantic", *"abcb"), ("semantic", *"abca")]), rows)
    similarities = vectors[found.asked] @ vectors.T
    assert method(similarities, found).tolist() == [True, False, False]


@pytest.mark.parametrize("method", [word_analogy.add, word_analogy.multiply])
def test_of_m_equals_each_is_an_mth_of_the_answer_whatever_their_order(method):
    """Rows 3 to 6 are twins, 7 is the answer of another question that nothing ties with."""
    vectors = unit_rows(np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0.3], *[[0, 1, 0.3]] * 4, [0, 1, 0.31]], np.float32))
    rows = {word: i for i, word in enumerate("abcdefgh")}
    found = covered(table([("semantic", "a", "b", "c", d) for d in "defgh"]), rows)
    assert method(vectors[found.asked] @ vectors[:7].T, _without_last(found)).tolist() == [0.25] * 4
    assert method(vectors[found.asked] @ vectors.T, found).sum() == pytest.approx(1)


def _without_last(found):
    return word_analogy.Questions(found.asked, found.abc[:-1], found.answers[:-1], found.semantic[:-1], found.totals)


@pytest.mark.parametrize("count", [30, 300, 1000])
def test_ties_of_bits_are_ties_however_float32_rounds(count):
    """Against Hamming distances in whole numbers."""
    rng = np.random.default_rng(count)
    base = rng.random((8, count)) < 0.5
    signs = (base[rng.integers(0, 8, 40)] ^ (rng.random((40, count)) < 0.02)).astype(np.int64) * 2 - 1
    four = np.stack([rng.choice(40, 4, replace=False) for _ in range(300)])
    found = covered(table([("semantic", *(f"w{i}" for i in q)) for q in four]), {f"w{i}": i for i in range(40)})
    whole = signs @ signs.T
    expected = []
    for a, b, c, d in four:
        scores = whole[b] - whole[a] + whole[c]
        scores[[a, b, c]] = -10 * count
        best = np.flatnonzero(scores == scores.max())
        expected.append((d in best) / len(best))
    assert np.any((np.array(expected) > 0) & (np.array(expected) < 1)) or count == 1000
    similarities = (whole[found.asked] / np.float32(count)).astype(np.float32)
    np.testing.assert_allclose(word_analogy.add(similarities, found), expected)


def test_repetition_gives_the_same_answers_and_leaves_the_similarities_alone(questions, similarities):
    before = similarities.copy()
    first = word_analogy.add(similarities, questions), word_analogy.multiply(similarities, questions)
    np.testing.assert_array_equal(similarities, before)
    np.testing.assert_array_equal(word_analogy.add(similarities, questions), first[0])


def test_covered_on_a_small_table():
    found = covered(
        table(
            [
                ("semantic", "athens", "greece", "oslo", "norway"),
                ("semantic", "athens", "greece", "paris", "france"),
                ("syntactic", "big", "bigger", "oslo", "greece"),
                ("syntactic", "norway", "greece", "oslo", "athens"),
            ]
        ),
        {"oslo": 0, "greece": 7, "athens": 3, "norway": 5, "paris": 2},
    )
    assert found.totals == (2, 2)
    assert found.asked.tolist() == [0, 3, 5, 7]
    assert found.asked[found.abc].tolist() == [[3, 7, 0], [5, 7, 0]]
    assert found.answers.tolist() == [5, 3]
    assert found.semantic.tolist() == [True, False]


def test_nothing_covered():
    found = covered(table([("semantic", *"abcd")]), {"a": 0, "b": 1, "c": 2})
    assert found.totals == (1, 0)
    assert len(found.asked) == len(found.answers) == len(found.abc) == 0
    assert len(word_analogy.add(np.zeros((0, 3), np.float32), found)) == 0
