# Requires  data/embeddings/<table>.parquet, results/benchmarks.parquet, results/codecs/<table>/<spike modules>.
# Makes     results/spike_bound.csv (the fewest spikes that a quantizer's integers take) and the pictures of spikes: spikes a
#           value against error, and on the first table a raster of ten words, tuning curves, values before and after.
#           Without a spike code in the config there are none.

SPIKE_MODULES = list(filter(is_spikes, REPRESENTATIONS))
SPIKE_PICTURES = ["spike_raster", "tuning_curves", "spike_fidelity"]
SPIKES = (
    [
        "results/spike_bound.csv",
        "results/figures/spikes_by_distortion.png",
        *expand("results/figures/{picture}.png", picture=SPIKE_PICTURES),
    ]
    if SPIKE_MODULES
    else []
)


rule spikes:
    input:
        SPIKES,


rule spike_bound:
    input:
        code=code("pipeline.evaluation.spike_bound"),
        embeddings=expand("data/embeddings/{table}.parquet", table=TABLES),
    output:
        "results/spike_bound.csv",
    log:
        "logs/spike_bound.log",
    benchmark:
        "results/timing/spike_bound.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    params:
        seeds=SEEDS,
        options=as_json(config["spikes"]),
    message:
        "The entropy line of spikes: {output}"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.spike_bound --embeddings {input.embeddings:q}"
        " --seeds {params.seeds} --options {params.options:q} --output {output} 2>&1 | tee {log}"


rule spikes_figure:
    input:
        code=code("pipeline.plots.spikes"),
        benchmarks="results/benchmarks.parquet",
        bound="results/spike_bound.csv",
    output:
        report(
            "results/figures/spikes_by_distortion.png",
            caption="../report/spikes_by_distortion.rst",
            category="Figures",
            labels={"figure": "spikes by distortion"},
        ),
    log:
        "logs/spikes_figure.log",
    benchmark:
        "results/timing/spikes_figure.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.spikes --benchmarks {input.benchmarks} --bound {input.bound} --output {params.target}"
        " 2>&1 | tee {log}"


rule spike_pictures:
    input:
        code=code("pipeline.evaluation.spike_pictures"),
        modules=codecs_code(SPIKE_MODULES),
        embedding=f"data/embeddings/{TABLES[0]}.parquet",
        codecs=expand(f"results/codecs/{TABLES[0]}/{{module}}", module=SPIKE_MODULES),
    output:
        [
            report(
                f"results/figures/{picture}.png",
                caption=f"../report/{picture}.rst",
                category="Figures",
                labels={"figure": picture.replace("_", " ")},
            )
            for picture in SPIKE_PICTURES
        ],
    log:
        "logs/spike_pictures.log",
    benchmark:
        "results/timing/spike_pictures.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    message:
        "Figures: spikes of {TABLES[0]}"
    shell:
        "python -m pipeline.evaluation.spike_pictures --embedding {input.embedding:q} --codecs {input.codecs:q}"
        " --output results/figures 2>&1 | tee {log}"
