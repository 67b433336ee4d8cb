"""`g4compile verify`: is this bundle equal to the model it was compiled from?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from g4compile.cli.console import Json, result, status, table, verb

if TYPE_CHECKING:
    from g4compile.compare.parity import Parity
    from g4compile.compare.report import Report


@verb
def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    against: Annotated[str, typer.Option(help="The checkpoint it was compiled from: a folder or a Hub id.")],
    localize: Annotated[bool, typer.Option("--localize", help="Also say which decoder layer diverges first.")] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Also check the content of every file.")] = False,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Length of the random prompt. Default: three windows, at most 512.")
    ] = None,
    new_tokens: Annotated[int, typer.Option(min=1, help="Decode steps.")] = 16,
    batch: Annotated[int, typer.Option(min=1, help="Sequences at once.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Compare prefill, decode and chunked prefill with Hugging Face eager in float32. Exit code 1 when over the limits.

    Of a quantised bundle twice: with what its codes stand for (is the compiler right), and with the original weights (what
    quantisation costs).
    """
    import msgspec

    from g4compile.bundle.manifest import Bundle
    from g4compile.compare.verify import verify as verify_bundle
    from g4compile.errors import CheckFailed

    opened = Bundle.open(bundle)
    if hashes:
        opened.check_hashes()
    with status("verify") as progress:
        report = verify_bundle(
            opened,
            against,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            batch=batch,
            seed=seed,
            layers=localize,
            progress=progress,
        )
    rows = _rows(report, localize)

    def show() -> None:
        table(f"{bundle} against {against}", rows)
        print(report.verdict)
        if report.cost:
            print(f"what quantisation costs, {report.cost}")

    first = report.first_divergence
    data = {
        "passed": report.passed,
        "verdict": report.verdict,
        "first_divergent_layer": first.layer if first else None,
        **msgspec.json.decode(msgspec.json.encode(report)),  # makes null of what JSON cannot say: NaN, infinities
    }
    result(as_json, data, show)
    if not report.passed:
        error = CheckFailed(
            "the bundle differs from the checkpoint by more than the limits",
            why="; ".join(report.broken),
            where=rows.get("layers", ""),
        )
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.code)


def _rows(report: Report, localize: bool) -> dict[str, str]:
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
    for name, parity in (report.quantisation_cost or {}).items():
        rows[f"{name}, original weights"] = _figures(parity)
    if report.kv_cost:
        rows["int8 KV costs"] = f"against float32 KV: {_figures(report.kv_cost)}"
    if report.codes:
        rows["weights"] = report.codes
    if localize:
        rows["layers"] = _divergence(report)
    return rows


def _figures(parity: Parity) -> str:
    return (
        f"{parity.positions} positions: max {parity.max_abs_difference:.2e}, relative {parity.relative_difference:.1e}, "
        f"KL {parity.kl_mean:.1e}, top-1 {parity.top1_agreement:.2%}"
    )


def _divergence(report: Report) -> str:
    first = report.first_divergence
    if first is None:
        return "no layer's output diverges"
    return f"layer {first.layer} diverges first: its output is off by {first.relative_difference:.2g} of its size"
