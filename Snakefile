# seqbench: download -> prepare -> tune -> train -> measure -> analyse -> report.
# Every rule is one command that a person can paste; workflow/rules/ holds them by stage.


configfile: "params.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        "reports/index.html",
        "reports/results.csv",
