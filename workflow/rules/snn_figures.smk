# Requires  results/snn.parquet, and results/snn/models with their logs and what they were trained on.
# Makes     results/snn/activity (spikes, membranes and attention on one input), figures/snn_<what>.png.


use rule training_figure as snn_training_figure with:
    input:
        code=code("pipeline.plots.training_curves"),
        models=SNN_MODELS,
    output:
        report(
            "results/figures/snn_training.png",
            caption="../report/training_curves.rst",
            category="Figures",
            labels={"figure": "training of spiking networks"},
        ),
    log:
        "logs/snn_training_figure.log",
    benchmark:
        "results/timing/snn_training_figure.tsv"
    params:
        logs=[path.replace(".safetensors", ".parquet") for path in SNN_MODELS],
        target=lambda wildcards, output: output[0].removesuffix(".png"),


rule snn_figure:
    input:
        code=lambda wildcards: code(f"pipeline.plots.snn_{wildcards.what}"),
        measurements="results/snn.parquet",
    output:
        report(
            "results/figures/snn_{what}.png",
            caption="../report/snn_figure.rst",
            category="Figures",
            labels={"figure": "{what} of spiking networks"},
        ),
    log:
        "logs/snn_figure/{what}.log",
    benchmark:
        "results/timing/snn_figure/{what}.tsv"
    wildcard_constraints:
        what="energy|memory|spikingjam|spikingjam_energy",
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.snn_{wildcards.what} --measurements {input.measurements} --output {params.target}"
        " 2>&1 | tee {log}"


rule spikformer_activity:
    input:
        code=code("pipeline.snn.spikformer_activity"),
        model=SNN_DRAWN.get("spikformer", []),
        tokens=f"{LANGUAGE}/tokens/test",
        tokenizer=f"{LANGUAGE}/tokenizer.json",
    output:
        "results/snn/activity/spikformer.safetensors",
    log:
        "logs/snn/spikformer_activity.log",
    benchmark:
        "results/timing/snn/spikformer_activity.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    message:
        "Spikes, membranes and attention of the spiking language model"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.spikformer_activity --model {input.model} --tokens {input.tokens}"
        " --tokenizer {input.tokenizer} --output {output} 2>&1 | tee {log}"


rule popspike_activity:
    input:
        code=code("pipeline.snn.popspike_activity"),
        model=SNN_DRAWN.get("popspike", []),
        embedding=SNN_EMBEDDING,
    output:
        "results/snn/activity/popspike.safetensors",
    log:
        "logs/snn/popspike_activity.log",
    benchmark:
        "results/timing/snn/popspike_activity.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    message:
        "Spikes and membranes of PopSpike"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.popspike_activity --model {input.model}"
        " --embedding {input.embedding:q} --output {output} 2>&1 | tee {log}"


rule spikformer_activity_figures:
    input:
        code=code("pipeline.plots.snn_activity"),
        recording="results/snn/activity/spikformer.safetensors",
    output:
        [
            report(
                f"results/figures/snn_spikformer_{what}.png",
                caption=f"../report/snn_{what}.rst",
                category="Figures",
                labels={"figure": f"{what} of spikformer"},
            )
            for what in SNN_ACTIVITY["spikformer"]
        ],
    log:
        "logs/snn_figure/spikformer.log",
    benchmark:
        "results/timing/snn_figure/spikformer.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix("_raster.png"),
    message:
        "Figures: {output}"
    shell:
        "python -m pipeline.plots.snn_activity --recording {input.recording} --output {params.target} 2>&1 | tee {log}"


use rule spikformer_activity_figures as popspike_activity_figures with:
    input:
        code=code("pipeline.plots.snn_activity"),
        recording="results/snn/activity/popspike.safetensors",
    output:
        [
            report(
                f"results/figures/snn_popspike_{what}.png",
                caption=f"../report/snn_{what}.rst",
                category="Figures",
                labels={"figure": f"{what} of popspike"},
            )
            for what in SNN_ACTIVITY["popspike"]
        ],
    log:
        "logs/snn_figure/popspike.log",
    benchmark:
        "results/timing/snn_figure/popspike.tsv"
