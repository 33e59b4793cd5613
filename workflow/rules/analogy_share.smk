# Requires  data/embeddings/<table>.parquet, data/benchmarks, results/codecs/<table> of the nested codes.
# Makes     results/analogy_share/<table>.csv: the share of float32's right analogies that each nested code keeps, with paired
#           intervals. Outside `rule all`; `make matryoshka` has it.

NESTED = list(
    filter(
        REPRESENTATIONS.__contains__,
        ("successive_refinement", "bit_planes", "matryoshka"),
    )
)


rule analogy_share:
    input:
        code=code(
            "pipeline.evaluation.analogy_share",
            *(codec.dotted(module) for module in NESTED),
        ),
        embedding="data/embeddings/{table}.parquet",
        codecs=expand("results/codecs/{{table}}/{module}", module=NESTED),
        benchmarks="data/benchmarks",
    output:
        "results/analogy_share/{table}.csv",
    log:
        "logs/analogy_share/{table}.log",
    benchmark:
        "results/timing/analogy_share/{table}.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    params:
        seeds=SEEDS,
    message:
        "Analogies that nested codes of {wildcards.table} keep"
    shell:
        "python -m pipeline.evaluation.analogy_share --embedding {input.embedding:q} --codecs {input.codecs:q}"
        " --benchmarks {input.benchmarks} --seeds {params.seeds} --output {output:q} 2>&1 | tee {log:q}"


rule analogy_shares:
    input:
        expand("results/analogy_share/{table}.csv", table=TABLES),
