"""`g4compile verify`: is this bundle equal to the model it was compiled from?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.arguments import bundle_folder
from g4compile.cli.render.progress import progress
from g4compile.cli.verb import Answer, Json, verb


@verb
def verify(  # noqa: PLR0913 - a verb has one parameter per option
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    against: Annotated[str, typer.Option(help="The checkpoint it was compiled from: a folder or a Hub id.")],
    localize: Annotated[bool, typer.Option("--localize", help="Also say which decoder layer diverges first.")] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Also check the content of every file.")] = False,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Length of the random prompt. Default: three windows, at most 512.")
    ] = None,
    new_tokens: Annotated[int, typer.Option(min=1, help="Decode steps.")] = 16,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Sequences at once.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
) -> Answer:
    """Compare prefill, decode and chunked prefill with Hugging Face eager in float32. Exit code 1 when over the limits.

    A quantised bundle is compared twice: with what its codes stand for (is the compiler right), and with the original
    weights (what quantisation costs).
    """
    import msgspec

    import g4compile
    from g4compile.errors import CheckFailed
    from g4compile.requirements import COMPILE, require

    require(COMPILE, "verify")
    from g4compile.cli.render.reports import divergence, show_report

    opened = g4compile.Bundle.open(bundle_folder(bundle))
    if hashes:
        opened.check_hashes()
    with progress("verify") as tell:
        report = g4compile.verify(
            opened,
            against,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            batch=batch,
            seed=seed,
            layers=localize,
            progress=tell,
        )
    first = report.first_divergence
    where = divergence(report, localize)
    data = {
        "passed": report.passed,
        "verdict": report.verdict,
        "first_divergent_layer": first.layer if first else None,
        **msgspec.json.decode(msgspec.json.encode(report)),  # makes null of what JSON cannot say: NaN, infinities
    }
    failed = None
    if not report.passed:
        failed = CheckFailed(
            "the bundle differs from the checkpoint by more than the limits", why="; ".join(report.broken), where=where
        )
    return Answer(data, lambda: show_report(str(bundle), report, where), failed)
