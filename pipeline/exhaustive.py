"""Exhaustive nearest-neighbour search, by faiss: each function indexes a base once and returns a Search over it.

Of equal distances the smaller row number comes first, of equal inner products the larger one: that is faiss's order.
Threads follow OMP_NUM_THREADS.
"""

import faiss
import numpy as np

from pipeline.codec import Array, Search


def inner_product(base: Array) -> Search:
    """Largest inner product with float32 rows [n, d]: the cosine, where queries and rows have unit norm."""
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(np.ascontiguousarray(base, np.float32))
    return lambda queries, k: index.search(np.ascontiguousarray(queries, np.float32), k)[1]


def euclidean(base: Array) -> Search:
    """Smallest Euclidean distance to float32 rows [n, d]."""
    index = faiss.IndexFlatL2(base.shape[1])
    index.add(np.ascontiguousarray(base, np.float32))
    return lambda queries, k: index.search(np.ascontiguousarray(queries, np.float32), k)[1]


def hamming(base: Array) -> Search:
    """Smallest Hamming distance to packed bits uint8 [n, bytes]; the queries are packed bits too."""
    index = faiss.IndexBinaryFlat(base.shape[1] * 8)
    index.add(np.ascontiguousarray(base))
    return lambda queries, k: index.search(np.ascontiguousarray(queries), k)[1]
