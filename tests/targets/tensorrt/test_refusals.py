"""What a compile does when TensorRT refuses: the next form of attention is taken, or an error has TensorRT's words."""

from __future__ import annotations

import itertools
import json
import warnings
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.errors import MachineError
from g4compile.targets.tensorrt.attention_forms import FOLDED, FORMS, FUSED, SELECT
from g4compile.targets.tensorrt.build import EngineBuilder
from g4compile.targets.tensorrt.edition import FULL, RTX
from g4compile.targets.tensorrt.steps import Capacities
from tests.conftest import VARIANTS
from tests.targets.tensorrt.nightly import with_nightly
from tests.targets.tensorrt.refusing import FOURTH, Refusing

VARIANT = "tiny-31b"


class Unmasked:
    """A layer of attention that keeps no mask, as the bindings show a refused one."""

    def __init__(self, layer):
        self.__dict__.update(_layer=layer, mask=None)

    def __setattr__(self, name, value):
        if name != "mask":
            setattr(self._layer, name, value)


def same(layer):
    return layer


def null_plan(form, log):
    log(FOURTH)
    log("the engine could not be built")


def thrown(form, log):
    raise RuntimeError(FOURTH)


def refused(*forms, how=null_plan):
    return lambda form, log: how(form, log) if form in forms else b"no plan"


@pytest.fixture
def load(trt, monkeypatch):
    """A function that puts a builder that refuses in the place of TensorRT-RTX's."""

    def put(plan, layer=same):
        monkeypatch.setattr(type(RTX), "load", lambda self: Refusing(trt, plan, layer))

    return put


@pytest.fixture
def compiled(load, checkpoints, tmp_path):
    """A function that compiles with such a builder: the bundle, and what was said of attention."""

    def run(plan, layer=same, **options):
        load(plan, layer)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            bundle = compile(
                checkpoints(VARIANT).folder, "tensorrt-rtx", tmp_path / "out",
                **{"context": 128, "chunk": 16, "compute_capabilities": (89,), **options},
            )  # fmt: skip
        return bundle, [str(one.message) for one in said if "attention is" in str(one.message)]

    return run


REFUSALS = [
    (refused(FUSED), same, FOURTH),
    (refused(FUSED, how=thrown), same, FOURTH),
    (refused(), Unmasked, "it gave no reason"),  # the fourth operand, when it is set
    (refused(), lambda layer: None, "it gave no reason"),  # a shape
]


@pytest.mark.parametrize(("plan", "layer", "words"), REFUSALS, ids=["null plan", "thrown", "mask", "shape"])
def test_the_next_form_is_taken(plan, layer, words, compiled):
    bundle, said = compiled(plan, layer)
    steps = bundle.manifest.engine.steps
    assert [step.attention for step in steps] == [SELECT] * 3
    assert all(list(step.refused) == [FUSED] and words in step.refused[FUSED] for step in steps)
    assert len(said) == 3 and all(words in one and "attention is select" in one for one in said)
    assert not any("defect" in one for one in said)


def test_the_last_form_is_taken_and_verified(compiled, checkpoints, monkeypatch):
    bundle, said = compiled(refused(FUSED, SELECT))
    steps = bundle.manifest.engine.steps
    assert all((step.attention, list(step.refused)) == (FOLDED, [FUSED, SELECT]) for step in steps)
    assert "does not build it fused or select" in said[0]
    monkeypatch.undo()
    assert verify(bundle, checkpoints(VARIANT).folder, prompt_tokens=40, new_tokens=4).passed


def test_steps_take_forms_of_their_own(compiled):
    """A kernel of one query may be there, and none of many."""
    asked = []

    def plan(form, log):
        asked.append(form)
        return null_plan(form, log) if form == FUSED and len(asked) > 1 else b"no plan"

    bundle, said = compiled(plan)
    assert [step.attention for step in bundle.manifest.engine.steps] == [FUSED, SELECT, SELECT]
    assert asked == [FUSED, FUSED, SELECT, FUSED, SELECT] and len(said) == 2


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_was_asked_for_is_the_only_one(form, compiled):
    asked = []
    bundle, said = compiled(lambda form, log: asked.append(form) or b"no plan", attention=form)
    assert set(asked) == {form} == {step.attention for step in bundle.manifest.engine.steps} and not said


def test_a_form_that_was_asked_for_and_is_refused(compiled, tmp_path):
    with pytest.raises(MachineError, match="does not build the decode network with attention fused") as error:
        compiled(refused(FUSED), attention=FUSED)
    assert FOURTH in error.value.why and "leave --attention away" in error.value.fix
    assert not (tmp_path / "out").exists()


def test_all_forms_refused(compiled):
    with pytest.raises(MachineError, match=r"TensorRT-RTX 11\.2\.1\.2 does not build .* in any form") as error:
        compiled(refused(*FORMS))
    assert [error.value.why.count(f"{form}: ") for form in FORMS] == [1, 1, 1]
    assert error.value.why.count(FOURTH) == 3 and "defect" not in str(error.value)


def test_an_encoder_that_is_refused(compiled):
    """It has one form."""
    built = []

    def plan(form, log):
        built.append(form)
        return b"no plan" if len(built) <= 3 else null_plan(form, log)

    with pytest.raises(MachineError, match="does not build the vision network") as error:
        compiled(plan, context=256, chunk=128, modalities=("text", "image"))
    assert FOURTH in error.value.why


def test_the_command_line_says_which_form_it_took(load, checkpoints, tmp_path):
    load(refused(FUSED))
    arguments = ["compile", str(checkpoints(VARIANT).folder), "--target", "tensorrt-rtx", "--sm", "89", "--context",
                 "128", "--chunk", "16", "-o", str(tmp_path / "out")]  # fmt: skip
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert "attention is select" in next(line for line in result.stderr.splitlines() if line.startswith("warning: "))
    steps = json.loads(result.stdout)["engine"]["steps"]
    assert [(step["attention"], list(step["refused"])) for step in steps] == [(SELECT, [FUSED])] * 3
    load(refused())
    result = CliRunner().invoke(app, [*arguments, "--force", "--attention", "folded"])
    assert result.exit_code == 0 and "decode folded, verify folded, prefill folded" in result.stdout
    result = CliRunner().invoke(app, [*arguments, "--force", "--attention", "paged"])
    assert result.exit_code == 2 and "--attention fused, select, folded" in result.stderr


NO_LIBRARY = "Unable to load library: libnvinfer_builder_resource_sm90.so.11.2.1"


@pytest.mark.parametrize("thrown", [True, False])
def test_a_builder_that_cannot_be_made(thrown, trt):
    """The bindings raise TypeError, and the logger alone is told why."""

    def make(logger):
        logger.log(trt.ILogger.ERROR, NO_LIBRARY)
        if thrown:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    module = SimpleNamespace(Builder=make, ILogger=trt.ILogger, __version__="11.2.1.2")
    with pytest.raises(MachineError, match=r"TensorRT-RTX 11\.2\.1\.2 makes no builder here") as error:
        EngineBuilder(RTX, module)
    assert NO_LIBRARY in error.value.why and "libnvinfer_builder_resource" in error.value.fix


BUILT = [("tiny-e2b", SELECT), ("tiny-31b", FOLDED)]


@pytest.mark.parametrize(("variant", "form"), with_nightly(BUILT, list(itertools.product(VARIANTS, (SELECT, FOLDED)))))
def test_plans_of_each_form_are_built(variant, form, emit):
    """By TensorRT-RTX, for GPUs that are not here; those of fused ones in `test_bundle.py`."""
    made = emit(variant, Capacities(context=256, batch=2, chunk=16), attention=form)
    for name, (one,) in made.networks.items():
        assert len(made.builder.plan(one, name, [made.steps[name].sizes(2)], (80, 89, 120))) > 10_000


@pytest.mark.parametrize(("more", "decode", "prefill"), [(0, 6, 6), (1, 4, 5)])
def test_layers_of_too_many_slots_are_not_fused(more, decode, prefill, emit, trt):
    """The two full layers of a decode step, and the last one of a prefill, which has one query too. TensorRT-RTX has no
    limit of more queries."""
    slots = RTX.fused.slots[0] + more
    made = emit("tiny-31b", Capacities(context=slots, batch=1, chunk=16))
    counts = {name: fused_layers(trt, one.network) for name, (one,) in made.networks.items()}
    assert counts == {"decode": decode, "verify": 6, "prefill": prefill}
    for name, (one,) in made.networks.items():
        assert len(made.builder.plan(one, name, [made.steps[name].sizes(1)], (89,))) > 10_000


def fused_layers(trt, network):
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return sum(layer.type == trt.LayerType.ATTENTION_INPUT for layer in layers)


def test_a_fused_layer_of_full_tensorrt_takes_what_was_seen_to_run():
    """16,384 slots, of one query and of more; heads of 256."""
    for one_query in (True, False):
        assert FULL.fused.takes(256, 8, 16384, one_query)
        assert not FULL.fused.takes(256, 8, 16385, one_query) and not FULL.fused.takes(512, 8, 1024, one_query)


def test_what_is_built_can_be_captured(emit, trt, monkeypatch):
    """TensorRT-RTX builds with memory that the user gives: without it a run cannot be captured as a CUDA graph."""
    made, flags = emit("tiny-31b"), []

    def build(network, config):
        flags.append(config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION))
        return b"plan"

    monkeypatch.setattr(made.builder, "builder", _Building(made.builder.builder, build))
    for name, (one,) in made.networks.items():
        made.builder.plan(one, name, [made.steps[name].sizes(1)], (89,))
    assert flags == [True] * len(made.networks)


class _Building:
    """A builder that builds by a function of a test."""

    def __init__(self, builder, build):
        self._builder, self.build_serialized_network = builder, build

    def __getattr__(self, name):
        return getattr(self._builder, name)
