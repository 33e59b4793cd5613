# Requires  data/embeddings, data/benchmarks, results/codecs.
# Makes     results/metrics/<table>/<module>.parquet (a row a measurement), results/benchmarks.parquet (all of them),
#           results/benchmarks.csv (a row a representation and search rule), results/figures.

FIGURE_NAMES = [
    "recall_by_bytes",
    "recall_unseen_by_bytes",
    "analogy_by_bytes",
    "datasets",
]
FIGURES = expand("results/figures/{figure}.png", figure=FIGURE_NAMES)


rule measure:
    input:
        code=lambda wildcards: code(
            "pipeline.evaluation.measure",
            *codec_modules(wildcards.module, names_of(wildcards.module)),
        ),
        embedding="data/embeddings/{table}.parquet",
        codecs="results/codecs/{table}/{module}",
        benchmarks="data/benchmarks",
    output:
        "results/metrics/{table}/{module}.parquet",
    log:
        "logs/measure/{table}/{module}.log",
    benchmark:
        "results/timing/measure/{table}/{module}.tsv"
    priority: long_first
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    params:
        seeds=SEEDS,
        queries=config["evaluation"]["queries"],
    message:
        "Measure {wildcards.module} on {wildcards.table}"
    shell:
        "python -m pipeline.evaluation.measure --embedding {input.embedding:q} --codecs {input.codecs:q}"
        " --benchmarks {input.benchmarks} --seeds {params.seeds} --queries {params.queries}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule table:
    input:
        code=code("pipeline.evaluation.table"),
        metrics=expand(
            "results/metrics/{table}/{module}.parquet",
            table=TABLES,
            module=REPRESENTATIONS,
        ),
    output:
        csv=report(
            "results/benchmarks.csv",
            caption="../report/benchmarks.rst",
            category="Table",
            labels={"table": "benchmarks"},
        ),
        parquet="results/benchmarks.parquet",
    log:
        "logs/table.log",
    benchmark:
        "results/timing/table.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        stem=lambda wildcards, output: output.csv.removesuffix(".csv"),
    message:
        "The table: results/benchmarks.csv"
    shell:
        "python -m pipeline.evaluation.table --metrics {input.metrics:q} --output {params.stem} 2>&1 | tee {log}"


use rule measure as measure_peers with:
    input:
        code=lambda wildcards: code(
            "pipeline.evaluation.measure",
            *codec_modules(wildcards.module, names_of(wildcards.module)),
        ),
        embedding="data/embeddings/{table}.parquet",
        codecs="results/peers/codecs/{table}/{module}",
        benchmarks="data/benchmarks",
    output:
        "results/peers/metrics/{table}/{module}.parquet",
    log:
        "logs/measure_peers/{table}/{module}.log",
    benchmark:
        "results/timing/measure_peers/{table}/{module}.tsv"


use rule table as peers with:
    input:
        code=code("pipeline.evaluation.table"),
        metrics=expand(
            "results/peers/metrics/{table}/{module}.parquet",
            table=TABLES,
            module=PEERS,
        ),
    output:
        csv="results/peers.csv",
        parquet="results/peers.parquet",
    log:
        "logs/peers.log",
    benchmark:
        "results/timing/peers.tsv"
    message:
        "The peers' full grid: results/peers.csv"


rule figures:
    input:
        code=lambda wildcards: code("pipeline.plots.benchmarks"),
        table="results/benchmarks.parquet",
    output:
        [
            report(
                f"results/figures/{name}.png",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": name.replace("_", " ")},
            )
            for name in FIGURE_NAMES
        ],
    log:
        "logs/figures.log",
    benchmark:
        "results/timing/figures.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    message:
        "Figures: results/figures"
    shell:
        "python -m pipeline.plots.benchmarks --table {input.table} --output {params.folder} 2>&1 | tee {log}"
