"""How fast, and in how much memory, a file of vectors is read, against gensim's `load_word2vec_format`.

The file is in word2vec's text format, as fastText publishes it: a header, a word a line, values of four decimals. It is
made for the measurement, in a temporary folder. Ours is the whole source `word2vec_text` as it runs, all words taken:
every row checked, duplicates looked for, the file's digest taken. Each run is a process of its own, the two in turns,
so that the peak of its memory is its own; a row holds the medians.

Takes   the size of the file.
Makes   a CSV: what, size, unit, ours, peer, peer_value, ratio (above 1: ours is better). Memory is the peak of what the
        process holds, in multiples of the bytes of the array that is read: what reading added, and all with Python.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from itertools import cycle, islice, product
from pathlib import Path

import numpy as np

from performance.measurement import row, write_rows
from pipeline import stage
from pipeline.stage import UserError

CONSONANTS = ("b", "ch", "d", "f", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v")
SYLLABLES = ["".join(pair) for pair in product(CONSONANTS, "aeiouy")]
DIFFERENT_ROWS = 4096  # that are repeated: how long a row takes does not depend on those before it


def write_vectors(path: Path, rows: int, dims: int) -> None:
    """A file of `rows` different words of two to four syllables, with values as those of published vectors."""
    random = np.random.default_rng(0)
    texts = [" ".join(f"{x:.4f}" for x in random.normal(0, 0.1, dims)) for _ in range(min(rows, DIFFERENT_ROWS))]
    words = ("".join(syllables) for length in (2, 3, 4) for syllables in product(SYLLABLES, repeat=length))
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{rows} {dims}\n")
        file.writelines(f"{word} {text}\n" for word, text in zip(islice(words, rows), cycle(texts), strict=False))


def reader(side: str) -> Callable[[str], np.ndarray]:
    """What reads a file's vectors float32 [n, d]; all that it imports is imported here, before the clock runs."""
    if side == "peer":
        from gensim.models import KeyedVectors

        return lambda path: KeyedVectors.load_word2vec_format(path).vectors
    from pipeline.embeddings import word2vec_text

    return lambda path: word2vec_text.read(None, {"path": path}).vectors


def memory_bytes(what: str) -> int:
    """Of this process, from Linux: VmRSS, what it holds in memory, or VmHWM, the most that it held."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def once(side: str, path: str) -> dict[str, float]:
    """Read the file in this process: rows a second; the peak of memory, added and all, in multiples of the array."""
    read = reader(side)
    before = memory_bytes("VmRSS")
    start = time.perf_counter()
    vectors = read(path)
    seconds = time.perf_counter() - start
    peak = memory_bytes("VmHWM")
    return {
        "speed": len(vectors) / seconds,
        "added": (peak - before) / vectors.nbytes,
        "all": peak / vectors.nbytes,
    }


def apart(side: str, path: Path) -> dict[str, float]:
    """`once` in a process of its own."""
    command = [sys.executable, "-m", "performance.reading_vectors", "--once", side, str(path)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(rows: int, dims: int, runs: int) -> list[dict[str, str]]:
    """The table's rows: speed and memory of both, medians of `runs` interleaved runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.vec"
        write_vectors(path, rows, dims)
        turns = [(apart("ours", path), apart("peer", path)) for _ in stage.progress(range(runs), "runs", unit=" runs")]
    found = []
    for key, what, unit, digits in (
        ("speed", "reading word2vec text", "rows/s", 0),
        ("added", "reading word2vec text, peak memory added", "x the array", 3),
        ("all", "reading word2vec text, peak memory with Python and its packages", "x the array", 3),
    ):
        ours, peer = (statistics.median(side[key] for side in sides) for sides in zip(*turns, strict=True))
        gensim = f"gensim {metadata.version('gensim')} load_word2vec_format"
        found.append(row(what, f"{rows} x {dims}", unit, ours, gensim, peer, digits, less=key != "speed"))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--rows", type=int, default=400_000, help="words in the file")
    parser.add_argument("--dims", type=int, default=300, help="values of a word")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", help="CSV file to write")
    parser.add_argument("--once", nargs=2, metavar=("SIDE", "FILE"), help="read FILE by ours or peer, print numbers")
    arguments = parser.parse_args(argv)
    if arguments.once:
        print(json.dumps(once(*arguments.once)))
        return
    if not arguments.output:
        parser.error("the following arguments are required: --output")
    if not 1 <= arguments.rows <= len(SYLLABLES) ** 4 or arguments.dims < 1 or arguments.runs < 1:
        raise UserError(f"--rows must be from 1 to {len(SYLLABLES) ** 4}, --dims and --runs at least 1")
    write_rows(arguments.output, measure(arguments.rows, arguments.dims, arguments.runs))


if __name__ == "__main__":
    sys.exit(stage.run(main))
