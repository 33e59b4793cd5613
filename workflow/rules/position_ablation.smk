# Requires  data/corpus/language/tokens.
# Makes     results/snn/position_ablation (rows of each seed), results/snn_ablation.csv and .parquet,
#           results/figures/snn_ablation.png.
#           Outside `rule all`: `make snn-ablation`.


rule position_ablation:
    input:
        code=code("pipeline.snn.position_ablation"),
        tokens=expand(f"{LANGUAGE}/tokens/{{part}}", part=["train", "validation"]),
    output:
        "results/snn/position_ablation/{seed}.parquet",
    log:
        "logs/snn/position_ablation/{seed}.log",
    benchmark:
        "results/timing/snn/position_ablation/{seed}.tsv"
    wildcard_constraints:
        seed=r"\d+",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        options=as_json(SNN["ablation"]["options"]),
        folder="results/snn/position_ablation/.{seed}.unfinished",
        device=config["device"],
    message:
        "Attention with and without phases, and other positions, seed {wildcards.seed}"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.position_ablation --tokens {input.tokens:q}"
        " --options {params.options:q} --seed {wildcards.seed} --folder {params.folder} --device {params.device}"
        " --output {output} 2>&1 | tee {log}"


use rule snn_table as position_ablation_table with:
    input:
        code=code("pipeline.evaluation.snn_table"),
        measurements=expand(
            "results/snn/position_ablation/{seed}.parquet",
            seed=SNN["ablation"]["seeds"],
        ),
    output:
        csv="results/snn_ablation.csv",
        parquet="results/snn_ablation.parquet",
    log:
        "logs/position_ablation_table.log",
    benchmark:
        "results/timing/position_ablation_table.tsv"


rule position_ablation_figure:
    input:
        code=code("pipeline.plots.snn_positions"),
        table="results/snn_ablation.csv",
    output:
        report(
            "results/figures/snn_ablation.png",
            caption="../report/snn_positions.rst",
            category="Figures",
            labels={"figure": "ablation of positions"},
        ),
    log:
        "logs/snn_figure/ablation.log",
    benchmark:
        "results/timing/snn_figure/ablation.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.snn_positions --table {input.table} --output {params.target} 2>&1 | tee {log}"
