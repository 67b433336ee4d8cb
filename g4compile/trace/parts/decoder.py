"""The decoder as an exported program: the HF module on the meta device, with its real config and no weights.

One graph serves prefill and decode: batch, new tokens and both past lengths are dynamic. Full and sliding
layers have a past length each, because their caches hold different numbers of tokens.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import numpy as np
import torch

from g4compile.errors import Defect
from g4compile.model.classes import CLASSES
from g4compile.model.config import FULL, ModelFacts
from g4compile.model.contents import DECODER
from g4compile.model.keys import checkpoint_key
from g4compile.trace.build import build
from g4compile.trace.export import Exported, export_program
from g4compile.trace.hooks import IMPLEMENTATION, TraceCache

PAST = {FULL: "past_full", "sliding_attention": "past_sliding"}


class Decoder(torch.nn.Module):
    """`Gemma4ForCausalLM` with explicit past tensors. All tensors of one dtype, ids int64.

    ``owners``: indices of the layers that own KV. input_ids [B, S], position_ids [B, S], past: (key, value)
    [B, K, P, D] for each of ``owners`` ->
    logits [B, S, V] (soft-capped), present: the same pairs, [B, K, P+S, D]. Placeholders of other modalities are
    embedded as padding, as `Gemma4Model.forward` does before it puts encoder outputs in their place.
    """

    def __init__(
        self, model: Any, owners: tuple[int, ...], placeholder_ids: tuple[int, ...], pad_token_id: int
    ) -> None:
        super().__init__()
        self.model, self.owners = model, owners
        self.placeholder_ids, self.pad_token_id = placeholder_ids, pad_token_id

    def forward(
        self, input_ids: torch.Tensor, position_ids: torch.Tensor, past: list[tuple[torch.Tensor, torch.Tensor]]
    ) -> Any:
        cache = TraceCache(past, self.owners)
        if self.placeholder_ids:
            placeholder = input_ids == self.placeholder_ids[0]
            for token in self.placeholder_ids[1:]:
                placeholder = placeholder | (input_ids == token)
            input_ids = torch.where(placeholder, self.pad_token_id, input_ids)
        out = self.model(
            input_ids=input_ids,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            attention_mask={"full_attention": None, "sliding_attention": None},
        )
        return out.logits, cache.present


def export_decoder(facts: ModelFacts, dtype: torch.dtype, source_lines: bool = False) -> Exported:
    """Trace the decoder of ``facts`` at ``dtype``. Memory and time do not depend on the weights' size.

    ``source_lines`` notes the line of model code each op comes from, for messages; it takes a fifth longer.
    """
    config, model = build(CLASSES[facts.text.model_type], facts.text_config, IMPLEMENTATION, dtype)
    model.eval()
    # Sets, over which modules loop: their order would change from one process to the next, and the graph with it.
    model.model.unique_layer_types = sorted(model.model.unique_layer_types)
    rotary = model.model.rotary_emb
    rotary._buffers = dict(sorted(rotary._buffers.items()))  # the oldest transformers makes them from a set
    rotary.forward = MethodType(_rotations, rotary)
    inputs, dynamic, names = _example(facts, dtype)
    owners = tuple(layer.index for layer in facts.text.kv_layers)
    decoder = Decoder(model, owners, facts.placeholder_ids, facts.text.pad_token_id)
    program = export_program(decoder, inputs, dynamic, source_lines)
    outputs = ("logits", *(f"present.{i}.{part}" for i in owners for part in ("key", "value")))
    return Exported(
        part=DECODER,
        program=program,
        inputs=names,
        outputs=outputs,
        axes=_axes(facts, names),
        key=lambda path: checkpoint_key(path.removeprefix("model."), facts),
        buffers=_buffers(program, model, config),
    )


def _axes(facts: ModelFacts, inputs: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    kinds = {str(layer.index): layer.kind for layer in facts.text.kv_layers}
    past = {name: ("batch", "", PAST[kinds[name.split(".")[1]]], "") for name in inputs[2:]}
    return {**dict.fromkeys(inputs[:2], ("batch", "new")), **past}


def _rotations(
    rotary: Any, x: torch.Tensor, position_ids: torch.Tensor, layer_type: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [B, S, D] of position_ids [B, S], in x's dtype: `Gemma4TextRotaryEmbedding.forward`.

    It is written out for two reasons. Releases of transformers before 5.20 multiply in another order, with the same
    values, and one spelling gives one graph. Its no_grad decorator is left out: `torch.export` records every change
    of grad mode, and taking them out again takes an eighth of the time of an export.
    """
    frequencies = getattr(rotary, f"{layer_type}_inv_freq")
    scaling = getattr(rotary, f"{layer_type}_attention_scaling")
    half = position_ids[..., None].float() * frequencies.to(device=x.device, dtype=torch.float)
    angles = torch.cat((half, half), dim=-1)
    cosines, sines = angles.cos() * scaling, angles.sin() * scaling
    return cosines.to(dtype=x.dtype), sines.to(dtype=x.dtype)


def _example(facts: ModelFacts, dtype: torch.dtype) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[str, ...]]:
    batch, new = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("new", min=1, max=1 << 20)
    past_dims = {kind: torch.export.Dim(name, min=0, max=1 << 24) for kind, name in PAST.items()}
    lengths = dict(zip(PAST, (3, 5), strict=True))
    # Two tensors: one tensor given twice would be traced as one input.
    ids, positions = (torch.zeros(2, 4, dtype=torch.long, device="meta") for _ in range(2))
    past, past_dynamic, names = [], [], ["input_ids", "position_ids"]
    for layer in facts.text.kv_layers:
        shape = (2, layer.kv_heads, lengths[layer.kind], layer.head_dim)
        past.append(tuple(torch.empty(shape, dtype=dtype, device="meta") for _ in range(2)))
        past_dynamic.append(({0: batch, 2: past_dims[layer.kind]},) * 2)
        names += [f"past_key_values.{layer.index}.key", f"past_key_values.{layer.index}.value"]
    return (ids, positions, past), ({0: batch, 1: new}, {0: batch, 1: new}, past_dynamic), tuple(names)


def _buffers(program: torch.export.ExportedProgram, model: Any, config: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Values of the non-persistent buffers: the meta device holds none, so they are computed again on the CPU."""
    with torch.device("cpu"):
        rotary = type(model.model.rotary_emb)(config)
    values = {}
    for path in program.graph_signature.non_persistent_buffers:
        owner_path, _, name = path.removeprefix("model.").rpartition(".")
        owner = model.get_submodule(owner_path)
        if name == "embed_scale":
            value = torch.tensor(owner.scalar_embed_scale, dtype=torch.float32)
        elif owner is model.model.rotary_emb:
            value = getattr(rotary, name).float()
        else:
            raise Defect(f"the model has a buffer that no rule computes: {path}", where=type(owner).__name__)
        values[path] = value.numpy()
    return values
