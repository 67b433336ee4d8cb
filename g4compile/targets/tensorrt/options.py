"""What a compile of engines is told, and what follows from it: capacities, and the share of a rank."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.errors import InputError
from g4compile.model.config import TextFacts
from g4compile.targets.base import Options
from g4compile.targets.tensorrt.attention_forms import FORMS
from g4compile.targets.tensorrt.steps import Capacities

IMAGE, AUDIO = "image", "audio"  # modalities
BFLOAT16 = "bfloat16"  # what activations and caches are in, and weights unless they are codes


@dataclass(frozen=True)
class EngineOptions(Options):
    """``batch`` sequences at most, ``chunk`` tokens per prefill step, the GPUs that the engines are for, as compute
    capabilities (89 for 8.9), over how many ranks a model is split, and whether the checkpoint's files that the engines
    read stand in the bundle too. ``attention``: the one of `FORMS` that is built, or refused; None for the first that
    the builder takes."""

    weights: str = BFLOAT16
    kv: str = BFLOAT16
    batch: int = 1
    chunk: int = 128
    compute_capabilities: tuple[int, ...] = ()
    tensor_parallel: int = 1
    self_contained: bool = False
    attention: str | None = None

    @property
    def attention_forms(self) -> tuple[str, ...]:
        """Those to try, in this order."""
        return FORMS if self.attention is None else (self.attention,)

    def check_attention(self) -> None:
        """Raise InputError for a form of attention that there is not."""
        if self.attention is not None and self.attention not in FORMS:
            raise InputError(
                f"there is no attention {self.attention} in engines", fix=f"--attention {', '.join(FORMS)}"
            )

    @property
    def capacities(self) -> Capacities:
        return Capacities(self.context, self.batch, self.chunk, IMAGE in self.modalities)


def check_split(facts: TextFacts, options: EngineOptions) -> None:
    """Raise InputError when a model cannot be shared out to the ranks that were asked for."""
    ranks = options.tensor_parallel
    if ranks == 1:
        return
    for modality, items in ((IMAGE, "images"), (AUDIO, "sounds")):
        if modality in options.modalities:
            raise InputError(
                f"{items} are not compiled for {ranks} ranks by this version", fix="--modalities text, or one rank"
            )
    if not 2 <= ranks <= 16:
        raise InputError(f"a model cannot be split over {ranks} ranks", fix="--tensor-parallel between 1 and 16")
    if options.weights != BFLOAT16:
        raise InputError(
            f"{options.weights} weights are not split over ranks by this version", fix="--weights bfloat16"
        )
    sizes = {"query heads": facts.heads, "columns of an MLP": min(layer.intermediate_size for layer in facts.layers)}
    if facts.moe is not None:
        sizes["columns of an expert"] = facts.moe.intermediate_size
    uneven = {name: size for name, size in sizes.items() if size % ranks}
    uneven |= {
        f"KV heads of layer {layer.index}": layer.kv_heads
        for layer in facts.kv_layers
        if layer.kv_heads % ranks and ranks % layer.kv_heads
    }
    for name, size in uneven.items():
        raise InputError(
            f"{size} {name} cannot be shared out to {ranks} ranks", fix="--tensor-parallel 2, or another divisor"
        )
