# Requires  data/embeddings/<table>.parquet.
# Makes     results/sigma_delta/<table>.parquet (the residual of sigma-delta quantisation against the number of bits, on
#           real vectors) and its figure. Without the codec in the config there is none.

# The law does not depend on the table: it is drawn for the first one.
SIGMA_DELTA_FIGURES = (
    ["results/figures/sigma_delta_slopes.png"]
    if "sigma_delta" in REPRESENTATIONS
    else []
)


rule sigma_delta_slopes:
    input:
        code=code("pipeline.evaluation.sigma_delta_slopes"),
        embedding="data/embeddings/{table}.parquet",
    output:
        "results/sigma_delta/{table}.parquet",
    log:
        "logs/sigma_delta/{table}.log",
    benchmark:
        "results/timing/sigma_delta/{table}.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    message:
        "Slopes of the sigma-delta residual on {wildcards.table}"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.sigma_delta_slopes --embedding {input.embedding:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule sigma_delta_figure:
    input:
        code=code("pipeline.plots.sigma_delta_slopes"),
        slopes=f"results/sigma_delta/{TABLES[0]}.parquet",
    output:
        report(
            "results/figures/sigma_delta_slopes.png",
            caption="../report/sigma_delta_slopes.rst",
            category="Figures",
            labels={"figure": "sigma delta slopes"},
        ),
    log:
        "logs/sigma_delta_figure.log",
    benchmark:
        "results/timing/sigma_delta_figure.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.sigma_delta_slopes --slopes {input.slopes:q} --output {params.target} 2>&1 | tee {log}"
