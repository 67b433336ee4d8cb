"""Kernels for arm64, cross-compiled and emulated: which are chosen, and the same bits from all."""

from __future__ import annotations

import pytest

from tests.native.arm64 import build_for_arm64, emulated, need_arm64
from tests.native.building import output

# Processors that QEMU knows, with the kernels that they run; the last ones are chosen.
RUN = {
    "max": ["scalar", "neon_dotprod", "neon_i8mm"],
    "cortex-a76": ["scalar", "neon_dotprod"],
    "cortex-a53": ["scalar"],
}


@pytest.fixture(scope="session")
def arm64(shared):
    return build_for_arm64(shared)


def same_bits(arm64, built, processor, *arguments):
    """The hash of all results is that of this machine, and the kernels are those of the processor."""
    need_arm64(processor)
    first, second, *_, counts, found = emulated(processor, arm64 / "driver", *arguments).splitlines()
    assert first.split() == RUN[processor]
    assert second == f"chosen {RUN[processor][-1]}"
    assert counts.endswith(" 0 wrong")
    assert found == output(str(built / "driver"), *arguments).splitlines()[-1]


@pytest.mark.nightly
def test_all_cases_give_the_same_bits(arm64, built):
    same_bits(arm64, built, "max")


@pytest.mark.parametrize("processor", RUN)
def test_a_sample_gives_the_same_bits(arm64, built, processor):
    same_bits(arm64, built, processor, "quick")


def test_kernels_that_the_processor_lacks_are_refused(arm64):
    need_arm64("cortex-a76")
    said = emulated("cortex-a76", arm64 / "driver", "quick", G4OPS_INSTRUCTION_SET="neon_i8mm")
    assert "chosen g4ops_kernels: G4OPS_INSTRUCTION_SET names nothing that runs here" in said
