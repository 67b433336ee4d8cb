"""The two graphs of a bundle: lookups in one, everything else in the other, one stored copy of what both read."""

import onnx
import pytest

from g4compile.errors import SpecError
from g4compile.graph.build import Builder
from g4compile.targets.lowering.split import split_embedding
from tests.conftest import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_decoder_reads_no_ids_and_embed_computes_nothing(variant, legal, checkpoints):
    facts = checkpoints(variant).facts.text
    graphs = split_embedding(legal(variant))
    embed, decoder = graphs["embed"].graph, graphs["decoder"].graph
    outputs = ["inputs_embeds", "per_layer_inputs"] if facts.ple_dim else ["inputs_embeds"]
    assert [value.name for value in embed.inputs] == ["input_ids"]
    assert sorted(value.name for value in embed.outputs) == outputs
    names = [value.name for value in decoder.inputs]
    assert "input_ids" not in names and names[-len(outputs) :] == [value.name for value in embed.outputs]
    assert not {node.op_type for node in embed} & {"MatMul", "Gemm", "RMSNormalization", "Add"}
    assert sum(node.op_type == "Gather" for node in embed) == len(outputs)
    assert list(embed.outputs[0].shape)[-1] == facts.hidden_size


def test_a_second_use_of_the_ids_is_refused(legal):
    model = legal("tiny-31b")
    ids = next(value for value in model.graph.inputs if value.name == "input_ids")
    last = list(model.graph)[-1]
    build = Builder(last)
    last.replace_input_with(0, build.op("Reshape", last.inputs[0], build.op("Shape", ids)))
    with pytest.raises(SpecError, match="reads token ids itself"):
        split_embedding(model)


def test_tables_that_both_graphs_read_are_stored_once(quantized):
    bundle = quantized("tiny-31b", "int4")
    places = {}
    for name in ("embed", "decoder"):
        for tensor in onnx.load(bundle.graph_path(name), load_external_data=False).graph.initializer:
            if "embed_tokens.weight" in tensor.name:
                entries = {entry.key: entry.value for entry in tensor.external_data}
                assert entries["location"] == "weights.data"
                places.setdefault(tensor.name.removesuffix(".rows"), set()).add(entries["offset"])
    assert len(places) == 2 and all(len(offsets) == 1 for offsets in places.values())
