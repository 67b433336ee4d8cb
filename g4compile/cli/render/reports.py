"""What `verify` found, as a table and a verdict."""

from __future__ import annotations

from g4compile.cli.render.messages import verdict
from g4compile.cli.render.tables import table
from g4compile.compare.modalities import FeatureParity
from g4compile.compare.parity import Parity
from g4compile.compare.report import Report


def divergence(report: Report, localized: bool) -> str:
    """Which layer diverges first; empty when layers were not compared."""
    first = report.first_divergence
    if first is not None:
        return f"layer {first.layer} diverges first: its output is off by {first.relative_difference:.2g} of its size"
    return "no layer's output diverges" if localized else ""


def show_report(bundle: str, report: Report, where: str) -> None:
    """Print ``report``, and the verdict last. ``where``: what `divergence` says."""
    limits = report.limits
    rows = {"compared with": report.judge}
    rows |= {name: _figures(parity) for name, parity in report.parity.items()}
    largest = limits.max_abs_difference
    bounds = f"relative {limits.relative_difference:g}, KL {limits.kl_mean:g}, top-1 {limits.top1_agreement:.0%}"
    rows["limits"] = f"{'max not bounded' if largest is None else f'max {largest:g}'}, {bounds}: {limits.name}"
    rows["why these"] = limits.reason
    if report.rounded:
        rows["in bfloat16"] = f"prefill, every value rounded as declared: {_figures(report.rounded)}"
        rows["what ran"] = "the networks, emitted again and interpreted on the CPU; no engine was run"
    rows |= {f"features of {name}": _of_features(one) for name, one in report.features.items()}
    for name, one in (report.feature_cost or {}).items():
        rows[f"features of {name}, original weights"] = _of_features(one)
    for name, parity in (report.quantisation_cost or {}).items():
        rows[f"{name}, original weights"] = _figures(parity)
    if report.kv_cost:
        rows["rounded KV costs"] = f"against float32 KV: {_figures(report.kv_cost)}"
    if report.codes:
        rows["weights"] = report.codes
    if where:
        rows["layers"] = where
    if report.left_out:
        rows["not compared"] = f"{', '.join(report.left_out)}: of an engine bundle, or the context has no room"
    table(f"{bundle} against Hugging Face eager float32", rows)
    verdict(report.passed, report.verdict)
    if report.cost:
        print(f"what quantisation costs, {report.cost}")


def _of_features(found: FeatureParity) -> str:
    return f"{found.tokens} tokens: max {found.max_abs_difference:.2e}, relative {found.relative_difference:.1e}"


def _figures(parity: Parity) -> str:
    return (
        f"{parity.positions} positions: max {parity.max_abs_difference:.2e}, "
        f"relative {parity.relative_difference:.1e}, KL {parity.kl_mean:.1e}, top-1 {parity.top1_agreement:.2%}"
    )
