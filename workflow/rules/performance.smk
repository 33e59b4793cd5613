# Requires  data/corpus/documents, data/corpus/tokenizer.json.
# Makes     results/performance.csv: ours against a peer in the same script, interleaved, one script a topic.
#           Outside `rule all`: `make performance`.

PERFORMANCE_TOPICS = ["tokenizing"]


rule performance_tokenizing:
    input:
        code("pipeline.corpus.tokens"),
        f"{workflow.basedir}/performance/tokenizing.py",
        documents="data/corpus/documents",
        tokenizer="data/corpus/tokenizer.json",
    output:
        "results/performance/tokenizing.csv",
    log:
        "logs/performance/tokenizing.log",
    benchmark:
        "results/timing/performance/tokenizing.tsv"
    threads: workflow.cores or 1  # alone on the machine
    resources:
        mem_mb=2000,
    params:
        root=workflow.basedir,
    message:
        "Performance: tokenizing"
    shell:
        "PYTHONPATH={params.root:q} python -m performance.tokenizing --documents {input.documents}"
        " --tokenizer {input.tokenizer} --output {output} 2>&1 | tee {log}"


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
