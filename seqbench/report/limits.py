"""What the page cannot say: sentences made from the plan and the design."""

from __future__ import annotations

from seqbench.analyse.findings import number, words
from seqbench.analyse.summary import Summary


def limits(summary: Summary) -> list[str]:
    """One sentence per limit."""
    plan, design = summary.plan, summary.design
    steps = sorted({cell.train.steps for cell in plan.cells})
    budgets = sorted({cell.parameters for cell in plan.cells})
    trials = sorted({len(cell.tune.learning_rates) * len(cell.tune.seeds) for cell in plan.cells})
    found = [
        f"Models of about {words([f'{budget:,}' for budget in budgets])} parameters, trained for at most "
        f"{words([f'{count:,}' for count in steps])} steps: other sizes and longer training may change the order.",
        f"Of the settings, only the learning rate was tuned, in {words([str(count) for count in trials])} trials per "
        "cell. An architecture that needs other settings of its own is shown below its best.",
        "Throughput, memory and latency hold for the hardware and the kernels named here, and for no others.",
        f"Intervals cover the variation over {design.seeds} seed{'s' if design.seeds != 1 else ''} of training on one "
        "fixed data set. They say nothing about other data.",
    ]
    if plan.preset == "quick":
        found.insert(0, "The quick preset shows that everything works. Its models are small and briefly trained: do "
                        "not choose an architecture by its scores.")  # fmt: skip
    if design.comparisons and not design.testable:
        found.append(
            f"With {design.comparisons} comparisons and {design.seeds} seeds per architecture no difference can reach "
            f"p = {number(design.level)}: leaders are the best means seen, not winners."
        )
    if len(plan.task_ids) < 8:
        count = f"{len(plan.task_ids)} tasks are" if len(plan.task_ids) > 1 else "One task is"
        found.append(f"{count} too few for a ranking over tasks: none is given.")
    return found
