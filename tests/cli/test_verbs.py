"""Every verb by hand: what it prints for people, and the keys of its JSON."""

import json
import subprocess
import sys
import time

import pytest
from PIL import Image
from typer.testing import CliRunner

import g4compile
from g4compile.cli.app import VERBS, app
from tests.audio import wav
from tests.runtime.media.clips import clip
from tests.vision import picture, png


def g4(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def as_json(*arguments):
    result = g4(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    return json.loads(result.stdout)


def test_smoke(tmp_path):
    """A two-layer model is written, compiled and generates."""
    config = tmp_path / "config.json"
    geometry = g4compile.model.presets.config("tiny-31b")
    geometry["text_config"].update(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"])
    config.write_text(json.dumps(geometry))
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    assert "checkpoint" in g4("synth", config, "-o", checkpoint).stdout
    assert "onnx-cpu" in g4("compile", checkpoint, "--target", "onnx-cpu", "-o", bundle).stdout
    made = as_json("run", bundle, "--prompt", "What is it?", "--max-new-tokens", 8)
    assert 1 <= len(made["token_ids"]) <= 8 and made["time_to_first_token_s"] > 0
    again = g4("run", bundle, "--prompt", "What is it?", "--max-new-tokens", 8)
    assert again.stdout.rstrip("\n") == made["text"].rstrip("\n")


def test_keys_and_values_in_bfloat16(g4ops, checkpoints, tmp_path):
    """Asked for by one option: what is planned is compiled, shown and run."""
    folder, out = checkpoints("tiny-31b").folder, tmp_path / "bundle"
    options = ["--target", "onnx-cpu", "--weights", "int4", "--kv", "bfloat16"]
    made, planned = as_json("compile", folder, *options, "-o", out), as_json("plan", folder, *options)
    assert made["kv"] == planned["kv"] == "bfloat16" and made["kernels"] == planned["kernels"] == "g4ops"
    for field in ("kv_bytes_per_token", "kv_window_bytes"):
        assert made[field] == planned[field] > 0
    shown = g4("inspect", out).stdout
    assert "KV " in shown and " bfloat16, " in shown and "bfloat16-kv" in shown
    assert 1 <= len(as_json("run", out, "--ids", "2,5,6", "--max-new-tokens", 5)["token_ids"]) <= 5


def test_run_with_ids_prints_ids(bundles):
    folder = bundles("tiny-e2b").folder
    made = as_json("run", folder, "--ids", "2,5,6", "--max-new-tokens", 5)
    assert made["text"] is None and made["prompt_tokens"] == 3
    printed = g4("run", folder, "--ids", "2,5,6", "--max-new-tokens", 5).stdout.strip().strip(",")
    assert [int(part) for part in printed.split(",")] == made["token_ids"]


def test_run_samples_with_a_seed(bundles):
    options = ["--ids", "2,5,6", "--max-new-tokens", 12, "--temperature", 1, "--top-k", 40, "--top-p", 0.9]
    draws = [as_json("run", bundles("tiny-e2b").folder, *options, "--seed", seed)["token_ids"] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_bench(bundles):
    found = as_json("bench", bundles("tiny-e2b").folder, "--prompt-tokens", 16, "--new-tokens", 4, "--threads", 1)
    assert found["threads"] == 1 and found["repeats"] >= 5
    for key in (
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
        "time_to_first_token_s",
        "load_s",
        "resident_bytes",
        "anonymous_bytes",
        "kv_bytes",
    ):
        assert found[key] > 0, key
    assert "tokens/s" in g4("bench", bundles("tiny-e2b").folder, "--prompt-tokens", 16, "--new-tokens", 4).stdout


def test_bench_times_encoders(hearing, bundles):
    found = as_json("bench", hearing("tiny-12b").folder, "--prompt-tokens", 4, "--new-tokens", 1, "--repeats", 1)
    assert found["encoders"]["image"]["tokens"] == 256 and found["encoders"]["audio"]["tokens"] == 750
    assert all(one["seconds"] > 0 for one in found["encoders"].values())
    options = "--prompt-tokens", 4, "--new-tokens", 1, "--repeats", 1
    assert "s for 256 tokens" in g4("bench", hearing("tiny-12b").folder, *options).stdout
    assert as_json("bench", bundles("tiny-e2b").folder, *options)["encoders"] == {}


def test_kv_bytes_are_one_number_everywhere(bundles, checkpoints, tmp_path):
    """`plan`, `compile` and `inspect` name the same two parts, by the same keys and in the same words."""
    checkpoint, bundle = checkpoints("tiny-e2b").folder, tmp_path / "bundle"
    made = as_json("compile", checkpoint, "--target", "onnx-cpu", "-o", bundle)
    found = as_json("inspect", bundle)
    planned = as_json("plan", checkpoint, "--target", "onnx-cpu")
    for key in ("kv_bytes_per_token", "kv_window_bytes"):
        assert made[key] == found[key] == planned[key] > 0
    layers = found["parts"]["decoder"]["kv"]["layers"]
    assert made["kv_bytes_per_token"] == sum(layer["bytes_per_token"] for layer in layers if layer["keep"] is None)
    shown = [
        g4("inspect", bundle).stdout,
        g4("plan", checkpoint, "--target", "onnx-cpu").stdout,
        g4("compile", checkpoint, "--target", "onnx-cpu", "-o", bundle, "--force").stdout,
    ]
    for text in shown:
        assert "per token in full layers" in text and "fixed for windows" in text


def test_a_compile_names_what_it_leaves_out(tmp_path):
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    g4("synth", "tiny-e2b", "-o", checkpoint)
    options = "--target", "onnx-cpu", "--modalities", "text", "-o", bundle
    shown = g4("compile", checkpoint, *options)
    assert "image, audio: in the checkpoint, not in the bundle" in shown.stdout
    made = as_json("compile", checkpoint, *options, "--force")
    assert made["left_out_modalities"] == ["image", "audio"] and made["modalities"] == ["text"]
    assert made["modality_bytes"] == {}


def test_a_compile_says_what_each_modality_costs(checkpoints, tmp_path):
    """All that the checkpoint has is taken in, where nothing is said."""
    checkpoint, bundle = checkpoints("tiny-e2b").folder, tmp_path / "bundle"
    shown = g4("compile", checkpoint, "--target", "onnx-cpu", "-o", bundle).stdout
    assert "text, image, audio" in shown
    assert "of it; without: --modalities text,audio" in shown and "of it; without: --modalities text,image" in shown
    less = as_json("compile", checkpoint, "--target", "onnx-cpu", "-o", bundle, "--force", "--modalities", "text,audio")
    planned = as_json("plan", checkpoint, "--target", "onnx-cpu")["encoders"]
    assert less["left_out_modalities"] == ["image"] and list(less["modality_bytes"]) == ["audio"]
    assert 0.8 * planned["audio"]["bytes"] < less["modality_bytes"]["audio"] <= planned["audio"]["bytes"]


def test_inspect_a_bundle_and_a_graph(bundles, checkpoints):
    found = as_json("inspect", bundles("tiny-e2b").folder)
    assert found["target"] == "onnx-cpu"
    shown = g4("inspect", checkpoints("tiny-e2b").folder, "--graph", "fused")
    assert shown.exit_code == 0 and "g4.DualRopeAttention" in shown.stdout
    assert 'location": "model.language_model.embed_tokens.weight"' in shown.stdout


def test_a_stage_that_does_not_exist(checkpoints):
    result = g4("inspect", checkpoints("tiny-e2b").folder, "--graph", "molten")
    assert result.exit_code == 2 and "molten" in result.output and "scheduled" in result.output


def test_dump_dir_and_debug_show_every_pass(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("G4_DEBUG", "1")
    source, dumps = checkpoints("tiny-31b").folder, tmp_path / "dumps"
    result = g4("compile", source, "--target", "onnx-cpu", "-o", tmp_path / "out", "--dump-dir", dumps)
    assert result.exit_code == 0, result.output
    names = sorted(file.name for file in dumps.iterdir())
    assert names[0] == "01-canonicalize-constants.onnxtxt" and any("fuse-dual-rope-attention" in name for name in names)
    for name in ("fuse-dual-rope-attention", "legalize"):
        assert f" {name} " in result.stderr
    last = g4("opt", dumps / names[0], "-p", "canonicalize-rms-norm")
    assert last.exit_code == 0 and "g4.RMSNorm" in last.stdout


def test_a_defect_of_ours_is_exit_70_with_a_file_to_report(monkeypatch, bundles):
    def broken(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("g4compile.runtime.session.load", broken)
    result = g4("run", bundles("tiny-e2b").folder, "--ids", "2")
    assert result.exit_code == 70 and "unexpected RuntimeError: a bug" in result.stderr
    assert "please report it" in result.stderr and "Traceback" not in result.output


def test_a_missing_package_is_exit_3(monkeypatch, bundles, tmp_path):
    missing = 'raise ModuleNotFoundError("No module named \'tokenizers\'", name="tokenizers")'
    (tmp_path / "tokenizers.py").write_text(missing)
    monkeypatch.syspath_prepend(tmp_path)  # where the process of the tokenizer looks too
    result = g4("run", bundles("tiny-e2b").folder, "--prompt", "Hi")
    assert result.exit_code == 3 and "tokenizers" in result.stderr and "pip install" in result.stderr


def test_help_needs_no_heavy_import():
    """The help of every verb, in one process that has imported nothing else."""
    code = (
        "import sys\nfrom g4compile.cli.app import app\n"
        "for verb in ([], *([name] for name in sys.argv[1:])):\n"
        "    try: app([*verb, '--help'])\n"
        "    except SystemExit: pass\n"
        "    heavy = {'torch', 'transformers', 'onnx', 'onnx_ir', 'onnxruntime', 'numpy', 'tokenizers'}\n"
        "    heavy &= set(sys.modules)\n"
        "    if heavy: sys.exit(f'{verb} imported {heavy}')"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *VERBS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == len(VERBS) + 1
    assert time.perf_counter() - start < 5  # under a second by hand; this bounds it on a busy machine


@pytest.mark.parametrize(
    ("stage", "pass_name", "text"),
    [
        ("fused", "canonicalize-rms-norm", "runs in the stages traced, the graph is at fused"),
        ("canonical", "schedule-kv-cache", "the graph is at canonical and not ready for it"),
    ],
)
def test_a_pass_at_the_wrong_stage_is_the_users_error(checkpoints, tmp_path, stage, pass_name, text):
    graph = tmp_path / "graph.onnxtxt"
    graph.write_text(g4("inspect", checkpoints("tiny-e2b").folder, "--graph", stage).stdout)
    result = g4("opt", graph, "-p", pass_name)
    assert result.exit_code == 2 and text in result.stderr and "Warning" not in result.stderr


def test_opt_runs_the_passes_of_several_stages(checkpoints, tmp_path):
    graph = tmp_path / "graph.onnxtxt"
    graph.write_text(g4("inspect", checkpoints("tiny-e2b").folder, "--graph", "canonical").stdout)
    result = g4("opt", graph, "-p", "fuse-dual-rope-attention, canonicalize-dead-code, insert-windowed-masks")
    assert result.exit_code == 0, result.stderr
    assert "g4.WindowedMask" in result.stdout


def test_a_bundle_that_takes_sounds(hearing, tmp_path):
    first, second, image = tmp_path / "first.wav", tmp_path / "second.wav", tmp_path / "a.png"
    first.write_bytes(wav(1.0))
    second.write_bytes(wav(0.2, seed=1))
    image.write_bytes(png())
    folder = hearing("tiny-e2b").folder
    assert as_json("inspect", folder)["modalities"] == ["text", "image", "audio"]
    asked = ("run", folder, "--prompt", "What is it?", "--max-new-tokens", 3)
    deaf, one, two = (
        as_json(*asked),
        as_json(*asked, "--audio", first),
        as_json(*asked, "--audio", first, "--audio", second),
    )
    assert [made["prompt_tokens"] - deaf["prompt_tokens"] for made in (one, two)] == [25 + 2, 25 + 2 + 5 + 2]
    placed = as_json("run", folder, "--prompt", "<|audio|>What is it?", "--audio", first, "--max-new-tokens", 3)
    assert placed["prompt_tokens"] == one["prompt_tokens"] and placed["token_ids"] == one["token_ids"]
    both = as_json(*asked, "--audio", first, "--image", image)
    assert both["prompt_tokens"] > one["prompt_tokens"] + 200


def test_a_video_in_a_bundle_that_takes_images(seeing, tmp_path):
    file = tmp_path / "a.mp4"
    file.write_bytes(clip(3))
    folder = seeing("tiny-31b").folder
    asked = ("run", folder, "--prompt", "What happens?", "--max-new-tokens", 3)
    blind, seen = as_json(*asked), as_json(*asked, "--video", file)
    placed = as_json("run", folder, "--prompt", "<|video|>What happens?", "--video", file, "--max-new-tokens", 3)
    assert seen["prompt_tokens"] > blind["prompt_tokens"] + 3 * 40
    assert abs(placed["prompt_tokens"] - seen["prompt_tokens"]) <= 4  # line breaks around it


def test_what_is_done_to_files_is_said(seeing, tmp_path):
    """An animation: its first image is taken. The budget of an image is an option."""
    frames = [Image.fromarray(picture(40, 30, seed)) for seed in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    folder = seeing("tiny-e2b").folder
    asked = ("run", folder, "--prompt", "What?", "--max-new-tokens", 1, "--image", tmp_path / "moving.gif")
    result = g4(*asked)
    assert f"note: {tmp_path / 'moving.gif'}: " in result.stderr and "the first is used" in result.stderr
    large, small = as_json(*asked), as_json(*asked, "--image-tokens", 70)
    assert len(large["notes"]) == 1 and "the first is used" in large["notes"][0]
    assert small["prompt_tokens"] + 100 < large["prompt_tokens"]
    alone = as_json("run", folder, "--image", tmp_path / "moving.gif", "--max-new-tokens", 1)
    assert 200 < alone["prompt_tokens"] < large["prompt_tokens"]
    wrong = g4(*asked, "--image-tokens", 100)
    assert wrong.exit_code == 2 and "one of 70, 140, 280, 560, 1120" in wrong.output


def test_a_bundle_that_takes_images(seeing, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    first.write_bytes(png(seed=1))
    second.write_bytes(png(30, 40, seed=2))
    folder = seeing("tiny-e2b").folder
    shown = as_json("inspect", folder)
    assert shown["modalities"] == ["text", "image"]
    asked = ("run", folder, "--prompt", "What is it?", "--max-new-tokens", 3)
    blind, one, two = (
        as_json(*asked),
        as_json(*asked, "--image", first),
        as_json(*asked, "--image", first, "--image", second),
    )
    assert blind["prompt_tokens"] + 200 < one["prompt_tokens"] < two["prompt_tokens"] - 200
    placed = as_json("run", folder, "--prompt", "<|image|>What is it?", "--image", first, "--max-new-tokens", 3)
    assert abs(placed["prompt_tokens"] - one["prompt_tokens"]) <= 4  # line breaks around it
    raw = as_json("run", folder, "--raw", "--prompt", "It is", "--image", first, "--max-new-tokens", 3)
    assert len(raw["token_ids"]) <= 3 and raw["prompt_tokens"] < one["prompt_tokens"]
