"""What `verify` found, as a table and a verdict."""

from __future__ import annotations

from g4compile.cli.render.messages import verdict
from g4compile.cli.render.tables import table
from g4compile.compare.parity import Parity
from g4compile.compare.verify import Report


def divergence(report: Report, localized: bool) -> str:
    """Which layer diverges first; empty when layers were not compared."""
    first = report.first_divergence
    if first is not None:
        return f"layer {first.layer} diverges first: its output is off by {first.relative_difference:.2g} of its size"
    return "no layer's output diverges" if localized else ""


def show_report(bundle: str, report: Report, where: str) -> None:
    """Print ``report``, and the verdict last. ``where``: what `divergence` says."""
    limits = report.limits
    rows = {
        name: f"{parity.positions} positions: max {parity.max_abs_difference:.2e}, {_means(parity)}"
        for name, parity in report.parity.items()
    }
    rows["limits"] = f"max {limits.max_abs_difference:.0e}, KL {limits.kl_mean:.0e}, top-1 {limits.top1_agreement:.2%}"
    if report.rounded:
        rows["in bfloat16"] = f"{_means(report.rounded)}: prefill, every value rounded as declared"
        rows["what ran"] = "the networks, emitted again and interpreted on the CPU; no engine was run"
    if report.kv_cost:
        rows["int8 KV costs"] = f"{_means(report.kv_cost)} against float32 KV"
    if report.codes:
        rows["weights"] = report.codes
    if where:
        rows["layers"] = where
    table(f"{bundle} against Hugging Face eager float32", rows)
    verdict(report.passed, "equal within the limits" if report.passed else "NOT equal")


def _means(parity: Parity) -> str:
    return f"mean {parity.mean_abs_difference:.2e}, KL {parity.kl_mean:.1e}, top-1 {parity.top1_agreement:.2%}"
