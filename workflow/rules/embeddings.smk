# Requires  data/corpus/vocabulary.parquet, and the sources of the config's embeddings.
# Makes     data/embeddings/<name>.parquet, one named table an embedding, and <a>+<b>.parquet, their concatenation.


# What a source that builds on the corpus imports by name.
TRAINING_CODE = {
    "fasttext_train": ["pipeline.corpus.vocabulary"],
    "skipgram": [
        "pipeline.corpus.vocabulary",
        "pipeline.training.launch",
        "pipeline.training.run",
        "pipeline.training.skipgram",
    ],
}


def embedding_inputs(wildcards):
    """The tables and files that an embedding is read from or kept within."""
    given = EMBEDDINGS[wildcards.embedding]
    found = []
    if given["source"] in TRAINING_CODE:
        found += ["data/corpus/documents", "data/corpus/tokenizer.json"]
    if given["source"] == "skipgram":
        found.append("data/benchmarks")
    if within := given.get("within"):
        found.append(f"data/embeddings/{within}.parquet")
    options = given.get("options", {})
    found += [str(path) for path in embedding_files(options)]
    if given.get("vocabulary", "corpus") == "corpus":
        found.append("data/corpus/vocabulary.parquet")
    return found


def embedding_options(wildcards):
    """The source's options; of `skipgram` also in how many processes it trains, what it monitors, where its log goes."""
    given = EMBEDDINGS[wildcards.embedding]
    options = given.get("options", {})
    if given["source"] == "skipgram":
        options = {
            "processes": config["training"]["processes"],
            "benchmarks": "data/benchmarks",
            "log": f"results/training/{wildcards.embedding}/skipgram.parquet",
            **options,
        }
    return as_json(options)


def embedding_words(wildcards):
    """Which words an embedding is asked for: those of the corpus and the evaluation sets, or all that it has."""
    given = EMBEDDINGS[wildcards.embedding]
    if given.get("vocabulary", "corpus") == "all":
        return ""
    within = (
        f" --within data/embeddings/{given['within']}.parquet"
        if given.get("within")
        else ""
    )
    return f"--vocabulary data/corpus/vocabulary.parquet{within}"


rule embedding:
    input:
        embedding_inputs,
        code=lambda wildcards: code(
            "pipeline.embeddings.table",
            EMBEDDING_SOURCES[EMBEDDINGS[wildcards.embedding]["source"]],
            *TRAINING_CODE.get(EMBEDDINGS[wildcards.embedding]["source"], []),
        ),
    output:
        "data/embeddings/{embedding}.parquet",
    log:
        "logs/embedding/{embedding}.log",
    benchmark:
        "results/timing/embedding/{embedding}.tsv"
    priority: 100  # everything waits for the tables
    threads: HALF_THE_CORES  # the others fit codecs on the tables that are ready
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        source=lambda wildcards: EMBEDDINGS[wildcards.embedding]["source"],
        options=embedding_options,
        words=embedding_words,
        device=config["device"],
    message:
        "Embedding {wildcards.embedding} from {params.source}"
    shell:
        "python -m pipeline.embeddings.table --name {wildcards.embedding:q} --source {params.source}"
        " --options {params.options:q} {params.words} --device {params.device}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule concatenation:
    input:
        code=code("pipeline.embeddings.concatenation"),
        parts=lambda wildcards: [
            f"data/embeddings/{part}.parquet"
            for part in configuration.parts(wildcards.parts)
        ],
    output:
        "data/embeddings/{parts}.parquet",
    log:
        "logs/concatenation/{parts}.log",
    benchmark:
        "results/timing/concatenation/{parts}.tsv"
    wildcard_constraints:
        parts=r"[^/+]+(\+[^/+]+)+",
    priority: 100
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    message:
        "Concatenation {wildcards.parts}"
    shell:
        "python -m pipeline.embeddings.concatenation --parts {input.parts:q} --output {output:q} 2>&1 | tee {log:q}"
