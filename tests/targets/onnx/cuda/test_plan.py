"""What `plan` says of a bundle for CUDA is what `compile` writes and a session allots, to the byte."""

import json
import math
from itertools import takewhile

import onnx
import pytest
from typer.testing import CliRunner

from g4compile.bundle.kv import kv_bytes
from g4compile.cli.app import app
from g4compile.compiler import compile
from g4compile.errors import InputError
from g4compile.model.config import load_config, model_facts
from g4compile.model.inventory import inventory
from g4compile.planning.caches import gpu_caches
from g4compile.planning.device import DEVICES, Device
from g4compile.planning.plan import plan
from g4compile.runtime.cuda.memory import caches
from g4compile.runtime.device_memory import Memory
from g4compile.targets.onnx.cuda.options import CudaOptions
from tests.conftest import VARIANTS
from tests.runtime.host_device import HostDevice
from tests.targets.onnx.cuda.conftest import CHUNK, CONTEXT


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
def test_bytes_of_weights(variant, weights, cuda_bundle, stored_narrow):
    planned = plan(stored_narrow(variant).folder, "onnx-cuda", weights=weights)
    bundle = cuda_bundle(variant, weights)
    assert planned.data_bytes == planned.gpu.load_bytes == bundle.manifest.files["weights.data"].bytes
    assert planned.recipe == bundle.manifest.recipe and planned.memory is None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
def test_bytes_of_weights_for_kernels_of_onnx_runtime(variant, weights, stored_narrow, tmp_path):
    """Norms and routers are float32 there, and constants take the places of kernels."""
    source, told = stored_narrow(variant).folder, {"weights": weights, "context": CONTEXT, "kernels": "onnxruntime"}
    planned, bundle = plan(source, "onnx-cuda", **told), compile(source, "onnx-cuda", tmp_path / "out", **told)
    assert planned.data_bytes == bundle.manifest.files["weights.data"].bytes and planned.kernels == "onnxruntime"
    assert planned.kv_bytes == gpu_caches(stored_narrow(variant).facts.text, CudaOptions(**told)).held


def test_a_decoded_token_reads_the_weights_of_the_graph(cuda_bundle, stored_narrow):
    """All that the file holds, but of the table of layers one row."""
    planned = plan(stored_narrow("tiny-e2b").folder, "onnx-cuda")
    graph = onnx.load(str(cuda_bundle("tiny-e2b").folder / "decoder.onnx"), load_external_data=False).graph
    sizes = {one.name: 2 * math.prod(one.dims) for one in graph.initializer if one.external_data}
    table = next(name for name in sizes if "embed_tokens_per_layer" in name)
    rows = model_facts(load_config("tiny-e2b")).text.per_layer_vocab_size
    found = sum(sizes.values()) - sizes[table] + sizes[table] // rows
    assert planned.decode_read_bytes - planned.decode_kv_bytes == found


@pytest.mark.parametrize("variant", VARIANTS)
def test_bytes_of_caches(variant, cuda_bundle, stored_narrow):
    """Those that a session allots."""
    manifest, text = cuda_bundle(variant).manifest, stored_narrow(variant).facts.text
    found = gpu_caches(text, CudaOptions(context=CONTEXT, chunk=CHUNK))
    memory = Memory(HostDevice(), "caches")
    caches(memory, manifest, 1)
    said = kv_bytes(manifest.kv)
    assert found.held == memory.bytes == found.token * CONTEXT + found.windows
    assert (found.token, found.windows) == (said.kv_bytes_per_token, said.kv_window_bytes)


def test_a_longer_context_costs_slots_of_full_layers():
    short, long = (plan("e2b", "onnx-cuda", context=context) for context in (4096, 8192))
    assert long.kv_bytes - short.kv_bytes == 4096 * short.kv_bytes_per_token
    assert long.gpu.kv_bytes == long.kv_bytes and long.gpu.all_bytes - short.gpu.all_bytes == 4096 * 6144
    assert plan("e2b", "onnx-cuda").context == 16384


@pytest.mark.parametrize("variant", VARIANTS)
def test_codes_of_one_op_at_a_time_become_numbers(variant, cuda_bundle, stored_narrow):
    """The most that an op asks for, of those in front of the cut behind which there are few rows."""
    plans = [plan(stored_narrow(variant).folder, "onnx-cuda", weights=weights) for weights in ("int4", "bfloat16")]
    graph = onnx.load(str(cuda_bundle(variant, "int4").folder / "decoder.onnx"), load_external_data=False).graph
    scratch = {"NormProduct": "* o3 ", "Product": "* o1 "}
    sizes = [
        line.decode().removeprefix(scratch[node.op_type]).split(" ")
        for node in takewhile(lambda node: node.op_type != "GatherND", graph.node) if node.op_type in scratch
        for attribute in node.attribute if attribute.name == "sizes"
        for line in attribute.strings if line.decode().startswith(scratch[node.op_type])
    ]  # fmt: skip
    most = max(2 * math.prod(map(int, one)) for one in sizes)
    assert plans[0].gpu.activation_bytes - plans[1].gpu.activation_bytes == most


def test_speeds_follow_from_the_figures_of_the_gpu():
    planned, device = plan("e2b", "onnx-cuda"), DEVICES["h100"]
    assert planned.device is device and planned.speeds_from == "device"
    assert planned.decode_tokens_per_second == pytest.approx(device.bandwidth / planned.decode_read_bytes, rel=1e-4)
    products = device.operations / planned.prefill_operations
    assert planned.prefill_tokens_per_second == pytest.approx(products, rel=1e-4)


def test_a_prompt_reads_all_experts_once_a_run():
    """Where that takes longer than the products."""
    slow = Device("slow memory", 1e11, 1e15, gpu=True)
    planned = plan("26b-a4b", "onnx-cuda", device=slow)
    before = [weight for weight in inventory(model_facts(load_config("26b-a4b")).text) if not weight.tail]
    read = sum(2 * weight.elements for weight in before)
    assert planned.prefill_tokens_per_second == pytest.approx(2048 * slow.bandwidth / read, rel=1e-3)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("onnx-cuda", {"device": DEVICES["laptop"]}, "laptop is no GPU"),
        ("onnx-cpu", {"device": DEVICES["h100"]}, "h100 is a GPU"),
        ("onnx-cuda", {"kernels": "g4ops"}, "there are no kernels g4ops for CUDA"),
        ("onnx-cuda", {"weights": "float32"}, "onnx-cuda takes no float32 weights"),
        ("onnx-cuda", {"kv": "float32"}, "onnx-cuda has no KV cache of float32"),
    ],
)
def test_what_is_refused(target, options, message):
    with pytest.raises(InputError, match=message):
        plan("tiny-e2b", target, **options)


def test_the_verb():
    command = ["plan", "e2b", "--target", "onnx-cuda", "--weights", "int4", "--device", "l4"]
    shown = CliRunner().invoke(app, command).stdout
    for text in ("GPU memory once loaded", "in a run of 2,048 tokens", "l4: 300.0 GB/s", "decode, by reads"):
        assert text in shown
    assert json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["gpu"]["chunk"] == 2048
