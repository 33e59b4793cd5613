"""A long table like that of a real run, made from a formula: three embeddings, three seeds, every family."""

import math

import pyarrow as pa
import pytest

from pipeline.plots.measurements import SCHEMA
from pipeline.store import write_parquet

DIMS = {"minilm": 384, "spacy_md": 300, "spacy_md+minilm": 684}
# name, family, bits a value, recall of the better search rule
REPRESENTATIONS = [
    *[("float32", "float", 32, 1.0), ("float16", "float", 16, 1.0), ("truncate_64", "float", 7, 0.55)],
    *[("int8", "scalar", 8, 0.996), ("sign", "binary", 1, 0.7), ("sign_centered", "binary", 1, 0.73)],
    *[("sigma_delta_r2_4096", "sigma_delta", 13, 0.97), ("ternary", "ternary", 1.6, 0.8)],
    *[("lossless", "lossless", 27, 1.0), ("matryoshka_512", "matryoshka", 1.7, 0.86), ("phase_8", "spikes", 9, 0.99)],
    *[("popspike", "snn", 1.5, 0.7), ("lsm", "cortex", 4, 0.5), ("new", "a_family_of_tomorrow", 3, 0.9)],
    *[(f"faiss:PCAR{n},RaBitQ{n % 5}", "faiss", n / 30, 1 - 0.6 * 2 ** (-1.3 * n / 30)) for n in range(9, 100, 5)],
    *[("faiss:PQ12x8np", "faiss", 0.3, 0.4), ("faiss:PQ12x8np@opq_niter=8", "faiss", 0.31, 0.41)],
    *[("sentence-transformers:binary", "peer", 1, 0.71), ("sentence-transformers:int8", "peer", 8, 0.99)],
]
TASKS = {
    "wordsim353": (345, 353),
    "simlex999": (973, 999),
    "analogy_semantic": (4058, 8869),
    "analogy_syntactic": (7813, 10675),
    "analogy_semantic_3cosmul": (4058, 8869),
}


def measurements():
    rows = []
    for embedding, dims in DIMS.items():
        for name, family, bits, recall in REPRESENTATIONS:
            for worse, search in enumerate(["decoded", "native"] if family in ("faiss", "peer") else ["decoded"]):
                for seed in range(3):
                    key = dict(zip(SCHEMA.names, (embedding, name, family, search, seed), strict=False))
                    score = recall * (1 - 0.05 * worse) + 0.001 * seed * (recall < 1)
                    facts = {"vectors": 13681, "dims": dims, "bytes_per_vector": math.ceil(dims * bits / 8)}
                    rows += [{**key, "metric": metric, "value": float(value)} for metric, value in facts.items()]
                    span = {"ci_low": score - 0.01, "ci_high": score + 0.01}
                    for metric in ("knn10_overlap", "knn10_overlap_unseen", "knn10_overlap_validation"):
                        rows.append({**key, "metric": metric, "value": score, **span, "covered": 1000})
                    for metric, (covered, total) in TASKS.items() if search == "decoded" else ():
                        rows.append(
                            {**key, "metric": metric, "value": score, **span, "covered": covered, "total": total}
                        )
    return rows


@pytest.fixture(scope="session")
def rows():
    return measurements()


@pytest.fixture
def write(tmp_path):
    """rows -> the path of a long table that holds them"""

    def write(rows, name="benchmarks.parquet"):
        write_parquet(tmp_path / name, pa.Table.from_pylist(rows, SCHEMA))
        return tmp_path / name

    return write


@pytest.fixture
def without_words(rows):
    """The same table of someone whose vectors have no words of any set."""
    nothing = {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan, "covered": 0}
    return [{**row, **nothing} if row.get("total") else row for row in rows]
