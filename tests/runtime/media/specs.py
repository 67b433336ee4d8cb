"""Records of the published models, and of a tiny one."""

from g4compile.bundle.media import MelSpec, PatchSpec, VideoSpec, WaveSpec

TOWER = PatchSpec(patch_size=16, pooling_kernel_size=3, max_soft_tokens=280, positions=10_240)  # E2B, E4B, 26B, 31B
UNIFIED = PatchSpec(patch_size=48, pooling_kernel_size=1, max_soft_tokens=280, positions=1120)  # 12B
MEL = MelSpec(16_000, 320, 160, 512, 128, 0.0, 8000.0, 1e-3, max_samples=480_000)  # E2B, E4B
WAVE = WaveSpec(16_000, audio_samples_per_token=640, max_samples=480_000)  # 12B
VIDEO = VideoSpec(32, PatchSpec(16, 3, 70, 10_240))
UNIFIED_VIDEO = VideoSpec(32, PatchSpec(48, 1, 70, 1120))
