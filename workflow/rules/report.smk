# Summary, tables and the page.


rule plan:
    output:
        "data/summary/plan.json",
    log:
        "logs/plan.log",
    priority: 100
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        mem_mb=500,
        runtime=5,
    params:
        config=configuration(),
        preset=PLAN.preset,
    message:
        "write down the plan"
    shell:
        "python -m seqbench plan --config {params.config:q} --to {output} > {log} 2>&1"


rule analyse:
    input:
        rules.trained.input,
        rules.measured.input,
        of_cells("data/tuned/{task}/{arch}.json"),
        package("analyse"),
        "data/sources.toml",
        "workflow/claims.yaml",
        "workflow/published.yaml",
        plan="data/summary/plan.json",
    output:
        "data/summary/summary.json",
        "data/summary/metrics.json",
        "data/summary/curves.csv",
        results="reports/results.csv",
    log:
        "logs/analyse.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        mem_mb=2000,
        runtime=30,
    message:
        "analyse"
    shell:
        "python -m seqbench analyse --plan {input.plan} --results {output.results} > {log} 2>&1"


rule report:
    input:
        "data/summary/summary.json",
        "reports/results.csv",
        package("report"),
        code("music"),
    output:
        "reports/index.html",
    log:
        "logs/report.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        mem_mb=1000,
        runtime=10,
    message:
        "render {output}"
    shell:
        "python -m seqbench report --to {output} > {log} 2>&1"
