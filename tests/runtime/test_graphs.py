"""Opening graphs: what the manifest says of them holds, and the cache of rearranged weights is never in the way."""

import hashlib
import shutil
import warnings

import numpy as np
import pytest

from g4compile.errors import BundleError, InputError
from g4compile.runtime import graphs
from g4compile.runtime.session import load
from tests.manifests import change, linked, replace, rewrite

PROMPT = [2, 5, 6, 7]


@pytest.fixture
def bundle(quantized):
    return quantized("tiny-e2b", "int4")


def entries(cache):
    return sorted(path.name for path in cache.iterdir())


def test_a_cached_load_gives_the_same_logits_and_makes_nothing_new(bundle, tmp_path, monkeypatch):
    plain = load(bundle.folder, threads=1).forward(PROMPT)
    first = load(bundle.folder, threads=1, cache=tmp_path / "cache").forward(PROMPT)
    made = entries(tmp_path / "cache")
    monkeypatch.setattr(graphs, "_save", lambda *arguments: pytest.fail("filled again"))
    second = load(bundle.folder, threads=1, cache=tmp_path / "cache").forward(PROMPT)
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(second, plain)
    assert len(made) == 1 and entries(tmp_path / "cache") == made


def test_the_cache_holds_the_newest_only_and_leaves_other_files_alone(bundle, quantized, tmp_path):
    cache = tmp_path / "cache"
    load(bundle.folder, cache=cache)
    (cache / "notes.txt").write_text("mine")
    old = entries(cache)
    load(quantized("tiny-e2b", "int8").folder, cache=cache)
    new = entries(cache)
    assert len(new) == 2 and "notes.txt" in new and not set(new) & (set(old) - {"notes.txt"})


def test_another_onnx_runtime_or_processor_makes_its_own(bundle, tmp_path, monkeypatch):
    load(bundle.folder, cache=tmp_path)
    first = entries(tmp_path)
    monkeypatch.setattr(graphs, "_processor", lambda: "flags: another")
    load(bundle.folder, cache=tmp_path)
    assert len(entries(tmp_path)) == 1 and entries(tmp_path) != first


def test_a_deleted_cache_is_made_again(bundle, tmp_path):
    load(bundle.folder, cache=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    load(bundle.folder, cache=tmp_path / "cache").forward(PROMPT)
    assert len(entries(tmp_path / "cache")) == 1


def test_a_cache_that_cannot_be_written_is_said_once(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    plain = load(bundle.folder, threads=1).forward(PROMPT)
    with pytest.warns(UserWarning, match="cannot be used, loading without it") as caught:
        session = load(bundle.folder, threads=1, cache=tmp_path / "file" / "cache")
    assert len(caught) == 1
    np.testing.assert_array_equal(session.forward(PROMPT), plain)


def test_no_warning_without_a_cache(bundle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(bundle.folder)


def test_pages_of_tables_are_given_back_and_lookups_stay_right(bundle, tmp_path, monkeypatch):
    """After every so many tokens; what is looked up next is read from the file again."""
    given_back = []
    release = graphs.release_pages
    monkeypatch.setattr(
        "g4compile.runtime.session.release_pages", lambda pages: given_back.append(set(pages)) or release(pages)
    )
    prompt = np.random.default_rng(0).integers(0, 1024, (1, 600))
    with monkeypatch.context() as kept:
        kept.setattr("g4compile.runtime.session.release_pages", lambda _: None)
        want = load(bundle.folder, threads=1, chunk=100).forward(prompt, all_positions=True)
    others = graphs.mapped_pages(bundle.folder / "weights.data")
    for cache in (None, tmp_path):
        session = load(bundle.folder, threads=1, chunk=100, cache=cache)
        here = graphs.mapped_pages(bundle.folder / "weights.data")
        np.testing.assert_array_equal(session.forward(prompt, all_positions=True), want)
        assert len(given_back) == 2 and given_back[0] and given_back[0] <= here - others
        given_back.clear()
        del session


def test_a_damaged_copy_is_said_and_made_again(bundle, tmp_path):
    plain = load(bundle.folder, threads=1, cache=tmp_path).forward(PROMPT)
    (data,) = tmp_path.glob("*/weights.data")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"was damaged, and is made again: weights\.data has"):
        np.testing.assert_array_equal(load(bundle.folder, threads=1, cache=tmp_path).forward(PROMPT), plain)
    assert len(entries(tmp_path)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load(bundle.folder, threads=1, cache=tmp_path).forward(PROMPT), plain)


def test_a_copy_that_onnx_runtime_refuses(bundle, tmp_path, monkeypatch):
    """Whole by its header, and no model: it is said, and made again by the next load."""
    plain = load(bundle.folder, threads=1).forward(PROMPT)
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "_save", lambda file, folder: (folder / file.name).write_text("no graph"))
        with pytest.warns(UserWarning, match="cannot be used, loading without it"):
            np.testing.assert_array_equal(load(bundle.folder, threads=1, cache=tmp_path).forward(PROMPT), plain)
    assert not entries(tmp_path)
    load(bundle.folder, threads=1, cache=tmp_path)
    assert len(entries(tmp_path)) == 1


def test_a_cache_without_a_name(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="it is empty"):
        load(bundle.folder, cache="")
    assert not entries(tmp_path)


def described(bundles, tmp_path, graph, kind, edit):
    """A bundle whose manifest describes a graph in another way."""
    folder = linked(bundles("tiny-e2b").folder, tmp_path / "bundle")
    rewrite(folder, lambda manifest: edit(manifest["graphs"][graph][kind]))
    return folder


@pytest.mark.parametrize(
    ("graph", "kind", "edit", "what"),
    [
        ("embed", "inputs", lambda tensors: tensors[0].update(shape=["sequences", "new"]), "input_ids is tensor"),
        ("decoder", "inputs", lambda tensors: tensors[0].update(shape=["batch", "tokens"]), "position_ids is tensor"),
        ("decoder", "outputs", lambda tensors: tensors[0].update(shape=["batch", "all", 1024]), "logits is tensor"),
    ],
)
def test_a_manifest_that_describes_another_graph(bundles, tmp_path, graph, kind, edit, what):
    """By names of sizes, which nothing else in the manifest contradicts."""
    folder = described(bundles, tmp_path, graph, kind, edit)
    with pytest.raises(BundleError, match=rf"does not describe the {kind} of the graph {graph}[\s\S]*{what}"):
        load(folder, threads=1)


def test_the_graph_of_another_bundle(bundles, int8_kv, tmp_path):
    """Of int8 KV, with the hash of it: what it asks for is seen when it is opened."""
    folder = linked(bundles("tiny-e2b").folder, tmp_path / "bundle")
    graph = (int8_kv.folder / "decoder.onnx").read_bytes()
    replace(folder / "decoder.onnx", graph)
    spec = {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()}
    change(folder, files=lambda files: {**files, "decoder.onnx": spec})
    with pytest.raises(BundleError, match="does not describe the inputs of the graph decoder"):
        load(folder, threads=1)


def test_a_refused_graph_prints_nothing(bundles, tmp_path, capfd):
    """ONNX Runtime would try it twice, and say so on standard output, where `--json` puts one object."""
    folder = linked(bundles("tiny-e2b").folder, tmp_path / "bundle")
    for broken in (b"", b"\0" * 100, (folder / "decoder.onnx").read_bytes().replace(b"MatMul", b"Matxul")):
        replace(folder / "decoder.onnx", broken)
        spec = {"bytes": len(broken), "sha256": hashlib.sha256(broken).hexdigest()}
        change(folder, files=lambda files, spec=spec: {**files, "decoder.onnx": spec})
        with pytest.raises(BundleError, match="cannot load the bundle's graph"):
            load(folder, threads=1)
    assert capfd.readouterr().out == ""
