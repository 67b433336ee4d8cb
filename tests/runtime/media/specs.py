"""Records of the published models, and of a tiny one."""

from g4compile.bundle.media import PatchSpec

TOWER = PatchSpec(patch_size=16, pooling_kernel_size=3, max_soft_tokens=280, positions=10_240)  # E2B, E4B, 26B, 31B
UNIFIED = PatchSpec(patch_size=48, pooling_kernel_size=1, max_soft_tokens=280, positions=1120)  # 12B
