"""Which of a bundle's compiled kernels a GPU runs."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import pytest

from g4compile.errors import BundleError, MachineError
from g4compile.runtime.cuda.kernels import kernels_for
from g4compile.runtime.device import Gpu

KB = 1024


def gpu(major, minor, shared=227):
    return Gpu("a GPU", (major, minor), shared * KB, 1 << 30)


def record(name, target, shared=0, **fields):
    stem = f"{name}.{target}.{shared}"
    number = int("".join(character for character in target if character.isdigit()))
    return {
        **{
            "name": name,
            "target": target,
            "sm": number,
            "entry": f"entry_{stem}",
            "threads": 128,
            "shared": shared * KB,
        },
        **{"dependent": True, "grid": ["a0", "1", "a1*2/3"], "cubin": f"{stem}.cubin", "ptx": f"{stem}.ptx", **fields},
    }


@pytest.fixture
def bundle(tmp_path):
    def made(*records, **fields):
        files = {}
        for one in records:
            for kind in ("cubin", "ptx"):
                (tmp_path / one[kind]).write_bytes(f"{kind} of {one['entry']}".encode())
                files[one[kind]] = None
        file = tmp_path / "kernels.json"
        file.write_text(json.dumps({"format": 2, "kernels": records, **fields}))
        return SimpleNamespace(folder=tmp_path, manifest=SimpleNamespace(files=files))

    return made


def chosen(bundle, gpu):
    return {one.name: one.image.decode() for one in kernels_for(bundle, "kernels.json", gpu)}


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (gpu(8, 0), "cubin of entry_one.sm_80.160"),
        (gpu(8, 6, 99), "cubin of entry_one.sm_80.48"),
        (gpu(8, 9, 99), "cubin of entry_one.sm_89.99"),
        (gpu(9, 0), "cubin of entry_one.sm_90a.200"),
        (gpu(10, 0), "cubin of entry_one.sm_100a.200"),
    ],
)
def test_machine_code_of_the_gpu_s_own_family(bundle, device, expected):
    """Of the newest target; of that the first whose shared memory the GPU gives."""
    made = bundle(
        record("one", "sm_80", 160),
        record("one", "sm_80", 48),
        record("one", "sm_89", 99),
        record("one", "sm_90a", 200),
        record("one", "sm_90a", 48),
        record("one", "sm_100a", 200),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen(made, device) == {"one": expected}


@pytest.mark.parametrize("device", [gpu(12, 0, 99), gpu(10, 3), gpu(9, 1)])
def test_ptx_where_there_is_none_and_that_is_said(bundle, device):
    """Of a target with a letter, neither runs on another GPU."""
    made = bundle(record("one", "sm_80", 48), record("one", "sm_90a", 48), record("two", "sm_80", 48))
    with pytest.warns(UserWarning, match=f"compiles 2 kernels now, for the GPU's sm_{device.sm}.*--sm {device.sm}"):
        found = chosen(made, device)
    assert found == {"one": "ptx of entry_one.sm_80.48\0", "two": "ptx of entry_two.sm_80.48\0"}


def test_a_kernel_is_what_its_record_says(bundle):
    (found,) = kernels_for(bundle(record("one", "sm_90a", 99)), "kernels.json", gpu(9, 0))
    assert (found.name, found.entry, found.threads, found.shared) == ("one", "entry_one.sm_90a.99", 128, 99 * KB)
    assert found.dependent is True and found.grid == ("a0", "1", "a1*2/3")


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (gpu(7, 5, 64), "its kernels are for sm_80, sm_90a"),
        (gpu(8, 6, 40), "40,960 bytes of shared memory: not one"),
    ],
)
def test_no_kernel_for_this_gpu(bundle, device, why):
    made = bundle(record("one", "sm_80", 48), record("two", "sm_80", 8), record("two", "sm_90a", 8))
    with pytest.raises(MachineError, match=rf"no kernels for the GPU a GPU, sm_{device.sm}") as raised:
        kernels_for(made, "kernels.json", device)
    assert why in raised.value.why and f"compile with --sm {device.sm}, or the nearest of" in raised.value.fix


def test_records_that_are_not_as_said(bundle):
    with pytest.raises(MachineError, match="no kernels for the GPU"):
        kernels_for(bundle(), "kernels.json", gpu(9, 0))
    for made, why in (
        (lambda: bundle(format=1), "its format is 1, and 2 is what"),
        (lambda: bundle(kernels=7), "array"),
        (lambda: bundle(kernels=[[[]] * 9], deep=json.loads("[" * 99 + "]" * 99)), "nested"),
        (lambda: bundle(record("one", "sm_80", threads="many")), r"kernels\[0\]\.threads"),
    ):
        with pytest.raises(BundleError, match=why):
            kernels_for(made(), "kernels.json", gpu(9, 0))
    unlisted = bundle(record("one", "sm_80"))
    unlisted.manifest.files.pop("one.sm_80.0.ptx")
    with pytest.raises(BundleError, match=r"does not list 'one\.sm_80\.0\.ptx'"):
        kernels_for(unlisted, "kernels.json", gpu(9, 0))
    with pytest.raises(BundleError, match="kernels"):
        kernels_for(unlisted, "other.json", gpu(9, 0))
