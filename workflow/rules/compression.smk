# Requires  results/codecs, results/benchmarks.parquet; for the stream data/corpus/documents and tokenizer.json too.
# Makes     results/compression.csv (the ledger: a row a representation), results/best_by_bytes.csv (ours against the peers
#           within so many bytes), results/stream.csv and results/stream.parquet (running words as vectors, everything
#           counted) and their figures.
#           Without a corpus (ready vectors alone) there is no stream.
#           Outside `rule all`: results/best_by_bytes_peers.csv and results/compression_peers.csv, the same of the default
#           and the peers' full grid together (`make peers`).

# The stream is measured on one table: the first concatenation, or the last table where there is none.
STREAM_TABLE = next((table for table in TABLES if "+" in table), TABLES[-1])
STREAM_MODULES = [
    file for file in ("floats", "scalar", "lossless") if file in REPRESENTATIONS
]
COMPRESSION_FIGURES = ["distortion_by_bytes"] + (
    ["stream_by_tokens"] if NEEDS_CORPUS else []
)
COMPRESSION = [
    "results/compression.csv",
    "results/best_by_bytes.csv",
    "results/figures/best_by_bytes.png",
    *expand("results/figures/{figure}.png", figure=COMPRESSION_FIGURES),
    *(["results/stream.csv"] if NEEDS_CORPUS else []),
]


rule ledger:
    input:
        code=code("pipeline.evaluation.compression"),
        modules=codecs_code(REPRESENTATIONS),
        benchmarks="results/benchmarks.parquet",
        embeddings=expand("data/embeddings/{table}.parquet", table=TABLES),
        codecs=expand(
            "results/codecs/{table}/{module}", table=TABLES, module=REPRESENTATIONS
        ),
    output:
        report(
            "results/compression.csv",
            caption="../report/compression.rst",
            category="Table",
            labels={"table": "compression"},
        ),
    log:
        "logs/ledger.log",
    benchmark:
        "results/timing/ledger.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    message:
        "The ledger: results/compression.csv"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.compression --benchmarks {input.benchmarks}"
        " --embeddings {input.embeddings:q} --codecs {input.codecs:q} --output {output} 2>&1 | tee {log}"


rule best_by_bytes:
    input:
        code=code("pipeline.evaluation.best_by_bytes"),
        benchmarks="results/benchmarks.parquet",
    output:
        report(
            "results/best_by_bytes.csv",
            caption="../report/best_by_bytes.rst",
            category="Table",
            labels={"table": "best by bytes"},
        ),
    log:
        "logs/best_by_bytes.log",
    benchmark:
        "results/timing/best_by_bytes.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    message:
        "The best codec within so many bytes, ours and the peers': {output}"
    shell:
        "python -m pipeline.evaluation.best_by_bytes --benchmarks {input.benchmarks} --output {output} 2>&1 | tee {log}"


use rule ledger as ledger_peers with:
    input:
        code=code("pipeline.evaluation.compression"),
        modules=codecs_code({**REPRESENTATIONS, **PEERS}),
        benchmarks=["results/benchmarks.parquet", "results/peers.parquet"],
        embeddings=expand("data/embeddings/{table}.parquet", table=TABLES),
        codecs=expand(
            "results/codecs/{table}/{module}", table=TABLES, module=REPRESENTATIONS
        )
        + expand("results/peers/codecs/{table}/{module}", table=TABLES, module=PEERS),
    output:
        "results/compression_peers.csv",
    log:
        "logs/ledger_peers.log",
    benchmark:
        "results/timing/ledger_peers.tsv"
    message:
        "The ledger with the peers' full grid: {output}"


use rule best_by_bytes as best_by_bytes_peers with:
    input:
        code=code("pipeline.evaluation.best_by_bytes"),
        benchmarks=["results/benchmarks.parquet", "results/peers.parquet"],
    output:
        "results/best_by_bytes_peers.csv",
    log:
        "logs/best_by_bytes_peers.log",
    benchmark:
        "results/timing/best_by_bytes_peers.tsv"
    message:
        "The best codec within so many bytes, the peers' full grid among them: {output}"


rule best_by_bytes_figure:
    input:
        code=code("pipeline.plots.best_by_bytes"),
        table="results/best_by_bytes.csv",
    output:
        report(
            "results/figures/best_by_bytes.png",
            caption="../report/best_by_bytes.rst",
            category="Figures",
            labels={"figure": "best by bytes"},
        ),
    log:
        "logs/best_by_bytes_figure.log",
    benchmark:
        "results/timing/best_by_bytes_figure.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.best_by_bytes --table {input.table} --output {params.target} 2>&1 | tee {log}"


rule stream:
    input:
        code=code(
            "pipeline.evaluation.stream",
            *(codec.dotted(module) for module in STREAM_MODULES),
        ),
        documents="data/corpus/documents",
        tokenizer="data/corpus/tokenizer.json",
        embedding=f"data/embeddings/{STREAM_TABLE}.parquet",
        codecs=expand(
            "results/codecs/{table}/{module}",
            table=[STREAM_TABLE],
            module=STREAM_MODULES,
        ),
    output:
        csv=report(
            "results/stream.csv",
            caption="../report/stream.rst",
            category="Table",
            labels={"table": "stream"},
        ),
        parquet="results/stream.parquet",
    log:
        "logs/stream.log",
    benchmark:
        "results/timing/stream.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        stem=lambda wildcards, output: output.csv.removesuffix(".csv"),
        codecs=lambda wildcards, input: (
            ["--codecs", *input.codecs] if input.codecs else []
        ),
    message:
        "The stream claim on {input.embedding}"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.stream --documents {input.documents}"
        " --tokenizer {input.tokenizer} --embedding {input.embedding:q} {params.codecs:q}"
        " --output {params.stem} 2>&1 | tee {log}"


rule compression_figures:
    input:
        code=code("pipeline.plots.compression"),
        benchmarks="results/benchmarks.parquet",
        ledger="results/compression.csv",
        stream=["results/stream.parquet"] if NEEDS_CORPUS else [],
    output:
        [
            report(
                f"results/figures/{name}.png",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": name.replace("_", " ")},
            )
            for name in COMPRESSION_FIGURES
        ],
    log:
        "logs/compression_figures.log",
    benchmark:
        "results/timing/compression_figures.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        stream=lambda wildcards, input: (
            ["--stream", *input.stream] if input.stream else []
        ),
    message:
        "Figures of the ledger and of the stream: {params.folder}"
    shell:
        "python -m pipeline.plots.compression --benchmarks {input.benchmarks} --ledger {input.ledger}"
        " {params.stream:q} --output {params.folder} 2>&1 | tee {log}"
