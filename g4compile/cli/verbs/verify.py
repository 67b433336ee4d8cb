"""`g4compile verify`: is this bundle equal to the model it was compiled from?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.console import Json, result, status, table, verb


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
    """Compare prefill, chunked prefill and decode with Hugging Face eager in float32. Exit code 1 when over the limits."""
    import msgspec

    from g4compile.bundle.folder import Bundle
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
    first = report.first_divergence
    where = (
        f"layer {first.layer} diverges first: its output is off by {first.relative_difference:.2g} of its size"
        if first
        else ""
    )
    if localize and not first:
        where = "no layer's output diverges"

    def show() -> None:
        limits = report.limits
        rows = {
            name: f"{parity.positions} positions: max {parity.max_abs_difference:.2e}, mean {parity.mean_abs_difference:.2e}, KL {parity.kl_mean:.1e}, top-1 {parity.top1_agreement:.2%}"
            for name, parity in report.parity.items()
        }
        rows["limits"] = (
            f"max {limits.max_abs_difference:.0e}, KL {limits.kl_mean:.0e}, top-1 {limits.top1_agreement:.2%}"
        )
        if report.rounded:
            part = report.rounded
            rows["in bfloat16"] = (
                f"mean {part.mean_abs_difference:.2e}, KL {part.kl_mean:.1e}, top-1 {part.top1_agreement:.2%}: prefill, every value rounded as declared"
            )
            rows["what ran"] = "the networks, emitted again and interpreted on the CPU; no engine was run"
        if report.kv_cost:
            cost = report.kv_cost
            rows["int8 KV costs"] = (
                f"mean {cost.mean_abs_difference:.2e}, KL {cost.kl_mean:.1e}, top-1 {cost.top1_agreement:.2%} against float32 KV"
            )
        if report.codes:
            rows["weights"] = report.codes
        if where:
            rows["layers"] = where
        table(f"{bundle} against Hugging Face eager float32", rows)
        print("equal within the limits" if report.passed else "NOT equal")

    data = {
        "passed": report.passed,
        "first_divergent_layer": first.layer if first else None,
        **msgspec.to_builtins(report),
    }
    result(as_json, data, show)
    if not report.passed:
        error = CheckFailed(
            "the bundle differs from the checkpoint by more than the limits", why="; ".join(report.broken), where=where
        )
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.code)
