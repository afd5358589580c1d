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
        f"Throughput, memory, latency, arithmetic and slopes are those of one synthetic model of about "
        f"{plan.measure.parameters:,} parameters for each architecture, on one kind of machine with the kernels named "
        "here. Other sizes, machines and libraries may change the order and move the crossovers. Slopes hold between "
        "the lengths that they name.",
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
    found += [*_of_measuring(summary), *_of_tasks(summary)]
    if len(plan.task_ids) < 8:
        count = f"{len(plan.task_ids)} tasks are" if len(plan.task_ids) > 1 else "One task is"
        found.append(f"{count} too few for a ranking over tasks: none is given.")
    return found


def _of_measuring(summary: Summary) -> list[str]:
    """Limits of what was timed, and of how far models remember."""
    found = []
    if summary.measured and not any(m.joules is not None for one in summary.measured for m in one.measurements):
        found.append("Energy was not measured: the machine has no meter that could be read. Time is no measure of it.")
    if any(front.seconds is not None for front in summary.fronts):
        found.append(
            "Seconds to train are steps times the time of a step on a quiet machine, one run at a time: evaluation, "
            "tuning and several runs side by side are not in them. A step was timed in one visit: how far the "
            "machine drifts from visit to visit is known of the measurements of Cost alone."
        )
    if any(h.beyond for h in summary.horizons):
        found.append(
            "Horizons are looked for no further back than the sequences of a task reach; one that lies beyond counts "
            "with the longest lag, so that such means are too small."
        )
    return found


def _of_tasks(summary: Summary) -> list[str]:
    """Limits that come with what some tasks ask for."""
    found = []
    uneven = [task for task in summary.tasks if len(task.differences) > 1]
    streams, sequences = ([task.id for task in uneven if task.spec.outputs == kind] for kind in ("stream", "sequence"))
    if streams:
        found.append(
            f"On {words(streams)} some architectures carry their state over the whole text, and others see no more "
            "than one window: their scores compare what is seen as well as what is made of it. Longer windows may "
            "change the order. The cells say which do what."
        )
    if sequences:
        found.append(
            f"On {words(sequences)} attention to the source is the core's own in some architectures and added to "
            "others: scores compare a core with the attention that it comes with. The cells say which has what."
        )
    chosen: dict[tuple[str, str], list[str]] = {}
    for task in summary.tasks:
        if task.spec.watched[0] != task.spec.metric:
            chosen.setdefault((task.spec.watched[0], task.spec.metric), []).append(task.id)
    for (watched, metric), ids in chosen.items():
        found.append(
            f"On {words(ids)} epochs and learning rates were chosen by {watched} and models are ranked by {metric}: "
            f"the epoch best in one need not be the best in the other."
        )
    if any(cell.others for cell in summary.cells):
        found.append(
            "Pairs are tested in the score that ranks a task, and in no other: the further metrics have intervals "
            "and no verdict."
        )
    return found
