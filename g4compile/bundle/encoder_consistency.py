"""What the fields of an engine bundle say of its encoders: one graph each, and profiles that hold every size."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.bundle.faults import Faults, repeated
from g4compile.bundle.manifest import AUDIO, VISION, EngineEncoder, EngineSpec, GraphSpec, Manifest
from g4compile.bundle.media import BUDGETS, FRAMES, MediaSpec, MelSpec, sound_tokens

_Range = tuple[int, int, int]  # least, usual and most


@dataclass(frozen=True)
class _Sizes:
    """What an encoder takes: items of up to ``most`` tokens, each of ``each`` of what the dynamic size ``inner``
    counts; the last token of a sound may have fewer, so that the ``least`` number of a token is 1."""

    most: int
    inner: str
    each: int
    least: int

    def of(self, tokens: _Range) -> _Range:
        """As many as ``tokens`` have."""
        first, usual, most = tokens
        return self.each * (first - 1) + self.least, self.each * usual, self.each * most


def encoder_faults(manifest: Manifest, engine: EngineSpec) -> Faults:
    """The contradictions of `engine.encoders`, and of `media` and `graphs` about them."""
    for part in repeated(encoder.part for encoder in engine.encoders):
        yield f"engine.encoders has the part {part} twice", ""
    for encoder in engine.encoders:
        graph = next((graph for graph in manifest.graphs.values() if graph.part == encoder.part), None)
        sizes = None if manifest.media is None else _sizes(encoder.part, manifest.media)
        if graph is not None and sizes is not None:
            yield from _profile_faults(encoder, graph, sizes)


def _sizes(part: str, media: MediaSpec) -> _Sizes | None:
    if part == VISION and media.image is not None:
        pool: int = media.image.pooling_kernel_size**2
        return _Sizes(BUDGETS[-1], "patches", pool, pool)
    if part == AUDIO and media.audio is not None:
        longest = sound_tokens(media.audio, media.audio.max_samples)
        return _Sizes(longest, "frames", FRAMES if isinstance(media.audio, MelSpec) else 1, 1)
    return None


def _profile_faults(encoder: EngineEncoder, graph: GraphSpec, sizes: _Sizes) -> Faults:
    """Profiles are taken by tokens, in ascending order, up to the most without a gap."""
    named = {size for tensor in (*graph.inputs, *graph.outputs) for size in tensor.shape if isinstance(size, str)}
    before = 0
    if not encoder.profiles:
        yield f"engine.encoders has no profile of the part {encoder.part}", "it runs nothing then"
        return
    for profile in encoder.profiles:
        said = f"a profile of the part {encoder.part} has {', '.join(f'{k} {list(v)}' for k, v in profile.items())}"
        if set(profile) != named or not {"tokens"} <= named <= {"tokens", sizes.inner}:
            yield said, f"the dynamic sizes of its graph are {', '.join(sorted(named))}, of tokens and {sizes.inner}"
            return
        least, usual, most = profile["tokens"]
        if not before + 1 == least <= usual <= most <= sizes.most:
            yield said, f"least, usual and most ascend, from profile to profile too, up to {sizes.most:,} tokens"
        if profile.get(sizes.inner, sizes.of((least, usual, most))) != sizes.of((least, usual, most)):
            yield said, f"a token is {sizes.each} {sizes.inner}"
        before = most
    if before != sizes.most:
        yield f"profiles of the part {encoder.part} end at {before:,} tokens", f"there are items of {sizes.most:,}"
