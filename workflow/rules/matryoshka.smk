# Requires  data/embeddings/<table>.parquet, data/benchmarks.
# Makes     results/ablation.csv (what each part of matryoshka's training is worth: a row a variant, representation and
#           search, with its difference from the shipped one), results/prefixes.csv (prefixes of the one code beside codes
#           trained for one size alone) and results/figures/ablation.png.
#           Outside `rule all`: `make ablation`.
#
# A run is one training: a variant's, or of a variant that trains each size alone one size's.

from pipeline.evaluation import ablation_variants

ABLATION = config["training"]["ablation"]

try:
    ABLATION_RUNS = ablation_variants.runs(CODEC_OPTIONS["matryoshka"], **ABLATION)
except UserError as error:
    sys.exit(f"error: config: training.ablation: {error}")

ABLATION_METRICS = [
    (run.variant, f"results/ablation/metrics/{table}/{name}/matryoshka.parquet")
    for table in TABLES
    for name, run in ABLATION_RUNS.items()
]


use rule fit as fit_ablation with:
    output:
        directory("results/ablation/codecs/{table}/{run}/{module}"),
    log:
        "logs/fit_ablation/{table}/{run}/{module}.log",
    benchmark:
        "results/timing/fit_ablation/{table}/{run}/{module}.tsv"
    wildcard_constraints:
        run="[a-z_0-9]+",
    params:
        representations=lambda wildcards: ABLATION_RUNS[wildcards.run].representations,
        seeds=SEEDS,
        options=lambda wildcards: [
            "--options",
            as_json(ABLATION_RUNS[wildcards.run].options),
        ],
    message:
        "Ablation: fit {wildcards.run} on {wildcards.table}"


use rule measure as measure_ablation with:
    input:
        code=lambda wildcards: code(
            "pipeline.evaluation.measure", codec.dotted(wildcards.module)
        ),
        embedding="data/embeddings/{table}.parquet",
        codecs="results/ablation/codecs/{table}/{run}/{module}",
        benchmarks="data/benchmarks",
    output:
        "results/ablation/metrics/{table}/{run}/{module}.parquet",
    log:
        "logs/measure_ablation/{table}/{run}/{module}.log",
    benchmark:
        "results/timing/measure_ablation/{table}/{run}/{module}.tsv"
    message:
        "Ablation: measure {wildcards.run} on {wildcards.table}"


rule ablation:
    input:
        code=code("pipeline.evaluation.ablation"),
        metrics=[path for _, path in ABLATION_METRICS],
    output:
        table=report(
            "results/ablation.csv",
            caption="../report/ablation.rst",
            category="Table",
            labels={"table": "ablation"},
        ),
        prefixes=report(
            "results/prefixes.csv",
            caption="../report/prefixes.rst",
            category="Table",
            labels={"table": "prefixes"},
        ),
    log:
        "logs/ablation.log",
    benchmark:
        "results/timing/ablation.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        metrics=[f"{variant}={path}" for variant, path in ABLATION_METRICS],
    message:
        "What each part of training is worth: {output.table}"
    shell:
        "python -m pipeline.evaluation.ablation --metrics {params.metrics:q} --output {output.table}"
        " --prefixes {output.prefixes} 2>&1 | tee {log}"


rule ablation_figure:
    input:
        code=code("pipeline.plots.ablation"),
        table="results/ablation.csv",
    output:
        report(
            "results/figures/ablation.png",
            caption="../report/ablation.rst",
            category="Figures",
            labels={"figure": "ablation"},
        ),
    log:
        "logs/ablation_figure.log",
    benchmark:
        "results/timing/ablation_figure.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.ablation --table {input.table} --output {params.target} 2>&1 | tee {log}"
