"""Benchmark sets as tables, and the list of all their words: the first thing the pipeline makes.

    python -m pipeline.evaluation.sets --similarity '{"wordsim353": "packaged"}' --output data/benchmarks

Makes similarity/<name>.parquet (word1, word2, score), analogy.parquet (section, kind, a, b, c, d) and words.txt. Words
are lower-cased. A set is `packaged` (WordSim353, SimLex999 and Google's questions, from the files that gensim ships) or
a path: similarity files hold `word word score` a line, split by tabs, spaces or commas; analogy files are in Google's
format. Lines that begin with # are comments.
"""

import argparse
import codecs
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline import packaged, stage
from pipeline.evaluation.columns import AFTER_TASKS, BEFORE_TASKS, KEYS
from pipeline.stage import UserError
from pipeline.store import atomic_directory, write_parquet

PACKAGED = {
    "wordsim353": ("wordsim353.tsv", "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d"),
    "simlex999": ("simlex999.txt", "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d"),
    "analogy": ("questions-words.txt", "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"),
}
RESERVED = {*KEYS, *BEFORE_TASKS, *AFTER_TASKS, "seeds"}


def check_name(name: str) -> None:
    """Raises UserError for a similarity set with the name of another column of the table."""
    if name in RESERVED or name.startswith("analogy"):
        raise UserError(f"config: evaluation.similarity.{name}: that is another column's name; choose another")


def locate(name: str, source: str) -> Path:
    """The file of a set. Raises UserError for a `packaged` set that there is not."""
    if source != "packaged":
        return Path(source)
    if name not in PACKAGED:
        known = ", ".join(sorted(PACKAGED.keys() - {"analogy"}, reverse=True))
        raise UserError(
            f"config: evaluation.similarity.{name}: no packaged set of this name; there are {known}, or give a path"
        )
    file, sha256 = PACKAGED[name]
    return packaged.path("gensim", f"gensim/test/test_data/{file}", sha256)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither empty nor comments. Raises UserError for an unreadable file or other bytes."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(text.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            stripped = line.decode().strip()
        except UnicodeDecodeError:
            raise UserError(f"{path}: line {number} is not UTF-8") from None
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def similarity_set(path: Path) -> pa.Table:
    """word1, word2: string, score: float64. Raises UserError that names file and line."""
    rows = []
    for number, line in lines(path):
        fields = re.split(r"[\s,]+", line.lower())
        try:
            first, second, score = fields[0], fields[1], float(fields[2])
        except (IndexError, ValueError):
            raise UserError(f"{path}: line {number} is not `word word score`: {line!r}") from None
        if not math.isfinite(score):
            raise UserError(f"{path}: line {number} has the score {fields[2]!r}")
        rows.append({"word1": first, "word2": second, "score": score})
    if not rows:
        raise UserError(f"{path}: holds no pairs")
    return pa.Table.from_pylist(rows)


def analogy_set(path: Path) -> pa.Table:
    """section, kind (`semantic`, or `syntactic` where the section begins with `gram`), a, b, c, d: string."""
    rows, section = [], None
    for number, line in lines(path):
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        words = line.lower().split()
        if len(words) != 4 or section is None:
            raise UserError(f"{path}: line {number} is not four words under a `: section` line: {line!r}")
        kind = "syntactic" if section.startswith("gram") else "semantic"
        rows.append({"section": section, "kind": kind, **dict(zip("abcd", words, strict=True))})
    if not rows:
        raise UserError(f"{path}: holds no questions")
    return pa.Table.from_pylist(rows)


def make_sets(similarity: Mapping[str, str], analogy: str, output: Path) -> None:
    """Read every set and write them with their words, in the order of first use."""
    words: dict[str, None] = {}
    for name in similarity:
        check_name(name)
    with atomic_directory(output) as directory:
        for name, source in similarity.items():
            pairs = similarity_set(locate(name, source))
            write_parquet(directory / "similarity" / f"{name}.parquet", pairs)
            for column in ("word1", "word2"):
                words.update(dict.fromkeys(pairs.column(column).to_pylist()))
        questions = analogy_set(locate("analogy", analogy))
        write_parquet(directory / "analogy.parquet", questions)
        for column in "abcd":
            words.update(dict.fromkeys(questions.column(column).to_pylist()))
        (directory / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    stage.log.info("%d similarity sets, %d analogy questions, %d words", len(similarity), len(questions), len(words))


def main(argv: Sequence[str] | None = None) -> None:
    parser: argparse.ArgumentParser = stage.parser(__doc__)
    parser.add_argument("--similarity", type=stage.options, required=True, help="JSON: set name to `packaged` or path")
    parser.add_argument("--analogy", default="packaged", help="`packaged` or a path")
    parser.add_argument("--output", type=Path, required=True, help="directory to make")
    args = parser.parse_args(argv)
    make_sets(args.similarity, args.analogy, args.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
