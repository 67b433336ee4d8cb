"""Bad input: one clear message and the right exit code, never a traceback."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.model import presets
from tests.audio import wav
from tests.vision import png


def g4(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result, code, *texts):
    output = result.stderr + result.stdout
    assert result.exit_code == code, output
    assert "Traceback" not in output
    for text in texts:
        assert text in output


@pytest.fixture
def copy(checkpoints, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoints("tiny-31b").folder, folder)
    return folder


@pytest.fixture
def bundle_copy(bundles, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundles("tiny-31b").folder, folder)
    return folder


def compile_(source, tmp_path):
    return g4("compile", source, "--target", "onnx-cpu", "-o", tmp_path / "out")


def edit_config(folder, change):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))


def test_no_such_path(tmp_path):
    refused(compile_(tmp_path / "nowhere", tmp_path), 2, "there is no checkpoint at")


def test_not_a_gemma_4(copy, tmp_path):
    edit_config(copy, lambda config: config.update(model_type="llama"))
    refused(compile_(copy, tmp_path), 2, "not a Gemma 4 checkpoint", "'llama'")


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_truncated_weights(copy, tmp_path, keep):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    refused(compile_(copy, tmp_path), 2, "truncated or corrupt", "model.safetensors")


def test_index_that_names_a_missing_shard(tmp_path):
    g4("synth", "tiny-31b", "-o", tmp_path / "checkpoint", "--shard-size", "500kB")
    next((tmp_path / "checkpoint").glob("model-00002*")).unlink()
    refused(compile_(tmp_path / "checkpoint", tmp_path), 2, "names the shard model-00002", "missing")


def test_unknown_layer_type(copy, tmp_path):
    edit_config(copy, lambda config: config["text_config"]["layer_types"].__setitem__(1, "spiral_attention"))
    refused(compile_(copy, tmp_path), 2, "layer 1 has the unknown type 'spiral_attention'")


def test_unknown_rope_type(copy, tmp_path):
    edit_config(
        copy, lambda config: config["text_config"]["rope_parameters"]["full_attention"].update(rope_type="yarn")
    )
    refused(compile_(copy, tmp_path), 2, "unknown rope_type 'yarn'")


def test_output_that_exists(bundle_copy, checkpoints):
    result = g4("compile", checkpoints("tiny-31b").folder, "--target", "onnx-cpu", "-o", bundle_copy)
    refused(result, 2, "exists", "--force")


def test_unknown_target_and_weights(copy, tmp_path):
    refused(g4("compile", copy, "--target", "toaster", "-o", tmp_path / "out"), 2, "there is no target toaster")
    refused(
        g4("compile", copy, "--target", "onnx-cpu", "--weights", "int3", "-o", tmp_path / "out"), 2, "no recipe int3"
    )


@pytest.mark.parametrize(
    ("variant", "target", "modalities", "texts"),
    [
        ("tiny-31b", "tensorrt-rtx", "text,audio", ["this checkpoint has no audio"]),
        ("tiny-e2b", "onnx-cpu", "image", ["a bundle without text", "--modalities text,image"]),
        ("tiny-31b", "onnx-cpu", "text,audio", ["this checkpoint has no audio"]),
    ],
)
def test_modalities_that_are_not_compiled(variant, target, modalities, texts, checkpoints, tmp_path):
    folder = checkpoints(variant).folder
    result = g4("compile", folder, "--target", target, "-o", tmp_path / "out", "--modalities", modalities)
    refused(result, 2, *texts)


@pytest.mark.parametrize(("kind", "modality"), [("image", "image"), ("video", "image"), ("audio", "audio")])
def test_media_for_a_bundle_of_text(kind, modality, bundles):
    result = g4("run", bundles("tiny-e2b").folder, "--prompt", "What is it?", f"--{kind}", "file")
    refused(result, 2, f"this bundle takes no {kind}", f"--target onnx-cpu --modalities text,{modality}")


def test_audio_for_a_bundle_of_images(seeing):
    result = g4("run", seeing("tiny-e2b").folder, "--prompt", "What is it?", "--audio", "file")
    refused(result, 2, "this bundle takes no audio", "--target onnx-cpu --modalities text,image,audio")


def test_sounds_that_cannot_be_used(hearing, tmp_path):
    folder, file = hearing("tiny-e2b").folder, tmp_path / "a.wav"

    def asked(prompt="What?"):
        return g4("run", folder, "--prompt", prompt, "--audio", file)

    refused(asked(), 2, "a.wav")
    for data, text in ((b"", "empty"), (b"no sound", "cannot be decoded"), (wav(31), "longer than the 30 seconds")):
        file.write_bytes(data)
        refused(asked(), 2, text)
    soundfile.write(file, np.full(9000, np.nan, np.float32), 16_000, subtype="FLOAT")
    refused(asked(), 2, "no numbers of a wave")
    file.write_bytes(wav())
    refused(g4("run", folder, "--ids", "1,2", "--audio", file), 2, "--audio goes with --prompt")
    refused(asked("<|audio|> or <|audio|>?"), 2, "place 2 of 2 has no sound")


def test_images_that_cannot_be_used(seeing, tmp_path):
    folder, file = seeing("tiny-e2b").folder, tmp_path / "cat.png"
    refused(g4("run", folder, "--prompt", "What?", "--image", file), 2, "cat.png")
    file.write_bytes(b"no image")
    refused(g4("run", folder, "--prompt", "What?", "--image", file), 2, "no image that can be read")
    file.write_bytes(png())
    refused(g4("run", folder, "--ids", "1,2", "--image", file), 2, "--image goes with --prompt")
    result = g4("run", folder, "--prompt", "<|image|> or <|image|>?", "--image", file)
    refused(result, 2, "stands 2 times in the prompt, and the number of images is 1")


def test_bundle_of_a_newer_version(bundle_copy):
    file = bundle_copy / "g4.json"
    file.write_text(file.read_text().replace('"manifest_version": 3', '"manifest_version": 99'))
    refused(g4("inspect", bundle_copy), 2, "manifest version 99", "update g4compile")


def test_bundle_with_a_file_missing_or_cut(bundle_copy):
    file = bundle_copy / "weights.data"
    file.write_bytes(file.read_bytes()[:-1])
    refused(g4("run", bundle_copy, "--ids", "1,2"), 2, "weights.data has", "the manifest says")
    file.unlink()
    refused(g4("run", bundle_copy, "--ids", "1,2"), 2, "lacks its file weights.data")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--ids", "1,4096"], "token id 4096 is out of range"),
        (["--ids", "1,x"], "must be integers"),
        (["--prompt", ""], "the prompt is empty"),
        (["--ids", ",".join(["5"] * 1025)], "context of 1,024"),
    ],
)
def test_bad_prompts(bundles, arguments, text):
    refused(g4("run", bundles("tiny-31b").folder, *arguments), 2, text)


def test_errors_are_json_when_asked(tmp_path):
    result = g4("inspect", tmp_path / "nowhere", "--json")
    assert json.loads(result.stdout)["exit_code"] == result.exit_code == 2


@pytest.mark.parametrize("name", presets.NAMES)
def test_inspect_reads_every_preset(name):
    assert json.loads(g4("inspect", name, "--json").stdout)["layers"] > 0


def test_an_unknown_kv_type_is_refused(checkpoints, tmp_path):
    folder = checkpoints("tiny-31b").folder
    refused(
        g4("compile", folder, "--target", "onnx-cpu", "--kv", "int3", "-o", tmp_path / "out"), 2, "KV cache of int3"
    )
    refused(g4("plan", folder, "--target", "onnx-cpu", "--kv", "fp8"), 2, "KV cache of fp8")


def test_bfloat16_kv_needs_libg4ops(checkpoints, tmp_path, monkeypatch):
    """What can be chosen otherwise is said; a library that is not here is the machine's lack."""
    monkeypatch.delenv("G4OPS_LIBRARY", raising=False)
    folder, out = checkpoints("tiny-31b").folder, tmp_path / "out"
    for verb, *rest in (["compile", folder, "-o", out], ["plan", folder]):
        asked = [verb, *rest, "--target", "onnx-cpu", "--kv", "bfloat16"]
        refused(g4(*asked), 2, "do not go with float32 weights", "--weights int8 or int4, or --kv float32 or int8")
        other = g4(*asked, "--weights", "int4", "--kernels", "onnxruntime")
        refused(other, 2, "ONNX Runtime have no bfloat16 keys and values", "--kernels g4ops, or --kv float32 or int8")
        refused(g4(*asked, "--weights", "int4", "--kernels", "fast"), 2, "there are no kernels fast")
    lacking = g4("compile", folder, "-o", out, "--target", "onnx-mobile", "--kv", "bfloat16")
    refused(lacking, 3, "a compile with --kv bfloat16 needs the library libg4ops", "make native")
    planned = g4("plan", folder, "--target", "onnx-mobile", "--kv", "bfloat16", "--json")
    found = json.loads(planned.stdout)
    assert planned.exit_code == 0 and (found["kv"], found["kernels"]) == ("bfloat16", "g4ops")
    assert not out.exists()


@pytest.mark.parametrize("option", [["--sm", "89"], ["--batch", 2], ["--chunk", 64], ["--tensor-parallel", 2]])
def test_options_of_engines_are_not_taken_in_silence(checkpoints, tmp_path, option):
    folder = checkpoints("tiny-31b").folder
    result = g4("compile", folder, "--target", "onnx-cpu", *option, "-o", tmp_path / "out")
    refused(result, 2, f"{option[0]} is no option of the target onnx-cpu")


@pytest.mark.parametrize("size", ["many", "12 parsecs", "inf", "1e400", "nan", "-5", "-1GiB", "0", "1e30", ""])
def test_a_size_that_is_none(checkpoints, tmp_path, size):
    folder = checkpoints("tiny-31b").folder
    result = g4("compile", folder, "--target", "onnx-cpu", "--max-memory", size, "-o", tmp_path / "out")
    refused(result, 2, "is not a size")


def test_weights_that_the_target_does_not_take(checkpoints, tmp_path):
    folder = checkpoints("tiny-31b").folder
    for verb, *rest in (["compile", folder, "-o", tmp_path / "out"], ["plan", folder]):
        for weights in ("bfloat16", "int3", str(tmp_path / "recipe.txt")):
            result = g4(verb, *rest, "--target", "onnx-cpu", "--weights", weights)
            refused(
                result,
                2,
                f"onnx-cpu takes no {weights} weights",
                "float32, int8, int4, int4-channel, int2",
                "a recipe file",
            )
            assert "Errno" not in result.stderr
        refused(g4(verb, *rest, "--target", "onnx-cpu", "--weights", tmp_path), 2, "the recipe is", "it is a folder")
        refused(g4(verb, *rest, "--target", "onnx-cpu", "--weights", ""), 2, "--weights is empty", "float32, int8")
    result = g4("compile", folder, "-o", tmp_path / "out", "--target", "onnx-mobile", "--weights", "int3")
    refused(result, 2, "onnx-mobile takes no int3")
    assert "float32" not in result.stderr


def test_a_recipe_file_that_is_no_text(checkpoints, tmp_path):
    recipe = tmp_path / "recipe.txt"
    recipe.write_bytes(b"\xff\xfe\x00")
    result = g4("plan", checkpoints("tiny-31b").folder, "--target", "onnx-cpu", "--weights", recipe)
    refused(result, 2, "the recipe is not UTF-8 text", "recipe.txt", "byte 0")


def test_binary_onnx_is_no_text(bundles, checkpoints, tmp_path):
    graph = bundles("tiny-31b").folder / "decoder.onnx"
    refused(g4("opt", graph, "-p", "canonicalize-dead-code"), 2, "is binary ONNX", "printer.to_text", "--graph STAGE")
    refused(g4("inspect", graph), 2, "is binary ONNX", "inspect does not read", "a config.json", str(graph.parent))
    piped = CliRunner().invoke(app, ["opt", "-", "-p", "canonicalize-dead-code"], input=graph.read_bytes())
    refused(piped, 2, "stdin is binary ONNX")
    other = tmp_path / "graph.onnxtxt"
    other.write_bytes(b"\xff\xfe")
    refused(g4("opt", other, "-p", "canonicalize-dead-code"), 2, "the graph is not UTF-8 text", "byte 0")
    refused(g4("inspect", other), 2, "a graph in text form, which inspect does not read")


def test_a_preset_is_no_checkpoint_and_no_bundle(bundles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no folder has the name of a preset
    synth = "g4compile synth tiny-31b -o DIR"
    refused(g4("compile", "tiny-31b", "--target", "onnx-cpu", "-o", tmp_path / "out"), 2, "a preset", synth)
    refused(g4("verify", bundles("tiny-31b").folder, "--against", "tiny-31b"), 2, "a preset", synth)
    for given in (["verify", "tiny-31b", "--against", "x"], ["run", "tiny-31b", "--ids", "1"], ["bench", "tiny-31b"]):
        refused(g4(*given), 2, "is the name of a preset, not a bundle", synth, "g4compile compile DIR")


def test_a_folder_with_the_name_of_a_preset_is_taken(bundles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundles("tiny-31b").folder, tmp_path / "tiny-31b")
    assert g4("run", "tiny-31b", "--ids", "1", "--max-new-tokens", "1").exit_code == 0
