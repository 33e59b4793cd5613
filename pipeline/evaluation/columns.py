"""The columns of the table: a contract. More may be added, none is renamed."""

KEYS = ("embedding", "representation", "family", "search")
BEFORE_TASKS = (
    *("vectors", "dims", "fitted_share", "bytes_per_vector", "shared_bytes", "compression_ratio"),
    *("relative_mse", "relative_mse_validation", "cosine", "exact_values", "identity_top1"),
    *("knn10_overlap", "knn10_overlap_unseen", "knn10_overlap_validation", "distance_mape"),
)
TASKS = ("wordsim353", "simlex999", "analogy_semantic", "analogy_syntactic")
AFTER_TASKS = (
    *("spikes_per_value", "timesteps", "exact_codes", "largest_error_steps", "clipped_values"),
    *("encode_vectors_per_s", "decode_vectors_per_s", "queries_per_s"),
)
COUNTS = {"vectors", "dims", "shared_bytes", "timesteps"}  # whole numbers, written without a decimal point
