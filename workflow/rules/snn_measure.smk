# Requires  results/snn/models, what they were trained on (snn_data.smk), and of spikingjam results/codecs and
#           results/metrics.
# Makes     results/snn/<network>.parquet and results/snn/spikingjam (what each does), results/snn.csv and
#           results/snn.parquet (all of it), results/snn/sentence_vectors.parquet (an embedding table, of the sentence
#           encoder).


rule spikformer_measure:
    input:
        code=code("pipeline.snn.language_measure"),
        tokens=expand(
            f"{LANGUAGE}/tokens/{{part}}", part=["train", "validation", "test"]
        ),
        spiking=snn_models("spikformer", ["spiking"]),
        dense=snn_models("spikformer", ["dense"]),
    output:
        "results/snn/spikformer.parquet",
    log:
        "logs/snn/spikformer.log",
    benchmark:
        "results/timing/snn/spikformer.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        limit=SNN["limit"],
    message:
        "Measure the language models"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.language_measure --tokens {LANGUAGE}/tokens"
        " --spiking {input.spiking:q} --dense {input.dense:q} --limit {params.limit}"
        " --output {output} 2>&1 | tee {log}"


rule sentence_encoder_measure:
    input:
        code=code(
            "pipeline.evaluation.sentence_encoder",
            "pipeline.spikes.spike_codes",
            "pipeline.codecs.binary",
        ),
        sentences=rules.sentences.output,
        models=snn_models("sentence_encoder"),
    output:
        measurements="results/snn/sentence_encoder.parquet",
        vectors="results/snn/sentence_vectors.parquet",
    log:
        "logs/snn/sentence_encoder.log",
    benchmark:
        "results/timing/snn/sentence_encoder.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2500 * attempt,
    params:
        folder=SENTENCES,
    message:
        "Measure the sentence encoders"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.sentence_encoder --sentences {params.folder}"
        " --models {input.models:q} --vectors {output.vectors} --output {output.measurements} 2>&1 | tee {log}"


rule popspike_measure:
    input:
        code=code("pipeline.snn.popspike_measure"),
        embedding=SNN_EMBEDDING,
        words=expand(
            f"{SNN_WORDS}/{{part}}.parquet", part=["train", "validation", "test"]
        ),
        models=snn_models("popspike"),
    output:
        "results/snn/popspike.parquet",
    log:
        "logs/snn/popspike.log",
    benchmark:
        "results/timing/snn/popspike.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        words=SNN_WORDS,
        queries=SNN["queries"],
        device=config["device"],
    message:
        "PopSpike: next words and memory, measured"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.popspike_measure --embedding {input.embedding:q}"
        " --words {params.words:q} --models {input.models:q} --queries {params.queries} --device {params.device}"
        " --output {output} 2>&1 | tee {log}"


rule spikingjam_measure:
    input:
        code=code("pipeline.evaluation.spikingjam", codec.dotted("spikingjam")),
        embedding="data/embeddings/{table}.parquet",
        codecs="results/codecs/{table}/spikingjam",
        metrics="results/metrics/{table}/spikingjam.parquet",
    output:
        "results/snn/spikingjam/{table}.parquet",
    log:
        "logs/snn/spikingjam/{table}.log",
    benchmark:
        "results/timing/snn/spikingjam/{table}.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    params:
        seeds=SEEDS,
        queries=config["evaluation"]["queries"],
    message:
        "SpikingJam of {wildcards.table}, beside its controls"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.spikingjam --embedding {input.embedding:q}"
        " --codecs {input.codecs:q} --metrics {input.metrics:q} --seeds {params.seeds} --queries {params.queries}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule snn_table:
    input:
        code=code("pipeline.evaluation.snn_table"),
        measurements=SNN_MEASUREMENTS,
    output:
        csv=report(
            "results/snn.csv",
            caption="../report/snn.rst",
            category="Table",
            labels={"table": "spiking networks"},
        ),
        parquet="results/snn.parquet",
    log:
        "logs/snn_table.log",
    benchmark:
        "results/timing/snn_table.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        stem=lambda wildcards, output: output.csv.removesuffix(".csv"),
    message:
        "Spiking networks: {output.csv}"
    shell:
        "python -m pipeline.evaluation.snn_table --measurements {input.measurements:q} --output {params.stem}"
        " 2>&1 | tee {log}"
