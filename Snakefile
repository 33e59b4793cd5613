# Text to embeddings, embeddings to bits: every representation in one table.
#
#   snakemake --cores all results/benchmarks.csv     the main job
#   snakemake -n                                     what would run, and why
#   snakemake --report results/workflow.html         the report, after a run
#
# Settings: config/config.yaml (every key explained), over it config/user.yaml if there is one, over that --configfile.
# A stage is a file in workflow/rules; its work is a module in pipeline/.

import sys

from snakemake.utils import min_version

from pipeline import configuration
from pipeline.stage import UserError

min_version("9.0")


configfile: f"{workflow.basedir}/config/config.yaml"


try:
    overridden = configuration.read_user("config/user.yaml")
except UserError as error:
    sys.exit(f"error: {error}")

if overridden:

    configfile: "config/user.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/embeddings.smk"
include: "workflow/rules/codecs.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/compression.smk"
include: "workflow/rules/matryoshka.smk"
include: "workflow/rules/analogy_share.smk"
include: "workflow/rules/sigma_delta.smk"
include: "workflow/rules/spikes.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/snn.smk"
include: "workflow/rules/snn_data.smk"
include: "workflow/rules/snn_measure.smk"
include: "workflow/rules/snn_figures.smk"
include: "workflow/rules/position_ablation.smk"
include: "workflow/rules/performance.smk"


rule all:
    default_target: True
    input:
        "results/benchmarks.csv",
        "results/benchmarks.parquet",
        FIGURES,
        COMPRESSION,
        SIGMA_DELTA_FIGURES,
        SPIKES,
        AUTOENCODERS,
        TRAINING_FIGURES,
        SNN_RESULTS,
        [TOKENS] if NEEDS_CORPUS else [],
