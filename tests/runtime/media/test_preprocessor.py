"""From files to the inputs of a model, for synthetic checkpoints: against transformers' classes that load from them."""

import io
import subprocess
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
from PIL import Image
from transformers import AutoFeatureExtractor, AutoImageProcessor
from transformers.video_utils import VideoMetadata

from g4compile.bundle.media import BUDGETS
from g4compile.errors import InputError
from g4compile.runtime.media.placeholders import Media, place, write_out
from g4compile.runtime.media.preprocessor import Preprocessor
from g4compile.runtime.text import TextCodec
from g4compile.weights.processors import read_media
from tests.conftest import VARIANTS
from tests.runtime.media.clips import clip

PIXELS = np.random.default_rng(5).integers(0, 256, (90, 140, 3), np.uint8)
WAVE = (0.3 * np.random.default_rng(6).standard_normal(9000)).astype(np.float32)


@pytest.fixture(scope="module")
def preprocessors(checkpoints):
    def get(variant):
        checkpoint = checkpoints(variant)
        return Preprocessor(read_media(checkpoint.folder, checkpoint.facts))

    return get


@pytest.fixture
def files(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", WAVE, 16_000, subtype="FLOAT")
    (tmp_path / "a.mp4").write_bytes(clip(40))
    return tmp_path


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b", "tiny-26b-a4b", "tiny-31b"])
def test_images(variant, preprocessors, checkpoints, files):
    theirs = AutoImageProcessor.from_pretrained(checkpoints(variant).folder, backend="pil")
    for budget in (None, *BUDGETS[:2]):
        more = {} if budget is None else {"max_soft_tokens": budget}
        want = theirs(Image.open(files / "a.png"), return_tensors="np", **more)
        ours = preprocessors(variant).image(files / "a.png", budget)
        np.testing.assert_array_equal(ours.pixel_values, want["pixel_values"][0])
        np.testing.assert_array_equal(ours.pixel_position_ids, want["image_position_ids"][0])
        assert [ours.tokens] == list(want["num_soft_tokens_per_image"])


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b", "tiny-12b"])
def test_sounds(variant, preprocessors, checkpoints, files):
    want = AutoFeatureExtractor.from_pretrained(checkpoints(variant).folder)([WAVE], return_tensors="np")
    ours = preprocessors(variant).audio(files / "a.wav")
    np.testing.assert_allclose(ours.input_features, want["input_features"][0], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(ours.input_features_mask, want["input_features_mask"][0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_videos(variant, preprocessors, files):
    ours = preprocessors(variant).video(files / "a.mp4")
    spec = preprocessors(variant).spec.video.patches
    most = 70 * spec.pooling_kernel_size**2
    assert ours.pixel_values.shape == (32, most, spec.patch_size**2 * 3)
    assert len(ours.seconds) == 32 and ours.tokens <= 70


def test_what_a_model_does_not_take(preprocessors, checkpoints, files):
    with pytest.raises(InputError, match="this model takes no sounds"):
        preprocessors("tiny-31b").audio(files / "a.wav")
    spec = preprocessors("tiny-31b").spec
    blind = Preprocessor(type(spec)(spec.tokens, None, None, None))
    for read, file, name in ((blind.image, "a.png", "images"), (blind.video, "a.mp4", "videos")):
        with pytest.raises(InputError, match=f"this model takes no {name}"):
            read(files / file)


def test_notes_come_with_the_inputs(preprocessors, files):
    data = io.BytesIO()
    soundfile.write(data, np.stack([WAVE, WAVE], 1), 48_000, format="FLAC")
    notes = preprocessors("tiny-e2b").audio(data.getvalue()).notes
    assert notes == ("2 channels were averaged to one", "resampled from 48,000 Hz to 16,000 Hz")
    data = io.BytesIO()
    Image.fromarray(PIXELS).convert("RGBA").save(data, "PNG")
    assert "transparent" in preprocessors("tiny-e2b").image(data.getvalue()).notes[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_chat_with_everything(variant, preprocessors, checkpoints, files):
    """Template, tokenizer and placeholders of a synthetic checkpoint fit together."""
    made = preprocessors(variant)
    hears = made.spec.audio is not None
    media = everything(made, files)
    items = [{"type": "text", "text": "See"}, {"type": "image"}, {"type": "video"}]
    content = [*items, {"type": "audio"}] if hears else items
    bundle = SimpleNamespace(folder=checkpoints(variant).folder, manifest=SimpleNamespace(bos_token_id=2))
    codec = TextCodec(bundle)
    text = write_out(codec.render_chat([{"role": "user", "content": content}]), media, made.spec.tokens)
    placed = place(codec.encode(text), media, made.spec.tokens)
    codec.close()
    counts = [int((placed.mm_token_type_ids == kind).sum()) for kind in (1, 2, 3)]
    assert counts == [media.images[0].tokens, 2 * media.videos[0].tokens, media.audios[0].tokens if hears else 0]
    assert [span.kind for span in placed.spans] == [1, 2, 2, *([3] if hears else [])]


def everything(made, files):
    """An image, a video and, for a model that hears, a sound."""
    sounds = [made.audio(files / "a.wav")] if made.spec.audio is not None else []
    return Media([made.image(files / "a.png", 70)], [made.video(files / "a.mp4", 2)], sounds)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_processor_that_transformers_loads(variant, preprocessors, checkpoints, files):
    """AutoProcessor, which needs torchvision: the same ids and kinds of tokens, and features of the same shape."""
    pytest.importorskip("torchvision", reason="torchvision is not installed, nor needed but for this test")
    from transformers import AutoProcessor

    made, theirs = preprocessors(variant), AutoProcessor.from_pretrained(checkpoints(variant).folder)
    media = everything(made, files)
    kinds = ["image", "video", *(["audio"] if media.audios else [])]
    chat = [{"role": "user", "content": [{"type": "text", "text": " what is it? "}, *({"type": one} for one in kinds)]}]
    text = theirs.apply_chat_template(chat, add_generation_prompt=True)
    with av.open(str(files / "a.mp4")) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    want = theirs(
        text=text, images=[[Image.open(files / "a.png")]], videos=[frames], audio=[WAVE] if media.audios else None,
        images_kwargs={"max_soft_tokens": 70}, return_tensors="np", text_kwargs={"add_special_tokens": False},
        videos_kwargs={"num_frames": 2, "video_metadata": [VideoMetadata(total_num_frames=40, fps=25.0)]},
    )  # fmt: skip
    ids = theirs.tokenizer(write_out(text, media, made.spec.tokens), add_special_tokens=False)["input_ids"]
    placed = place(ids, media, made.spec.tokens)
    np.testing.assert_array_equal(placed.input_ids, want["input_ids"][0])
    np.testing.assert_array_equal(placed.mm_token_type_ids, want["mm_token_type_ids"][0])
    assert media.images[0].pixel_values.shape == want["pixel_values"][0].shape
    np.testing.assert_array_equal(media.images[0].pixel_position_ids, want["image_position_ids"][0])
    assert media.videos[0].pixel_values.shape == want["pixel_values_videos"].shape
    np.testing.assert_array_equal(media.videos[0].pixel_position_ids, want["video_position_ids"])
    if media.audios:
        np.testing.assert_allclose(media.audios[0].input_features, want["input_features"][0], rtol=0, atol=1e-4)


def test_nothing_heavy_is_imported():
    """Neither torch nor a library of the extra `media` before a file is read."""
    code = (
        "import sys, g4compile.runtime.media.preprocessor\n"
        "assert not {'torch', 'transformers', 'PIL', 'av', 'soundfile', 'soxr'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
