"""What ran on the machine, what fits into it, how near to its peak that came, and the energy it took."""

from __future__ import annotations

from collections.abc import Sequence

from seqbench.analyse.costs import AFTER
from seqbench.analyse.findings import number
from seqbench.analyse.summary import Summary
from seqbench.measurements import Counted, Measured, Measurement
from seqbench.report.costs import NAMES
from seqbench.report.figures import Entry, Row, Table


def ran(summary: Summary) -> Table:
    """Paths and kernels, where the profiler's record was kept."""
    rows: list[Row] = [
        [one.arch, _at(m), m.path, ", ".join(m.kernels), "–" if m.megahertz is None else number(m.megahertz)]
        for one in summary.measured
        for m in one.measurements
        if m.kernels
    ]
    head = ["Model", "Measured", "Path", "Costliest kernels", "MHz"]
    return Table("Paths and kernels that ran, costliest first", head, rows)


def _at(m: Measurement) -> str:
    track = ["reference track"] if m.track == "reference" else []
    threads = [f"{m.threads} threads"] if m.threads > 1 else []
    more = [*threads, *track, *([m.form] if m.form else [])]
    where = f"after {m.length} steps" if m.quantity in AFTER else f"at length {m.length}"
    return ", ".join([f"{NAMES[m.quantity]} {where}", f"batch {m.batch}", *more])


def predictions(summary: Summary) -> list[str]:
    """What fits a memory, as predicted and as found, in sentences."""
    found = []
    for one in summary.counted:
        for p in one.predictions:
            other = "batch" if p.what == "length" else "length"
            form = f", {p.form}" if p.form else ""
            if p.found is None:
                seen = "not tried to the end"
            elif p.found == 0:
                seen = "none found"
            else:
                seen = f"{p.found:,} found ({_signed(100 * (p.predicted / p.found - 1))} %)"
            found.append(
                f"{one.arch}{form}: largest {p.what} within {p.limit / 2**20:,.0f} MiB at {other} {p.other}: "
                f"{p.predicted:,} predicted, {seen}"
            )
    return found


def _signed(percent: float) -> str:
    return f"{percent:+.0f}" if round(percent) else "0"


def share_of_peak(tokens_per_second: float, operations_per_token: float, peak: float) -> float:
    """Of the operations per second that the device did at best."""
    return tokens_per_second * operations_per_token / peak


def work(summary: Summary) -> Table:
    """Operations and bytes per token, operations per byte, and the share of the measured peak on one thread."""
    places = dict.fromkeys((w.phase, w.length, w.batch) for one in summary.counted for w in one.work)
    measured = {one.arch: one for one in summary.measured}
    rows: list[Row] = []
    for phase, length, batch in places:
        entries = [_work(one, measured.get(one.arch), (phase, length, batch)) for one in summary.counted]
        rows.append([f"{phase}, {length:,} steps, batch {batch}", *entries])
    head = ["Phase", *(one.arch for one in summary.counted)]
    return Table("Operations per token; bytes per token, operations per byte, share of the measured peak", head, rows)


def _work(one: Counted, measured: Measured | None, at: tuple[str, int, int]) -> Entry:
    found = next((w for w in one.work if (w.phase, w.length, w.batch) == at), None)
    if found is None:
        return Entry(warn="not measured") if one.refused else Entry("–")
    known = [f"{number(found.bytes)} B", f"{number(found.intensity)} per byte"]
    rate = _rate(measured, at)
    peak = next((p.flops.median for p in measured.peaks if p.threads == 1), None) if measured else None
    if rate and peak:
        known.append(f"{number(100 * share_of_peak(rate, found.flops, peak))} % of the peak")
    return Entry(number(found.flops), ", ".join(known))


def _rate(measured: Measured | None, at: tuple[str, int, int]) -> float | None:
    """Tokens per second on one thread, as usual; None where that was not measured."""
    for m in measured.measurements if measured else ():
        usual = (m.quantity, m.length, m.batch) == at and (m.threads, m.track, m.form) == (1, "best", "")
        if usual and m.value is not None:
            return 1e3 / m.value.median if m.unit == "ms" else m.value.median
    return None


def peaks(summary: Summary) -> list[str]:
    """What the device can do at best, in sentences."""
    return list(
        dict.fromkeys(
            f"{one.provenance.hardware.name} with {p.threads} thread{'s' if p.threads > 1 else ''}: "
            f"{number(p.flops.median / 1e9)} GFLOP/s in products of float32 matrices, "
            f"{number(p.traffic.median / 1e9)} GB/s of copying"
            for one in summary.measured
            for p in one.peaks
        )
    )


def energy(summary: Summary) -> Table | None:
    """Joules per 1,000 tokens; None where no machine had a meter."""
    archs = [one.arch for one in summary.measured]
    found: dict[str, dict[str, float]] = {}
    for one in summary.measured:
        for m in one.measurements:
            if m.joules is not None:
                found.setdefault(_at(m), {})[one.arch] = m.joules
    rows: list[Row] = [
        [what, *(number(of[arch]) if arch in of else "–" for arch in archs)] for what, of in found.items()
    ]
    return Table("Joules per 1,000 tokens, above idle", ["Measured", *archs], rows) if rows else None


def meters(summary: Summary) -> Sequence[str]:
    """How energy was measured, or why it was not."""
    return list(dict.fromkeys(one.energy for one in summary.measured))
