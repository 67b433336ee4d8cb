"""Device profiles: what a model's speed depends on, and how to measure it on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec
import numpy as np

from g4compile.errors import InputError
from g4compile.planning.product_rates import ProductRate, product_rates
from g4compile.runtime.native import find_library


class Device(msgspec.Struct, frozen=True):
    """``bandwidth``: bytes per second of a long read. ``operations``: per second in float32, or in bfloat16 of a
    ``gpu``; a multiply-add counts as two. ``products``: what those of libg4ops reached; none where they were not
    measured."""

    name: str
    bandwidth: float
    operations: float
    products: tuple[ProductRate, ...] = ()
    gpu: bool = False


# Round figures for planning without the machine; `--measure-device` takes this one's. Of GPUs those of NVIDIA's data
# sheets: dense products of bfloat16, summed in float32.
DEVICES = {
    device.name: device
    for device in (
        Device("laptop", 60e9, 1.0e12),
        Device("phone", 40e9, 0.5e12),
        Device("server-2-cores", 40e9, 0.3e12),
        Device("l4", 300e9, 121e12, gpu=True),
        Device("rtx-4090", 1008e9, 165e12, gpu=True),
        Device("a100", 2039e9, 312e12, gpu=True),
        Device("h100", 3350e9, 989e12, gpu=True),
        Device("h200", 4800e9, 989e12, gpu=True),
        Device("b200", 8000e9, 2250e12, gpu=True),
    )
}
_BYTES = 512 << 20
_SIZE = 1024


def device_named(name: str) -> Device:
    """The profile called ``name``. Raises InputError."""
    if name not in DEVICES:
        raise InputError(f"there is no device {name}", fix=f"devices: {', '.join(DEVICES)}, or --measure-device")
    return DEVICES[name]


def measure_device(threads: int = 2, repeats: int = 5) -> Device:
    """Read bandwidth and float32 matrix operations of this machine, and the rates of the products of libg4ops where
    that is installed.

    The bandwidth is that of finding the largest of 512 MiB of numbers by ``threads`` threads. Raises MachineError for
    a library that is here and cannot be used.
    """
    from concurrent.futures import ThreadPoolExecutor

    parts = np.array_split(np.ones(_BYTES // 8), threads)
    with ThreadPoolExecutor(threads) as pool:
        read = _median(lambda: list(pool.map(np.max, parts)), repeats)
    matrix = np.ones((_SIZE, _SIZE), np.float32)
    product = _median(lambda: matrix @ matrix, repeats)
    library = find_library()
    rates = () if library is None else product_rates(library.file, threads)
    return Device("this machine", _BYTES / read, 2 * _SIZE**3 / product, rates)


def _median(run: Callable[[], object], repeats: int) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
