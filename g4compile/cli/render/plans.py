"""A plan as a table."""

from __future__ import annotations

from g4compile.cli.render.installs import kernels_row
from g4compile.cli.render.sizes import kv_size, size
from g4compile.cli.render.tables import table
from g4compile.planning.encoders import EncoderPlan
from g4compile.planning.engines import TENSORRT
from g4compile.planning.gpu import GpuMemory
from g4compile.planning.memory import Memory
from g4compile.planning.plan import Plan
from g4compile.planning.product_rates import ROWS
from g4compile.planning.speeds import OF_DEVICE
from g4compile.targets.onnx.cuda.options import G4CUDA


def show_plan(source: str, made: Plan) -> None:
    """Print ``made``, and the rules of its recipe below."""
    device = made.device
    rows = {
        "parameters": f"{made.parameters / 1e9:.3f} billion",
        **{name.replace("_", " "): size(count) for name, count in made.bytes_by_part.items() if count},
        **_stored(made),
        **({"kernels": _kernels(made)} if made.weights != "float32" else {}),
        "KV": f"{made.kv}: {kv_size(made.kv_bytes_per_token, made.kv_window_bytes)}",
        f"KV at {made.context:,} tokens": size(made.kv_bytes),
        **(_memory(made.memory) if made.memory is not None else {}),
        **(_gpu(made.gpu) if made.gpu is not None else {}),
        "a decoded token": f"reads {size(made.decode_read_bytes)}, {made.decode_operations / 1e9:.2f} G operations",
        "a prefilled token": f"{made.prefill_operations / 1e9:.2f} G operations",
        **{f"{modality} encoder": _encoder(encoder, modality) for modality, encoder in made.encoders.items()},
        "device": f"{device.name}: {device.bandwidth / 1e9:.1f} GB/s, {device.operations / 1e9:,.0f} G operations/s",
        **_speeds(made),
        **({"recipe": ""} if made.recipe else {}),
    }
    table(f"{source} for {made.target}, {made.weights} weights", rows)
    for rule in made.recipe:
        print(f"    {rule}")


def _stored(made: Plan) -> dict[str, str]:
    if made.kernels == TENSORRT:
        tables = f"{size(made.mapped_table_bytes)}, read by row in the checkpoint's files"
        return {"on the device": f"{size(made.data_bytes)} of weights", "tables on the host": tables}
    return {"data file": f"{size(made.data_bytes)}, {size(made.mapped_table_bytes)} of it tables read by row"}


def _kernels(made: Plan) -> str:
    if made.kernels == TENSORRT:
        return "TensorRT's own, and with full TensorRT some of g4compile"
    if made.gpu is None:
        return kernels_row(made.kernels)
    return "those of libg4cuda" if made.kernels == G4CUDA else "ONNX Runtime's own"


def _memory(made: Memory) -> dict[str, str]:
    steady = f"{size(made.steady_bytes)}; with a cache {size(made.cached_steady_bytes)}"
    return {
        "memory to compile": f"about {size(made.compile_peak_bytes)}",
        "memory once loaded": f"{size(made.load_bytes)}; with a cache {size(made.cached_load_bytes)}",
        f"after {made.prompt:,} tokens": f"{steady}, {size(made.cached_anonymous_bytes)} of it anonymous "
        f"({size(made.embedded_anonymous_bytes)} in a program in C)",
    }


def _gpu(made: GpuMemory) -> dict[str, str]:
    return {
        "GPU memory once loaded": size(made.load_bytes),
        f"in a run of {made.chunk:,} tokens": f"about {size(made.all_bytes)}, KV of one sequence in it",
    }


def _encoder(made: EncoderPlan, modality: str) -> str:
    """What a modality costs, and what leaves it out is an option of `compile`."""
    one = f"{made.operations / 1e9:,.1f} G operations for {made.tokens} tokens"
    return f"{size(made.bytes)}, {one}; --modalities without {modality} leaves it out"


def _speeds(made: Plan) -> dict[str, str]:
    """Figures of a device are no estimate of a runtime, and no bound either: codes may be multiplied faster than
    float32. The rows say what the speeds follow from."""
    decode, prefill = f"{made.decode_tokens_per_second:,.1f}", f"{made.prefill_tokens_per_second:,.1f}"
    if made.gpu is not None:
        return {
            "decode, by reads": f"{decode} tokens/s at the bandwidth of the device",
            "prefill": f"{prefill} tokens/s, by products, or by reads where those take longer",
        }
    if made.speeds_from == OF_DEVICE:
        return {
            "decode, by reads": f"{decode} tokens/s at the bandwidth of the device",
            "prefill, by products": f"{prefill} tokens/s at the operations of the device",
        }
    reads = _range([rate.read for rate in made.device.products], "GB/s with one row")
    products = _range([rate.operations for rate in made.device.products], f"G operations/s with {ROWS}")
    return {
        "products of libg4ops": f"{reads}, {products}",
        "decode, estimated": f"{decode} tokens/s at these rates, by format",
        "prefill, estimated": f"{prefill} tokens/s at these rates, by format",
    }


def _range(rates: list[float], unit: str) -> str:
    return f"{min(rates) / 1e9:,.1f} to {max(rates) / 1e9:,.1f} {unit}"
