"""Speeds of a plan: at the figures of a device, or at the rates that the products of libg4ops reached on it."""

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.errors import MachineError
from g4compile.planning import device as devices
from g4compile.planning import product_rates
from g4compile.planning.device import Device, measure_device
from g4compile.planning.plan import plan
from g4compile.planning.product_rates import ProductRate
from g4compile.weights.formats.blocks import BFLOAT16, BITS, BLOCKS, BlockFormat
from tests.native import reference

FORMATS = [(bits, block) for bits in BITS for block in (0, *BLOCKS)]
PLAIN = Device("a machine", 20e9, 200e9)


def rates(read=20e9, operations=200e9, **changes):
    """Of all formats; ``changes``: of one, by `int4_128`."""
    found = []
    for bits, block in FORMATS:
        own = changes.get(f"int{bits}_{block}", (read, operations))
        found.append(ProductRate(bits, block, *own))
    return msgspec.structs.replace(PLAIN, products=tuple(found))


@pytest.fixture
def small(monkeypatch):
    """Sizes that take no time."""
    for module, name, value in (
        (devices, "_BYTES", 1 << 20),
        (devices, "_SIZE", 64),
        (product_rates, "_BYTES", 1 << 19),
        (product_rates, "_COLUMNS", 256),
        (product_rates, "_CHANNELS", 96),
    ):
        monkeypatch.setattr(module, name, value)


def test_products_are_measured_where_the_library_is(small, g4ops):
    found = measure_device(threads=2, repeats=1)
    assert [(rate.bits, rate.block) for rate in found.products] == FORMATS
    assert all(np.isfinite([rate.read, rate.operations]).all() for rate in found.products)
    assert min(min(rate.read, rate.operations) for rate in found.products) > 0


def test_no_products_are_measured_without_it(small):
    found = measure_device(threads=1, repeats=1)
    assert found.products == () and min(found.bandwidth, found.operations) > 0


@pytest.mark.parametrize(("bits", "block"), FORMATS)
def test_what_is_timed_is_the_product(bits, block, small, g4ops):
    """The same bits as the reference: sizes, codes and scales are handed over as the library reads them."""
    random = np.random.default_rng(bits + block)
    matrix = reference.random_matrix(random, 96, 256, bits, block, False)
    x = random.standard_normal((7, 256)).astype(np.float32)
    y = np.empty((7, 96), np.float32)
    products = product_rates._Products(g4ops, threads=2)
    format = BlockFormat(bits, block, scales=BFLOAT16)
    products.run(format, matrix.panels(), matrix.stored_scales(), products.packed(x), y)
    products.close()
    np.testing.assert_array_equal(y, reference.product(reference.quantize(x), matrix))


def test_a_product_that_fails_is_an_error(small, g4ops):
    with pytest.raises(MachineError, match="libg4ops failed") as failed:
        product_rates.product_rates(g4ops, threads=0)
    assert "threads is 0" in failed.value.why


def test_rates_are_those_of_the_bundles_kernels_alone():
    """Without rates, and for ONNX Runtime's kernels with them: the figures of the device."""
    fast = rates(40e9, 400e9)
    for kernels, device in (("g4ops", PLAIN), ("onnxruntime", PLAIN), ("onnxruntime", fast)):
        planned = plan("e2b", weights="int4", kernels=kernels, device=device)
        assert planned.speeds_from == "device"
        assert planned.decode_tokens_per_second == round(20e9 / planned.decode_read_bytes, 2)
        assert planned.prefill_tokens_per_second == round(200e9 / planned.prefill_operations, 2)
    assert plan("e2b", weights="int4", kernels="g4ops", device=fast).speeds_from == "products"


def test_rates_like_the_device_change_nothing():
    given = {"weights": "mobile", "kernels": "g4ops"}
    same, plain = plan("e2b", device=rates(), **given), plan("e2b", device=PLAIN, **given)
    assert same.decode_tokens_per_second == plain.decode_tokens_per_second
    assert same.prefill_tokens_per_second == plain.prefill_tokens_per_second


def test_each_format_has_its_own_rate():
    """A recipe of 4 bits, and of 8 for the per-layer inputs: rates of other formats do not matter."""
    given = {"weights": "int4", "kernels": "g4ops", "context": 64}
    whole = plan("e2b", device=rates(), **given)
    slow = plan("e2b", device=rates(int4_128=(10e9, 100e9)), **given)
    other = plan("e2b", device=rates(int2_0=(1e9, 1e9), int4_0=(1e9, 1e9), int4_32=(1e9, 1e9)), **given)
    for one in ("decode_tokens_per_second", "prefill_tokens_per_second"):
        assert getattr(whole, one) / 2 < getattr(slow, one) < 0.7 * getattr(whole, one)
        assert getattr(other, one) == getattr(whole, one)


def test_what_was_not_measured_is_at_the_figures_of_the_device(tmp_path):
    """Caches, lookups and norms; products with exact activations."""
    endless = rates(1e30, 1e30)
    short, long = (plan("e2b", weights="int4", kernels="g4ops", context=c, device=endless) for c in (1024, 4096))
    more = 1 / long.decode_tokens_per_second - 1 / short.decode_tokens_per_second
    assert more == pytest.approx((long.decode_kv_bytes - short.decode_kv_bytes) / 20e9, rel=0.01)
    recipe = tmp_path / "exact.txt"
    recipe.write_text("* int4 128 symmetric float32 nearest\n")
    found = plan("e2b", weights=str(recipe), kernels="g4ops", device=endless)
    assert found.decode_tokens_per_second == round(20e9 / found.decode_read_bytes, 2)


@pytest.mark.parametrize(
    ("kernels", "words"),
    [
        (
            "g4ops",
            ["decode, estimated", "prefill, estimated", "products of libg4ops", "40.0 to 40.0 GB/s with one row"],
        ),
        ("onnxruntime", ["decode, by reads", "prefill, by products"]),
    ],
)
def test_the_table_says_what_speeds_follow_from(kernels, words, monkeypatch):
    monkeypatch.setattr(devices, "measure_device", lambda: rates(40e9, 400e9))
    arguments = ["plan", "e2b", "--target", "onnx-cpu", "--weights", "int4", "--kernels", kernels, "--measure-device"]
    shown = CliRunner().invoke(app, arguments).stdout
    assert all(word in shown for word in words) and "at most" not in shown
    assert ("estimated" in shown) == (kernels == "g4ops")
