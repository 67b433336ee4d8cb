"""Processor files of a checkpoint: what is read of them, and what is refused."""

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer

from g4compile.bundle.media import MediaSpec, MediaTokens, PatchSpec, TokenSpec, WaveSpec
from g4compile.errors import CheckpointError, InputError
from g4compile.model import presets
from g4compile.model.config import model_facts
from g4compile.synth.processor import write_processor
from g4compile.weights import processor_schema
from g4compile.weights.processors import read_media
from tests.conftest import VARIANTS
from tests.runtime.media.specs import MEL, TOWER, UNIFIED, UNIFIED_VIDEO, VIDEO, WAVE

PUBLISHED = MediaTokens(
    TokenSpec("<|image|>", 258_880), TokenSpec("<|video|>", 258_884), TokenSpec("<|audio|>", 258_881),
    "<|image>", "<image|>", "<|audio>", "<audio|>",
)  # fmt: skip


def written(folder, preset):
    """The processor files of ``preset`` in ``folder``, and its config."""
    folder.mkdir(exist_ok=True)
    config = presets.config(preset)
    write_processor(folder, config)
    return config


def read(folder, config):
    return read_media(folder, model_facts(config))


@pytest.mark.parametrize(
    ("preset", "image", "video", "audio"),
    [
        ("e2b", TOWER, VIDEO, MEL),
        ("e4b", TOWER, VIDEO, MEL),
        ("12b", UNIFIED, UNIFIED_VIDEO, WAVE),
        ("26b-a4b", TOWER, VIDEO, None),
        ("31b", TOWER, VIDEO, None),
    ],
)
def test_published_models(preset, image, video, audio, tmp_path):
    found = read(tmp_path, written(tmp_path, preset))
    assert found == MediaSpec(tokens=PUBLISHED, image=image, video=video, audio=audio)
    assert msgspec.json.decode(msgspec.json.encode(found), type=MediaSpec) == found


@pytest.mark.parametrize("variant", VARIANTS)
def test_synthetic_checkpoints(variant, checkpoints):
    """As transformers' classes load them."""
    checkpoint = checkpoints(variant)
    found = read_media(checkpoint.folder, checkpoint.facts)
    assert msgspec.json.decode(msgspec.json.encode(found), type=MediaSpec) == found
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)
    for name, token in (("image", found.tokens.image), ("audio", found.tokens.audio)):
        assert token == TokenSpec(getattr(tokenizer, f"{name}_token"), getattr(tokenizer, f"{name}_token_id"))
    assert found.tokens.video.id == tokenizer.convert_tokens_to_ids(found.tokens.video.text)
    around = (found.tokens.boi, found.tokens.eoi, found.tokens.boa, found.tokens.eoa)
    assert around == tuple(getattr(tokenizer, f"{name}_token") for name in ("boi", "eoi", "boa", "eoa"))
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint.folder)
    if variant == "tiny-12b":  # its image processor asks for torchvision
        assert found.image == PatchSpec(12, 1, 280, 32)
        assert found.audio == WaveSpec(16_000, extractor.audio_samples_per_token, 750 * 40)
        return
    theirs = AutoImageProcessor.from_pretrained(checkpoint.folder, backend="pil")
    sizes = theirs.patch_size, theirs.pooling_kernel_size, theirs.max_soft_tokens
    assert found.image == PatchSpec(*sizes, checkpoint.facts.raw["vision_config"]["position_embedding_size"])
    if found.audio:
        for name in ("sampling_rate", "frame_length", "hop_length", "fft_length", "feature_size", "mel_floor"):
            assert getattr(found.audio, name) == getattr(extractor, name)


def test_a_checkpoint_of_text_needs_no_file(tmp_path):
    config = {**presets.config("tiny-e2b"), "vision_config": None, "audio_config": None}
    assert not write_processor(tmp_path, config)
    found = read(tmp_path, config)
    assert (found.image, found.video, found.audio) == (None, None, None)


def change(folder, part, values, drop=()):
    """Change fields of a part of processor_config.json."""
    file = folder / "processor_config.json"
    whole = json.loads(file.read_text())
    fields = whole if part is None else whole[part]
    fields.update(values)
    for name in drop:
        del fields[name]
    file.write_text(json.dumps(whole))


def test_fields_that_are_left_out_are_those_of_transformers(tmp_path):
    config = written(tmp_path, "e2b")
    for part, kept in (
        ("image_processor", {}),
        ("video_processor", {}),
        ("feature_extractor", {"frame_length": 320}),
    ):
        whole = json.loads((tmp_path / "processor_config.json").read_text())
        whole[part] = kept
        (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    assert read(tmp_path, config) == MediaSpec(tokens=PUBLISHED, image=TOWER, video=VIDEO, audio=MEL)


def test_older_files(tmp_path):
    """A file for each part."""
    config = written(tmp_path, "e2b")
    whole = json.loads((tmp_path / "processor_config.json").read_text())
    (tmp_path / "processor_config.json").unlink()
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({**whole["feature_extractor"], **whole["image_processor"], "max_soft_tokens": 560})
    )
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps({**whole["video_processor"], "num_frames": 8}))
    found = read(tmp_path, config)
    assert (found.image.max_soft_tokens, found.video.num_frames, found.audio) == (560, 8, MEL)


@pytest.mark.parametrize("preset", ["tiny-e2b", "tiny-12b"])
def test_nothing_is_said_of_videos(preset, tmp_path):
    config = written(tmp_path, preset)
    whole = read(tmp_path, config)
    change(tmp_path, None, {}, ["video_processor"])
    assert read(tmp_path, config) == whole


@pytest.mark.parametrize(("preset", "part"), [("e2b", "image_processor"), ("12b", "feature_extractor")])
def test_a_part_is_missing(preset, part, tmp_path):
    config = written(tmp_path, preset)
    change(tmp_path, None, {}, [part])
    with pytest.raises(CheckpointError, match=rf"(?s)does not say how .* become inputs.*no {part} in processor_config"):
        read(tmp_path, config)
    (tmp_path / "processor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"(?s)does not say how images.*no preprocessor_config\.json.*try: take"):
        read(tmp_path, config)


IMAGE, MOVIE, SOUND = "image_processor", "video_processor", "feature_extractor"
REFUSED = [
    ("e2b", IMAGE, {"patch_size": 14}, "patch_size must be vision_config.patch_size, 16, found 14"),
    ("e2b", IMAGE, {"pooling_kernel_size": 2}, "vision_config.pooling_kernel_size, 3, found 2"),
    ("e2b", IMAGE, {"patch_size": "16"}, "must be an integer from 1 to 1,024, found '16'"),
    ("e2b", IMAGE, {"max_soft_tokens": 256}, "must be one of 70, 140, 280, 560, 1120, found 256"),
    ("e2b", IMAGE, {"max_soft_tokens": 280.0}, "must be one of 70"),
    ("e2b", IMAGE, {"do_resize": False}, "must be true: g4compile reads no other, found False"),
    ("e2b", IMAGE, {"do_rescale": False}, "do_rescale must be true"),
    ("e2b", IMAGE, {"do_convert_rgb": False}, "do_convert_rgb must be true"),
    ("e2b", IMAGE, {"rescale_factor": 1.0}, "rescale_factor must be 0.0039"),
    ("e2b", IMAGE, {"resample": 2}, "resample must be 3"),
    ("e2b", IMAGE, {"do_normalize": True, "image_mean": [0.5] * 3}, "image_mean must be 0 for each colour"),
    ("e2b", IMAGE, {"do_normalize": True, "image_std": [0.5] * 3}, "image_std must be 1 for each colour"),
    ("e2b", IMAGE, {"image_processor_type": "SiglipImageProcessor"}, "must be Gemma4ImageProcessor or"),
    ("12b", IMAGE, {"image_processor_type": "Gemma4ImageProcessor"}, "must be Gemma4UnifiedImageProcessor or"),
    ("12b", IMAGE, {"patch_size": 48}, "vision_config.patch_size, 16, found 48"),
    ("e2b", MOVIE, {"num_frames": 0}, "num_frames must be an integer from 1 to 256"),
    ("e2b", MOVIE, {"num_frames": 257}, "found 257"),
    ("e2b", MOVIE, {"fps": 1}, "fps must be none"),
    ("e2b", MOVIE, {"do_sample_frames": False}, "do_sample_frames must be true"),
    ("e2b", MOVIE, {"patch_size": 14}, "video_processor.patch_size must be vision_config"),
    ("e2b", SOUND, {"frame_length": 400}, r"frame_length must be 320, found 400\n.*\n.*transformers computes it"),
    ("e2b", SOUND, {"frame_length_ms": 25.0}, "frame_length must be 400, found 320"),
    ("e2b", SOUND, {"hop_length": 161}, "hop_length must be 160"),
    ("e2b", SOUND, {"fft_length": 1024}, "fft_length must be 512"),
    ("e2b", SOUND, {"fft_overdrive": True}, "fft_overdrive must be false"),
    ("e2b", SOUND, {"dither": 0.1}, "dither must be a number from 0 to 0"),
    ("e2b", SOUND, {"preemphasis": 0.97}, "preemphasis must be"),
    ("e2b", SOUND, {"input_scale_factor": 2.0}, "input_scale_factor must be"),
    ("e2b", SOUND, {"per_bin_mean": [0.0] * 128}, "per_bin_mean must be none"),
    ("e2b", SOUND, {"per_bin_stddev": [1.0] * 128}, "per_bin_stddev must be none"),
    ("e2b", SOUND, {"padding_side": "left"}, "padding_side must be right"),
    ("e2b", SOUND, {"padding_value": 1.0}, "padding_value must be"),
    ("e2b", SOUND, {"feature_size": 80}, r"feature_size must be audio_config\.subsampling_conv_channels\[0\], 128"),
    ("e2b", SOUND, {"max_frequency": 8001.0}, "max_frequency must be above min_frequency, 0, and at most half"),
    ("e2b", SOUND, {"min_frequency": 8000.0}, "max_frequency must be above min_frequency, 8000"),
    ("e2b", SOUND, {"mel_floor": 0}, "mel_floor must be"),
    ("e2b", SOUND, {"mel_floor": "0.001"}, "mel_floor must be"),
    ("e2b", SOUND, {"feature_extractor_type": "WhisperFeatureExtractor"}, "must be Gemma4AudioFeatureExtractor or"),
    ("e2b", SOUND, {"sampling_rate": 1000, "frame_length_ms": 0.4, "max_frequency": 400}, "a sample or more"),
    ("12b", SOUND, {"audio_samples_per_token": 320}, r"audio_config\.audio_embed_dim, 640, found 320"),
    ("12b", SOUND, {"feature_size": 641}, r"audio_config\.audio_embed_dim, 640, found 641"),
    ("12b", None, {"audio_seq_length": 0}, "audio_seq_length must be an integer from 1"),
    ("e2b", None, {"image_processor": []}, "image_processor must be an object"),
    ("e2b", None, {"feature_extractor": None}, "feature_extractor must be an object"),
]  # fmt: skip


@pytest.mark.parametrize(("preset", "part", "values", "message"), REFUSED, ids=range(len(REFUSED)))
def test_fields_that_are_refused(preset, part, values, message, tmp_path):
    config = written(tmp_path, preset)
    change(tmp_path, part, values)
    with pytest.raises(InputError, match=message) as found:
        read(tmp_path, config)
    assert "processor_config.json" in found.value.where and found.value.code == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("processor_config.json", b"{", "processor_config.json is not valid JSON"),
        ("processor_config.json", b"[]", "does not hold a JSON object"),
        ("processor_config.json", b"\xff", "is not UTF-8"),
        ("tokenizer_config.json", b'{"image_token": 5}', "image_token of tokenizer_config.json is 5"),
        ("tokenizer_config.json", b'{"eoi_token": ""}', "eoi_token of tokenizer_config.json is ''"),
        ("tokenizer_config.json", b'{"boa_token": {"content": null}}', "boa_token of"),
        ("tokenizer_config.json", b'{"audio_token": "<|image|>"}', "image_token and audio_token are one token"),
        ("tokenizer_config.json", b'{"eoi_token": "<|video|>"}', "video and eoi_token are one token"),
        ("tokenizer_config.json", b"5", "does not hold a JSON object"),
    ],
    ids=range(9),
)
def test_files_that_are_refused(name, content, message, tmp_path):
    config = written(tmp_path, "e2b")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, config)


def test_names_of_tokens(tmp_path):
    """Where tokenizer files may have them."""
    config = written(tmp_path, "e2b")
    for named in (
        {"image_token": "<i>", "boi_token": {"content": "<b>"}},
        {"extra_special_tokens": {"image_token": "<i>", "boi_token": "<b>"}},
        {"model_specific_special_tokens": {"image_token": "<i>", "boi_token": "<b>"}, "extra_special_tokens": ["x"]},
    ):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
        tokens = read(tmp_path, config).tokens
        assert (tokens.image, tokens.boi, tokens.eoi) == (TokenSpec("<i>", 258_880), "<b>", "<image|>")


def test_ids_of_tokens(tmp_path):
    config = {**written(tmp_path, "e2b"), "image_token_id": 7, "video_token_id": None}
    tokens = read(tmp_path, config).tokens
    assert (tokens.image.id, tokens.video.id, tokens.audio.id) == (7, 258_884, 258_881)
    with pytest.raises(CheckpointError, match="image_token_id and audio_token_id are one token"):
        read(tmp_path, {**config, "audio_token_id": 7})


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5000), st.integers(), st.floats(), st.text(max_size=5),
    st.lists(st.floats(), max_size=4), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
FIELDS = {name: sorted(read_part) for name, read_part in (
    ("image_processor", processor_schema.PATCHES), ("video_processor", processor_schema.VIDEO),
    ("feature_extractor", {**processor_schema.MEL, **processor_schema.WAVE}),
)}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    preset=st.sampled_from(["tiny-e2b", "tiny-12b"]),
    edits=st.lists(
        st.sampled_from([(part, name) for part, names in FIELDS.items() for name in names]).flatmap(
            lambda place: st.tuples(st.just(place), VALUES)
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_any_values_are_a_record_or_an_error_of_ours(preset, edits, tmp_path):
    """And what is taken is what a manifest may hold."""
    config = written(tmp_path, preset)
    for (part, name), value in edits:
        change(tmp_path, part, {name: value})
    try:
        found = read(tmp_path, config)
    except InputError as error:
        assert error.code == 2
    else:
        assert msgspec.json.decode(msgspec.json.encode(found), type=MediaSpec) == found
