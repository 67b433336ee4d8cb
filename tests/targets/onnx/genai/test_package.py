"""What a package is: its files, that it is refused by our sessions, and what cannot be packed."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.cli.app import app
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.errors import BundleError, CheckpointError, InputError
from g4compile.runtime.session import load
from g4compile.targets.onnx import kernels
from g4compile.targets.onnx.genai import bundle as emitting
from tests.manifests import linked, rewrite
from tests.targets.onnx.genai.test_media import ALL

TEXTS = ["What is the capital of France?", "café 日本語 🙂 1984", "<bos><|turn>user\nhi<turn|>\n", "a\n\n\tb", ""]
SPACES = ["  two  spaces,    four", "def f(x):\n    return x"]


def settings(bundle):
    return json.loads((bundle.folder / "genai_config.json").read_text())


def test_the_settings_say_what_the_checkpoint_does(packages, checkpoints):
    package, facts = packages("tiny-31b"), checkpoints("tiny-31b").facts
    said = settings(package)
    model, search = said["model"], said["search"]
    assert (model["type"], model["context_length"]) == ("gemma4_text", facts.text.max_positions)
    assert model["eos_token_id"] == list(package.manifest.stop_token_ids) == [1, 106, 50]
    assert (model["bos_token_id"], model["pad_token_id"]) == (2, 0)
    sliding = [layer.index for layer in facts.text.kv_layers if layer.window]
    assert model["decoder"]["sliding_window"]["layers"] == sliding
    assert model["decoder"]["sliding_window"]["window_size"] == 8
    drawing = {name: search[name] for name in ("do_sample", "temperature", "top_k", "top_p")}
    assert drawing == {"do_sample": True, "temperature": 1.0, "top_k": 64, "top_p": 0.95}
    assert (search["max_length"], search["chunk_size"]) == (1024, 256)
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= set(package.manifest.files)


def test_graphs_have_stock_ops_and_no_more_inputs_than_are_fed(packages):
    import onnx

    package = packages("tiny-e2b", ALL)
    for graph in package.manifest.graphs.values():
        found = onnx.load(str(package.folder / graph.file), load_external_data=False)
        assert {one.domain for one in found.opset_import} <= {"", "g4", "com.microsoft"}
        assert {node.domain for node in found.graph.node} <= {"", "com.microsoft"} and not found.functions
    inputs = {tensor.name: tensor.shape for tensor in package.manifest.graphs["decoder"].inputs}
    kept = [name for name in inputs if name.startswith("past_key_values.")]
    assert len(kept) == 6  # of 6 layers, 3 own keys and values
    assert all(isinstance(inputs[name][axis], int) for name in kept for axis in (1, 3))
    assert inputs.keys() - set(kept) == {"inputs_embeds", "per_layer_inputs", "position_ids", "attention_mask"}
    assert len(inputs["per_layer_inputs"]) == 3


def test_images_are_not_cut_where_their_tokens_see_each_other(packages):
    assert "chunk_size" not in settings(packages("tiny-31b", ("text", "image")))["search"]
    assert settings(packages("tiny-e2b", ALL))["search"]["chunk_size"] == 256


def test_two_compiles_give_the_same_bytes(packages, checkpoints, tmp_path):
    first = packages("tiny-31b", ("text", "image"))
    second = compile(
        checkpoints("tiny-31b").folder, "onnx-cpu", tmp_path / "again", package="genai", modalities=("text", "image")
    )
    assert first.manifest == second.manifest
    assert (first.folder / "g4.json").read_bytes() == (second.folder / "g4.json").read_bytes()


def test_it_appears_whole_or_not_at_all(checkpoints, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise OSError("no more")

    monkeypatch.setattr(emitting, "write_graphs", fail)
    with pytest.raises(BundleError, match="no more"):
        compile(checkpoints("tiny-31b").folder, "onnx-cpu", tmp_path / "out", package="genai", modalities=("text",))
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".g4lock"]


def test_sessions_of_ours_refuse_it(packages, checkpoints):
    package = packages("tiny-31b")
    for call in (lambda: load(package.folder), lambda: verify(package, checkpoints("tiny-31b").folder)):
        with pytest.raises(InputError, match="is a package for onnxruntime-genai, which no session of g4compile runs"):
            call()
    shown = CliRunner().invoke(app, ["inspect", str(package.folder)])
    assert shown.exit_code == 0 and "for onnxruntime-genai" in shown.stdout
    shown = CliRunner().invoke(app, ["run", str(package.folder), "--ids", "2,5"])
    assert shown.exit_code == 2 and "is a package for onnxruntime-genai" in shown.stderr


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        ("onnx-cpu", {"package": "other"}, "there is no package other"),
        ("onnx-mobile", {}, "onnx-mobile makes no package for onnxruntime-genai"),
        ("onnx-cuda", {}, "--package is no option of the target onnx-cuda"),
        ("tensorrt", {}, "--package is no option of the target tensorrt"),
        ("onnx-cpu", {"kernels": "g4ops", "weights": "int4"}, "has ONNX Runtime's own kernels alone"),
        ("onnx-cpu", {"kv": "int8"}, "has no KV cache of int8"),
        ("onnx-cpu", {"kv": "bfloat16", "weights": "int4"}, "has no KV cache of bfloat16"),
        ("onnx-cpu", {"modalities": ("text", "audio")}, "that takes sounds takes images too"),
    ],
)
def test_what_cannot_be_packed_is_refused(target, given, message, checkpoints, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)):
        compile(checkpoints("tiny-e2b"), target, tmp_path / "out", **{"package": "genai", **given})
    assert not (tmp_path / "out").exists()


def test_a_library_that_is_here_changes_nothing(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "find_library", lambda: "a library")
    package = compile(
        checkpoints("tiny-31b").folder, "onnx-cpu", tmp_path / "out", package="genai", modalities=("text",),
        weights="int4",
    )  # fmt: skip
    assert "g4ops" not in package.manifest.requires and "onnxruntime-ops" in package.manifest.requires


def changed(checkpoint, folder, edit):
    shutil.copytree(checkpoint.folder, folder)
    edit(folder)
    return folder


def test_files_that_it_needs_and_words_that_it_does_not_write(checkpoints, tmp_path):
    def rename(folder):
        (folder / "tokenizer_config.json").write_text(json.dumps({"image_token": "<picture>"}))

    bare = changed(checkpoints("tiny-e2b"), tmp_path / "bare", lambda folder: (folder / "tokenizer.json").unlink())
    with pytest.raises(CheckpointError, match=r"the checkpoint has no tokenizer\.json"):
        compile(bare, "onnx-cpu", tmp_path / "out", package="genai", modalities=("text",))
    other = changed(checkpoints("tiny-e2b"), tmp_path / "other", rename)
    with pytest.raises(InputError, match=r"writes media into prompts as <\|image> <picture>"):
        compile(other, "onnx-cpu", tmp_path / "out", package="genai")


def test_the_template_stands_in_a_file_of_its_own(checkpoints, tmp_path):
    def move(folder):
        file, settings = folder / "chat_template.jinja", folder / "tokenizer_config.json"
        template = [{"name": "default", "template": file.read_text()}, {"name": "rag", "template": "x"}]
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "chat_template": template}))
        file.unlink()

    source = changed(checkpoints("tiny-31b"), tmp_path / "source", move)
    package = compile(source, "onnx-cpu", tmp_path / "out", package="genai", modalities=("text",))
    template = (checkpoints("tiny-31b").folder / "chat_template.jinja").read_text()
    assert (package.folder / "chat_template.jinja").read_text() == template
    assert "chat_template" not in json.loads((package.folder / "tokenizer_config.json").read_text())


def test_text_is_encoded_as_by_the_tokenizers_library(packages, driven):
    """But for runs of spaces, where the made-up tokenizer of tests splits text before it merges."""
    package = packages("tiny-31b")
    tokenizer = Tokenizer.from_file(str(package.folder / "tokenizer.json"))
    results = driven(package, texts=TEXTS)
    assert json.loads(str(results["encoded"])) == [tokenizer.encode(text).ids for text in TEXTS]
    assert json.loads(str(results["decoded"])) == [tokenizer.decode(tokenizer.encode(text).ids) for text in TEXTS]
    assert str(results["chat"]) == f"<bos><|turn>user\n{TEXTS[0]}<turn|>\n<|turn>model\n"


def test_runs_of_spaces_as_the_published_tokenizer_has_them(packages, driven, tmp_path):
    """It splits at spaces that its normalizer has replaced, which is nowhere."""
    folder = tmp_path / "package"
    shutil.copytree(packages("tiny-31b").folder, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.save(str(folder / "tokenizer.json"))
    texts = [*TEXTS, *SPACES]

    results = driven(SimpleNamespace(folder=folder), texts=texts)
    assert json.loads(str(results["encoded"])) == [tokenizer.encode(text).ids for text in texts]


def drop(name):
    return lambda manifest: manifest["files"].pop(name)


def shape(part, index, axis, size):
    return lambda manifest: manifest["graphs"][part]["inputs"][index]["shape"].__setitem__(axis, size)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("genai_config.json"), "does not list genai_config.json"),
        (lambda manifest: manifest["requires"].remove("onnxruntime-genai"), "requires does not have onnxruntime-genai"),
        (lambda manifest: manifest["graphs"].pop("embed"), "a package has a decoder, and an embed"),
        (shape("vision", 0, 0, 2), "an input of vision"),
        (shape("embed", 1, 1, 7), "an input of embed"),
        (shape("decoder", 0, 0, 3), "an input of decoder"),
        (lambda manifest: manifest.update(activations="bfloat16"), "activations"),
    ],
)
def test_a_manifest_that_contradicts_itself(edit, message, packages, tmp_path):
    folder = linked(packages("tiny-31b", ("text", "image")).folder, tmp_path / "package")
    rewrite(folder, edit)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(folder)
    assert message in f"{caught.value.what} {caught.value.why}"
