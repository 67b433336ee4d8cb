"""Videos: the frames, times and patches of transformers, and files that are none."""

import functools
import io
import sys

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.video_utils import VideoMetadata, default_sample_indices_fn, load_video

from g4compile.errors import G4Error, InputError, MachineError
from g4compile.runtime.media import videos
from g4compile.runtime.media.patches import image_inputs
from g4compile.runtime.media.videos import frame_numbers, video_inputs
from tests.runtime.media.clips import CONTAINERS, clip
from tests.runtime.media.specs import UNIFIED_VIDEO, VIDEO

cached = functools.cache(clip)


def theirs(data, tmp_path, frames=32):
    """The frames that transformers reads with PyAV, and what it says of them."""
    file = tmp_path / "video"
    file.write_bytes(data)
    return load_video(
        str(file), backend="pyav", sample_indices_fn=functools.partial(default_sample_indices_fn, num_frames=frames)
    )


@settings(max_examples=300, deadline=None)
@given(total=st.integers(1, 40_000), count=st.integers(1, 256))
def test_which_frames(total, count):
    count = min(total, count)
    want = default_sample_indices_fn(VideoMetadata(total), num_frames=count)
    assert frame_numbers(total, count) == want.tolist()


@pytest.mark.parametrize("container", ["mp4", "mov", "avi"])
@pytest.mark.parametrize(("total", "frames"), [(40, 32), (33, 5), (7, 7), (40, 1)])
def test_frames_and_times_are_those_of_transformers(container, total, frames, tmp_path):
    data = cached(total, container=container)
    pictures, metadata = theirs(data, tmp_path, frames)
    ours = video_inputs(data, VIDEO, frames)
    assert ours.pixel_values.shape == (frames, 630, 768) and ours.pixel_values.dtype == np.float32
    assert ours.pixel_position_ids.shape == (frames, 630, 2) and ours.pixel_position_ids.dtype == np.int64
    assert ours.seconds == tuple(metadata.timestamps) and ours.notes == ()
    for at, picture in enumerate(pictures):
        want = image_inputs(picture, VIDEO.patches)
        np.testing.assert_array_equal(ours.pixel_values[at], want.pixel_values)
        np.testing.assert_array_equal(ours.pixel_position_ids[at], want.pixel_position_ids)
        assert ours.tokens == want.tokens


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container):
    """Those without a count of frames too, which transformers' reader with PyAV refuses."""
    ours = video_inputs(cached(40, container=container), VIDEO)
    assert len(ours.pixel_values) == len(ours.seconds) == 32
    assert ours.seconds == tuple(number / 25 for number in frame_numbers(40, 32))
    reds = ours.pixel_values[:, 0, 0] * 255  # each frame is 6 redder than the one before
    assert np.abs(reds - 6 * np.array(frame_numbers(40, 32))).max() < 40


@pytest.mark.parametrize("size", [(480, 336), (64, 48), (200, 90), (50, 300)])
def test_the_processor_of_transformers(size):
    """It needs torchvision. Frames of their final size are equal. Others are resized by torchvision's own bicubic
    filter: on noise it is up to 24 of 255 steps from Pillow's, by which images are judged."""
    pytest.importorskip("torchvision", reason="torchvision is not installed, nor needed but for this test")
    from transformers.models.gemma4.video_processing_gemma4 import Gemma4VideoProcessor
    from transformers.models.gemma4_unified.video_processing_gemma4_unified import Gemma4UnifiedVideoProcessor

    data = clip(35, size)
    with av.open(io.BytesIO(data)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    for spec, processor in ((VIDEO, Gemma4VideoProcessor()), (UNIFIED_VIDEO, Gemma4UnifiedVideoProcessor())):
        want = processor([frames], return_tensors="np", return_metadata=True)
        ours = video_inputs(data, spec)
        np.testing.assert_array_equal(ours.pixel_position_ids, want["video_position_ids"])
        assert ours.pixel_values.shape == want["pixel_values_videos"].shape
        difference = np.abs(ours.pixel_values - want["pixel_values_videos"])
        assert difference.max() == 0 if size == (480, 336) else difference.mean() < 0.5 / 255
        assert [ours.tokens] == list(want["num_soft_tokens_per_video"])
        assert len(ours.seconds) == want["num_frames_per_video"][0]


def test_fewer_frames_than_are_wanted():
    ours = video_inputs(cached(7), VIDEO)
    assert len(ours.pixel_values) == 7 and ours.notes == ("the video has fewer than 32 frames: all 7 are used",)


def test_a_budget_and_a_count_of_frames():
    ours = video_inputs(cached(40), VIDEO, frames=3, budget=280)
    assert ours.pixel_values.shape == (3, 2520, 768) and 70 < ours.tokens <= 280
    assert video_inputs(cached(40), UNIFIED_VIDEO, frames=2).pixel_values.shape == (2, 70, 6912)


@pytest.mark.skipif(not hasattr(VideoStream, "set_display_rotation"), reason="this PyAV writes no such video")
def test_a_video_that_is_turned_says_so():
    ours = video_inputs(clip(4, turned=90), VIDEO)
    assert any("turned by" in note and "90 degrees" in note for note in ours.notes)


def test_a_file_is_as_its_bytes(tmp_path):
    (tmp_path / "a.mp4").write_bytes(cached(40))
    for source in (tmp_path / "a.mp4", str(tmp_path / "a.mp4")):
        np.testing.assert_array_equal(
            video_inputs(source, VIDEO, 2).pixel_values, video_inputs(cached(40), VIDEO, 2).pixel_values
        )


def test_frames_that_cannot_be_decoded_are_left_out_and_said(monkeypatch):
    """As when a container counts frames that are never shown."""
    real = videos._opened

    class Short:
        def __init__(self, container):
            self.container, self.streams, self.demux = container, container.streams, container.demux

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.container.close()

        def decode(self, stream):
            yield from (frame for frame, _ in zip(self.container.decode(stream), range(20), strict=False))

    monkeypatch.setattr(videos, "_opened", lambda file: Short(real(file)))
    ours = video_inputs(cached(40), VIDEO, 10)
    assert ours.notes == ("of 40 frames that the file has, only the first 20 can be decoded",)
    assert ours.seconds == tuple(number / 25 for number in frame_numbers(20, 10))


def sound_only():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as made:
        stream = made.add_stream("aac", rate=16_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode()]:
            made.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be decoded"),
        (b"no video at all", r"(?s)cannot be decoded.*try: give the whole file, as MP4"),
        (cached(40)[:600], "cannot be decoded"),
        (cached(40).replace(b"avc1", b"none"), r"(?s)cannot be decoded.*not know how its frames are coded"),
        (sound_only(), r"(?s)holds no video.*no video stream"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be decoded"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "cannot be decoded"),
    ],
    ids=range(7),
)
def test_no_videos(data, message):
    with pytest.raises(InputError, match=message) as found:
        video_inputs(data, VIDEO)
    assert found.value.code == 2 and found.value.where


def test_a_list_of_files_opens_none(tmp_path, monkeypatch):
    """FFmpeg's reader of lists would open what it names beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(cached(40))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    with av.open("list.mp4") as container:
        assert container.format.name == "concat"
    with pytest.raises(InputError, match="cannot be decoded"):
        video_inputs(tmp_path / "list.mp4", VIDEO)


def test_files_that_are_none(tmp_path):
    for path, message in ((tmp_path / "missing.mp4", "is missing"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=message):
            video_inputs(path, VIDEO)
    for source in (5, None, "", "http://localhost/a.mp4"):
        with pytest.raises(InputError, match="the video is"):
            video_inputs(source, VIDEO)


@pytest.mark.parametrize("frames", [0, -1, 257, 2.0, "2", True])
def test_counts_of_frames_that_are_none(frames):
    with pytest.raises(InputError, match=r"(?s)frames is .*an integer from 1 to 256"):
        video_inputs(cached(7), VIDEO, frames)


def test_budgets_that_are_none():
    with pytest.raises(InputError, match="budget is 71"):
        video_inputs(cached(7), VIDEO, budget=71)


def test_too_many_frames(monkeypatch):
    monkeypatch.setattr(videos, "MOST_FRAMES", 39)
    with pytest.raises(InputError, match=r"(?s)too long: it has more than 39 frames.*try: cut it"):
        video_inputs(cached(40), VIDEO)


def test_frames_that_are_too_large(monkeypatch):
    monkeypatch.setattr(videos, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match=r"(?s)frames of the video are too large.*64 pixels wide and 48 high"):
        video_inputs(cached(40), VIDEO)


def test_frames_that_are_larger_than_the_container_says(monkeypatch):
    """The decoder has the limit too."""
    monkeypatch.setattr(videos, "_check_size", lambda *_: None)
    assert len(video_inputs(cached(7), VIDEO).seconds) == 7
    monkeypatch.setattr(videos, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match="cannot be decoded"):
        video_inputs(cached(7), VIDEO)


def test_frames_of_several_sizes():
    """Two videos of MPEG-TS, one behind the other."""
    both = clip(5, container="mpegts") + clip(5, (80, 64), container="mpegts")
    with pytest.raises(InputError, match=r"(?s)several sizes.*64 x 48 and 80 x 64"):
        video_inputs(both, VIDEO)


@pytest.mark.parametrize("module", ["av", "PIL.Image"])
def test_without_a_library(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MachineError, match=r"(?s)needs the Python package (av|PIL),.*pip install 'g4compile\[media\]'"):
        video_inputs(cached(7), VIDEO)


def test_without_memory(monkeypatch):
    def none(*_):
        raise MemoryError

    monkeypatch.setattr(videos, "image_inputs", none)
    with pytest.raises(MachineError, match="not enough memory"):
        video_inputs(cached(7), VIDEO)


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12)
ALL = sorted(CONTAINERS)


def check_any_bytes(container, edits, cut):
    data = bytearray(cached(40, container=container))
    for place, value in edits:
        data[place % len(data)] = value
    try:
        made = video_inputs(bytes(data[:cut]), VIDEO, 2)
    except G4Error as error:
        assert error.code in (2, 3)
    else:
        assert made.pixel_values.shape[0] == len(made.seconds) in (1, 2)


@settings(max_examples=40, deadline=None)
@given(container=st.sampled_from(ALL), edits=EDITS, cut=st.one_of(st.none(), st.integers(1, 9000)))
def test_any_bytes_are_a_video_or_an_error_of_ours(container, edits, cut):
    check_any_bytes(container, edits, cut)


@pytest.mark.nightly
@settings(max_examples=3000, deadline=None)
@given(container=st.sampled_from(ALL), edits=EDITS, cut=st.one_of(st.none(), st.integers(1, 9000)))
def test_many_more_bytes(container, edits, cut):
    check_any_bytes(container, edits, cut)
