"""Word analogy, a is to b as c is to d: 3CosAdd and 3CosMul (Levy & Goldberg 2014), question words excluded.

    3CosAdd: argmax_w  s(w, b) - s(w, a) + s(w, c)
    3CosMul: argmax_w  S(w, b) S(w, c) / (S(w, a) + 0.001),   S = (1 + s) / 2

s is the similarity of the representation: the cosine of decoded vectors, or that of the codes themselves. A question
counts if all its four words are in the table, and is right if the answer is the row of d. Similarities of short codes
tie: where d is one of m best words, 1 / m of the question is right, as if the answer were drawn from them. (Taking the
first row instead would favour the benchmarks' own words, which stand first in a table: .177 for .160 at 64 bits.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa

from pipeline.codec import Array

EPSILON = np.float32(0.001)
TIED = np.float32(1e-6)  # relative; equal sums of similarities come out as far apart as float32 rounds


@dataclass(frozen=True)
class Questions:
    """The covered questions. `asked` [m]: row numbers of the distinct words a, b, c; `abc` int64 [n, 3]: positions in
    `asked`; `answers` [n]: row numbers of d; `semantic` bool [n]; `totals`: all questions of (semantic, syntactic)."""

    asked: Array
    abc: Array
    answers: Array
    semantic: Array
    totals: tuple[int, int]


def covered(questions: pa.Table, rows: Mapping[str, int]) -> Questions:
    """The questions (columns kind, a, b, c, d) of which all four words have a row."""
    kinds = questions.column("kind").to_pylist()
    words = zip(*(questions.column(name).to_pylist() for name in "abcd"), strict=True)
    found = [
        (*(rows[word] for word in four), kind == "semantic")
        for four, kind in zip(words, kinds, strict=True)
        if all(word in rows for word in four)
    ]
    table = np.array(found, np.int64).reshape(-1, 5)
    asked, positions = np.unique(table[:, :3], return_inverse=True)
    totals = (kinds.count("semantic"), kinds.count("syntactic"))
    return Questions(asked, positions.reshape(-1, 3), table[:, 3], table[:, 4].astype(bool), totals)


def add(similarities: Array, questions: Questions) -> Array:
    """Whether 3CosAdd answers each question, float64 [n]. `similarities` float32 [len(asked), all words], no NaN."""
    return _answers(similarities, similarities, False, questions)


def multiply(similarities: Array, questions: Questions) -> Array:
    """Whether 3CosMul answers each question, float64 [n]. `similarities` float32 [len(asked), all words], no NaN."""
    shifted = similarities * np.float32(0.5)
    shifted += np.float32(0.5)
    inverse = shifted + EPSILON
    np.reciprocal(inverse, out=inverse)
    return _answers(shifted, inverse, True, questions)


def _answers(of_b_and_c: Array, of_a: Array, product: bool, questions: Questions) -> Array:
    """float64 [n]: the highest of b a c (`product`) or b - a + c, both terms float32 [len(asked), all words]."""
    right = np.zeros(len(questions.abc))
    terms = np.ascontiguousarray(of_b_and_c), np.ascontiguousarray(of_a)
    _ask(*terms, product, questions.asked, questions.abc, questions.answers, right)
    return right


@numba.njit(cache=True, fastmath={"nnan", "nsz"})  # without NaN a maximum is one of eight at a time
def _ask(of_b_and_c, of_a, product, asked, abc, answers, right):  # type: ignore[no-untyped-def]
    """1 for each question whose answer has the highest score, its own three words excluded, 1 / m for m equals, else 0.

    A question at a time stays in the cache: that is faster than a block of questions at once.
    """
    scores = np.empty(of_a.shape[1], np.float32)
    for question in range(len(abc)):
        a, b, c = of_a[abc[question, 0]], of_b_and_c[abc[question, 1]], of_b_and_c[abc[question, 2]]
        if product:
            for word in range(len(scores)):
                scores[word] = b[word] * a[word] * c[word]
        else:
            for word in range(len(scores)):
                scores[word] = b[word] - a[word] + c[word]
        for word in abc[question]:
            scores[asked[word]] = -np.inf
        highest = scores[0]
        for score in scores:
            highest = max(highest, score)
        lowest = highest - TIED * max(np.float32(1), abs(highest))
        if scores[answers[question]] >= lowest:
            equals = 0
            for score in scores:
                equals += score >= lowest
            right[question] = 1 / equals
