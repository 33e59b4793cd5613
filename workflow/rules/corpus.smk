# Requires  the corpus source of the config, and data/benchmarks/words.txt.
# Makes     data/benchmarks (the evaluation sets as tables), data/corpus/parts/<part> (text in shards, each part read by a
#           job of its own), data/corpus/documents (the shards of all parts, linked), data/corpus/tokenizer.json,
#           data/corpus/tokens (the same shards as token numbers), data/corpus/vocabulary.parquet (words with counts,
#           the evaluation sets' words first).

TOKENS = "data/corpus/tokens"
PARTS = config["corpus"]["parts"]

# A set whose value is null is left out.
SIMILARITY = {
    name: source
    for name, source in config["evaluation"]["similarity"].items()
    if source is not None
}


def corpus_files():
    """The files that the source `files` reads, so that a changed text is read again; those of other sources are pinned."""
    paths = (
        config["corpus"]["options"].get("paths", [])
        if config["corpus"]["source"] == "files"
        else []
    )
    return sorted(
        {
            found
            for path in ([paths] if isinstance(paths, str) else paths)
            for found in glob(path, recursive=True)
        }
    )


rule benchmark_sets:
    input:
        code("pipeline.evaluation.sets"),
        [path for path in SIMILARITY.values() if path != "packaged"],
        [path for path in [config["evaluation"]["analogy"]] if path != "packaged"],
    output:
        directory("data/benchmarks"),
    log:
        "logs/benchmark_sets.log",
    benchmark:
        "results/timing/benchmark_sets.tsv"
    threads: 1
    resources:
        mem_mb=500,
    params:
        similarity=as_json(SIMILARITY),
        analogy=config["evaluation"]["analogy"],
    message:
        "Evaluation sets: {params.similarity}"
    shell:
        "python -m pipeline.evaluation.sets --similarity {params.similarity:q} --analogy {params.analogy:q}"
        " --output {output} 2>&1 | tee {log}"


rule documents_part:
    input:
        code("pipeline.corpus.documents", CORPUS_SOURCES[config["corpus"]["source"]]),
        corpus_files(),
    output:
        directory("data/corpus/parts/{part}"),
    log:
        "logs/documents/{part}.log",
    benchmark:
        "results/timing/documents/{part}.tsv"
    wildcard_constraints:
        part=r"\d+",
    # Shards that are whole are kept: the next attempt goes on behind them.
    retries: 2 if config["corpus"]["source"] == "huggingface" else 0
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    params:
        source=config["corpus"]["source"],
        options=as_json(config["corpus"]["options"]),
        shard_bytes=config["corpus"]["shard_bytes"],
        parts=PARTS,
    message:
        "Corpus: documents from {params.source}, part {wildcards.part} of {params.parts}"
    shell:
        "python -m pipeline.corpus.documents --source {params.source} --options {params.options:q}"
        " --shard-bytes {params.shard_bytes} --part {wildcards.part} --parts {params.parts}"
        " --output {output} 2>&1 | tee {log}"


rule documents:
    input:
        code("pipeline.corpus.join"),
        parts=expand("data/corpus/parts/{part}", part=range(PARTS)),
    output:
        directory("data/corpus/documents"),
    log:
        "logs/documents.log",
    benchmark:
        "results/timing/documents.tsv"
    threads: 1
    resources:
        mem_mb=500,
    params:
        parts=PARTS,
    message:
        "Corpus: the shards of {params.parts} part(s)"
    shell:
        "python -m pipeline.corpus.join --parts {input.parts} --output {output} 2>&1 | tee {log}"


rule tokenizer:
    input:
        code("pipeline.corpus.tokenizer"),
        documents="data/corpus/documents",
    output:
        "data/corpus/tokenizer.json",
    log:
        "logs/tokenizer.log",
    benchmark:
        "results/timing/tokenizer.tsv"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        documents="data/corpus/documents",
        size=config["tokens"]["vocabulary_size"],
        lowercase="--lowercase" if config["tokens"]["lowercase"] else "",
    message:
        "Tokenizer: byte-level BPE of {params.size} tokens"
    shell:
        "python -m pipeline.corpus.tokenizer --documents {params.documents} --vocabulary-size {params.size}"
        " {params.lowercase} --output {output} 2>&1 | tee {log}"


rule tokens:
    input:
        code("pipeline.corpus.tokens"),
        documents="data/corpus/documents",
        tokenizer="data/corpus/tokenizer.json",
    output:
        directory(TOKENS),
    log:
        "logs/tokens.log",
    benchmark:
        "results/timing/tokens.tsv"
    threads: workflow.cores or 1
    resources:
        mem_mb=lambda wildcards, threads, attempt: 500 * threads * attempt,
    params:
        documents="data/corpus/documents",
    message:
        "Tokens: document shards to token shards, {threads} workers"
    shell:
        "python -m pipeline.corpus.tokens --documents {params.documents} --tokenizer {input.tokenizer}"
        " --workers {threads} --output {output} 2>&1 | tee {log}"


rule vocabulary:
    input:
        code("pipeline.corpus.vocabulary"),
        documents="data/corpus/documents",
        tokenizer="data/corpus/tokenizer.json",
        benchmarks="data/benchmarks",
    output:
        "data/corpus/vocabulary.parquet",
    log:
        "logs/vocabulary.log",
    benchmark:
        "results/timing/vocabulary.tsv"
    threads: workflow.cores or 1
    resources:
        mem_mb=lambda wildcards, threads, attempt: 500 * threads * attempt,
    params:
        size=config["vocabulary"]["size"],
        min_count=config["vocabulary"]["min_count"],
    message:
        "Vocabulary: {params.size} words, those of the evaluation sets first"
    shell:
        "python -m pipeline.corpus.vocabulary --documents {input.documents} --tokenizer {input.tokenizer}"
        " --always {input.benchmarks}/words.txt --size {params.size} --min-count {params.min_count}"
        " --workers {threads} --output {output} 2>&1 | tee {log}"
