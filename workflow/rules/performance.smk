# Makes     results/performance.csv: ours against a peer in the same script, interleaved, one script a topic. `skipgram`
#           also leaves results/performance/skipgram_intervals.csv, which no rule reads.
#           Outside `rule all`: `make performance`.
# Requires  for the topics `tokenizing` and `skipgram` data/corpus/documents and data/corpus/tokenizer.json, for the latter
#           data/benchmarks too; the others make their own.

PERFORMANCE_TOPICS = {
    "tokenizing": ["pipeline.corpus.tokens"],
    "reading_vectors": ["pipeline.embeddings.word2vec_text"],
    "openai_endpoint": ["pipeline.embeddings.openai_endpoint"],
    "sigma_delta": ["pipeline.codecs.sigma_delta"],
    "spikes": ["pipeline.spikes.phase", "pipeline.spikes.naf"],
    "lif": ["pipeline.neurons.fused"],
    "skipgram": [
        "pipeline.embeddings.skipgram",
        "pipeline.training.skipgram",
        "pipeline.training.run",
        "pipeline.evaluation.statistics",
    ],
    "corpus_memory": [
        "pipeline.corpus.documents",
        "pipeline.corpus.files",
        "pipeline.corpus.huggingface",
    ],
}
PERFORMANCE_INPUTS = {
    "tokenizing": {
        "documents": "data/corpus/documents",
        "tokenizer": "data/corpus/tokenizer.json",
    },
    "skipgram": {
        "documents": "data/corpus/documents",
        "tokenizer": "data/corpus/tokenizer.json",
        "benchmarks": "data/benchmarks",
    },
}


rule performance_topic:
    input:
        lambda wildcards: PERFORMANCE_INPUTS.get(wildcards.topic, {}).values(),
        code=lambda wildcards: code(*PERFORMANCE_TOPICS[wildcards.topic]),
        script=f"{workflow.basedir}/performance/{{topic}}.py",
        measurement=f"{workflow.basedir}/performance/measurement.py",
    output:
        "results/performance/{topic}.csv",
    log:
        "logs/performance/{topic}.log",
    benchmark:
        "results/timing/performance/{topic}.tsv"
    wildcard_constraints:
        topic="|".join(PERFORMANCE_TOPICS),
    threads: workflow.cores or 1  # alone on the machine
    resources:
        mem_mb=2000,
    params:
        root=workflow.basedir,
        inputs=lambda wildcards: [
            part
            for name, path in PERFORMANCE_INPUTS.get(wildcards.topic, {}).items()
            for part in (f"--{name}", path)
        ],
    message:
        "Performance: {wildcards.topic}"
    shell:
        "PYTHONPATH={params.root:q} python -m performance.{wildcards.topic} {params.inputs}"
        " --output {output} 2>&1 | tee {log}"


rule performance:
    input:
        expand("results/performance/{topic}.csv", topic=PERFORMANCE_TOPICS),
    output:
        "results/performance.csv",
    log:
        "logs/performance.log",
    benchmark:
        "results/timing/performance.tsv"
    threads: 1
    resources:
        mem_mb=200,
    message:
        "Performance: all topics in results/performance.csv"
    shell:
        # one header, then every file's rows
        "awk 'NR == 1 || FNR > 1' {input} > {output}.part 2> {log} && mv {output}.part {output}"
