"""Bundles of `onnx-cuda` against Hugging Face on a GPU: error, tokens, and captured against uncaptured steps.

    python benchmarks/gpu/parity.py CHECKPOINT BUNDLE [--steps 200] [--batch 3] [--replay 1000] [--out FILE]

The judge is Hugging Face eager in float32, which also chooses the tokens that all are fed; of a bundle of codes it
holds what they stand for. The mean error of logits is told beside that of Hugging Face in bfloat16; the greedy token
beside its own, with the gap of the two likeliest logits where they differ. Rows of a batch of unequal lengths, which
join while others decode, choose for themselves: told is how far the judge's logit of a chosen token is from its
greatest. Draws from the likeliest tokens, which the device finds, are compared with draws from all logits.
`--replay N` compares N captured steps with N uncaptured ones, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
PROMPT = 40


def model_of(checkpoint: Path, bundle: Any, dtype: Any) -> Any:
    """Hugging Face's, with the weights of ``bundle`` in the place of those that are codes there."""
    import torch
    from transformers import AutoModelForImageTextToText

    from g4compile.compare.dequantized import dequantized
    from g4compile.model.config import load_config, model_facts
    from g4compile.model.keys import stored_key

    torch.backends.cuda.matmul.allow_tf32 = False
    made = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype, attn_implementation="eager")
    facts = model_facts(load_config(checkpoint))
    held = {stored_key(name, facts): one for name, one in made.named_parameters(remove_duplicate=False)}
    with torch.no_grad():
        for key, weight in dequantized(bundle):
            held[key].copy_(torch.from_numpy(weight))
    return made.to("cuda").eval()


def expected(model: Any, ids: np.ndarray, forced: np.ndarray | None, steps: int) -> np.ndarray:
    """float32 logits [B, steps, V] behind the prompt ``ids``, fed its own greedy tokens or ``forced`` [B, steps]."""
    import torch

    found, cache = [], None
    given = torch.tensor(ids, device="cuda")
    with torch.no_grad():
        for step in range(steps):
            out = model(input_ids=given, past_key_values=cache, use_cache=True)
            cache, logits = out.past_key_values, out.logits[:, -1].float()
            found.append(logits.cpu().numpy())
            tokens = logits.argmax(-1) if forced is None else torch.tensor(forced[:, step], device="cuda")
            given = tokens[:, None]
    return np.stack(found, 1)


def ours(session: Any, ids: np.ndarray, forced: np.ndarray) -> np.ndarray:
    session.reset()
    found = [session.forward(ids)]
    for step in range(forced.shape[1] - 1):
        found.append(session.forward(forced[:, step : step + 1]))
    return np.stack(found, 1)


def compare(checkpoint: Path, session: Any, batch: int, steps: int) -> dict[str, Any]:
    import torch

    vocabulary = session.bundle.manifest.vocab_size
    ids = np.random.default_rng(batch).integers(10, min(vocabulary, 900), (batch, PROMPT))
    wide = expected(model_of(checkpoint, session.bundle, torch.float32), ids, None, steps)
    forced = wide.argmax(-1)
    narrow = expected(model_of(checkpoint, session.bundle, torch.bfloat16), ids, forced, steps)
    made = ours(session, ids, forced)
    differ = made.argmax(-1) != narrow.argmax(-1)
    top = np.sort(wide, -1)
    gaps = (top[..., -1] - top[..., -2])[differ]
    error, theirs = (float(np.abs(one - wide).mean()) for one in (made, narrow))
    return {
        "batch": batch, "steps": steps, "mean_error": error, "bfloat16_mean_error": theirs, "ratio": error / theirs,
        "max_error": float(np.abs(made - wide).max()), "bfloat16_max_error": float(np.abs(narrow - wide).max()),
        "tokens_unlike_bfloat16": int(differ.sum()), "tokens": int(differ.size),
        "largest_gap_where_unlike": float(gaps.max()) if gaps.size else 0.0,
        "tokens_unlike_float32": int((made.argmax(-1) != forced).sum()),
        "bfloat16_tokens_unlike_float32": int((narrow.argmax(-1) != forced).sum()),
    }  # fmt: skip


def alone(checkpoint: Path, session: Any, steps: int) -> dict[str, Any]:
    """Rows of a batch of unequal lengths, beside what each gives alone: greedy tokens, and how far each is from the
    judge's own choice."""
    vocabulary = min(session.bundle.manifest.vocab_size, 900)
    prompts = [np.random.default_rng(seed).integers(10, vocabulary, (1, 5 + 9 * seed)) for seed in range(5)]
    single = []
    for ids in prompts:
        session.reset()
        single.append(list(session.generate(ids, max_new_tokens=steps, stop_token_ids=())))
    session.reset()
    batch = session.new_batch(8)
    found: dict[int, list[int]] = {}
    for number, ids in enumerate(prompts):  # rows join while others decode
        row = batch.join(ids, max_new_tokens=steps, stop_token_ids=())
        found[row] = []
        for _ in range(3):
            for one, token in batch.step():
                found[one].append(token)
        assert row == number
    while batch.active:
        for one, token in batch.step():
            found[one].append(token)
    batch.close()
    import torch

    judge = model_of(checkpoint, session.bundle, torch.float32)
    same = [sum(a == b for a, b in zip(found[row], single[row], strict=True)) for row in range(len(prompts))]
    gaps = {
        name: max(_gap(judge, ids, tokens[row]) for row, ids in enumerate(prompts))
        for name, tokens in (("together", found), ("alone", dict(enumerate(single))))
    }
    return {"rows": len(prompts), "steps": steps, "tokens_equal": same, "largest_gap": gaps}


def _gap(judge: Any, ids: np.ndarray, tokens: list[int]) -> float:
    """How far the judge's logit of one of ``tokens`` is from its greatest, at most."""
    import torch

    given = torch.tensor([[*ids[0].tolist(), *tokens[:-1]]], device="cuda")
    with torch.no_grad():
        logits = judge(input_ids=given).logits[0, ids.shape[1] - 1 :].float()
    chosen = logits.gather(1, torch.tensor(tokens, device="cuda")[:, None])[:, 0]
    return float((logits.max(-1).values - chosen).max())


def draws(session: Any, steps: int) -> dict[str, Any]:
    """Tokens of one seed, drawn from what the device finds, beside those drawn from all logits."""
    from g4compile.runtime.sampling import Sampling

    settings = {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "seed": 7}
    vocabulary = min(session.bundle.manifest.vocab_size, 900)
    ids = np.random.default_rng(3).integers(10, vocabulary, (1, PROMPT))
    session.reset()
    found = list(session.generate(ids, max_new_tokens=steps, stop_token_ids=(), **settings))
    session.reset()
    sampling, logits, chosen = Sampling(**settings), session.forward(ids), []
    for _ in range(steps):
        chosen.append(sampling.choose(logits[0]))
        logits = session.forward(np.array([chosen[-1:]]))
    return {"steps": steps, "tokens_equal": sum(a == b for a, b in zip(found, chosen, strict=True)),
            "different_tokens": len(set(found))}  # fmt: skip


def replay(bundle: Path, steps: int) -> dict[str, Any]:
    import g4compile
    from g4compile.runtime.cuda.graph import Graph

    def logits() -> list[np.ndarray]:
        session: Any = g4compile.load(bundle)
        vocabulary = min(session.bundle.manifest.vocab_size, 900)
        rng = np.random.default_rng(5)
        session.forward(rng.integers(10, vocabulary, (1, 8)))
        found = [session.forward(rng.integers(10, vocabulary, (1, 1))) for _ in range(steps)]
        session.close()
        return found

    captured = logits()
    original = Graph.replay

    def uncaptured(self: Any, binding: Any, number: int, prepare: Any, what: str) -> None:
        prepare(False)
        self.run(binding, what)

    Graph.replay = uncaptured  # type: ignore[method-assign]
    try:
        plain = logits()
    finally:
        Graph.replay = original  # type: ignore[method-assign]
    return {"steps": steps, "equal": sum(bool((a == b).all()) for a, b in zip(captured, plain, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--replay", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    import g4compile

    found: dict[str, Any] = {"bundle": given.bundle.name}
    session: Any = g4compile.load(given.bundle)
    for batch in sorted({1, given.batch}):
        found[f"batch_{batch}"] = compare(given.checkpoint, session, batch, given.steps)
        print(json.dumps(found[f"batch_{batch}"]), flush=True)
    found["rows"] = alone(given.checkpoint, session, min(given.steps, 60))
    print(json.dumps(found["rows"]), flush=True)
    found["draws"] = draws(session, given.steps)
    print(json.dumps(found["draws"]), flush=True)
    session.close()
    if given.replay:
        found["replay"] = replay(given.bundle, given.replay)
        print(json.dumps(found["replay"]), flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
