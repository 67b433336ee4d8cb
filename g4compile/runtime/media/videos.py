"""Video files as frames of patches, with the time of each.

Sources: transformers `video_utils.py` (`read_video_pyav`, `default_sample_indices_fn`, `VideoMetadata.timestamps`) and
`video_processing_gemma4.py` (Gemma4VideoProcessor), or `video_processing_gemma4_unified.py` for 12B. Frame i of n is
frame `i * frames // n` of the file, and its time is its number by the average rate: of a file whose rate changes it is
not the time at which a player shows it.

The container is opened so that it can name no other file: a playlist would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, NoReturn

import numpy as np

from g4compile.bundle.media import PatchSpec, VideoSpec
from g4compile.errors import G4Error, InputError, MachineError
from g4compile.inputs.files import Kind
from g4compile.runtime import arguments
from g4compile.runtime.media.libraries import library
from g4compile.runtime.media.patches import image_inputs, with_budget
from g4compile.runtime.media.records import Array, ImageInputs, VideoInputs
from g4compile.runtime.media.sources import Source, open_source, refuse

MOST_FRAMES, MOST_SAMPLED = 36_000, 256  # in a file, and of them for the model
LARGEST_SIDE, MOST_PIXELS = 8192, 7680 * 4320
FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "gif")  # names of FFmpeg's readers
_KIND = Kind("the video", 4 << 30)
_FIX = "give the whole file, as MP4, MOV, WebM, Matroska, AVI, MPEG-TS or GIF"
_RATE = 24.0  # frames a second where the file states none (transformers' `replace_video_token`)


def video_inputs(source: Source, spec: VideoSpec, frames: int | None = None, budget: int | None = None) -> VideoInputs:
    """The video in a file, or in bytes: ``frames`` of it (1 to 256; None: what ``spec`` says), or all if it has fewer,
    each of at most ``budget`` tokens (None: what ``spec`` says).

    Raises InputError for what is no video, broken or too large (more than 36,000 frames, a side of more than 8,192
    pixels, more than 33,177,600 in a frame, a file of more than 4 GiB), and for frames of several sizes; MachineError
    without PyAV, Pillow or memory.
    """
    count = spec.num_frames if frames is None else arguments.integer("frames", frames, 1, MOST_SAMPLED)
    patches = with_budget(spec.patches, budget)
    av = library("av", "reading a video")
    file, where = open_source(source, _KIND)
    try:
        with file:
            return _sampled(file, where, count, patches)
    except G4Error:
        raise
    except MemoryError as error:
        raise MachineError("there is not enough memory to decode the video", where=where) from error
    except (av.error.FFmpegError, OSError, ValueError, LookupError, RuntimeError) as error:
        refuse(_KIND, where, error, _FIX)


def frame_inputs(
    pixels: Sequence[Array] | Array,
    spec: VideoSpec,
    frames: int | None = None,
    budget: int | None = None,
    rate: float | None = None,
) -> VideoInputs:
    """As `video_inputs`, of all frames of a video, uint8 [height, width, 3] each and of one size, of which ``rate`` are
    shown in a second (None: 24). Raises InputError for none or too many, and for what are no such arrays."""
    count = spec.num_frames if frames is None else arguments.integer("frames", frames, 1, MOST_SAMPLED)
    total, shown = len(pixels), _RATE if rate is None else arguments.real("rate", rate, 1e-3, 1e6)
    if not 0 < total <= MOST_FRAMES:
        raise InputError(f"a video has 1 to {MOST_FRAMES:,} frames, got {total:,}")
    chosen, patches = frame_numbers(total, count), with_budget(spec.patches, budget)
    made = [image_inputs(pixels[number], patches) for number in chosen]
    if len({pixels[number].shape for number in chosen}) > 1:
        raise InputError("the video has frames of several sizes", fix="make them one size")
    notes = [] if rate else [f"no rate was given: times are those of {_RATE:g} frames a second"]
    if total < count:
        notes.append(_fewer(count, total))
    return _together(made, tuple(number / shown for number in chosen), tuple(notes))


def frame_numbers(total: int, count: int) -> list[int]:
    """Which ``count`` of ``total`` frames are taken: evenly from the first, and all where there are no more."""
    count = min(count, total)
    return [number * total // count for number in range(count)]


def _sampled(file: BinaryIO, where: str, count: int, patches: PatchSpec) -> VideoInputs:
    total, rate = _looked_at(file, where)
    notes = [] if rate else [f"the file states no rate: times are those of {_RATE:g} frames a second"]
    made, found, turned = _decoded(file, where, frame_numbers(total, count), patches)
    if len(made) < min(count, total):
        notes.append(f"of {total:,} frames that the file has, only the first {found:,} can be decoded")
        total = found
        made, _, turned = _decoded(file, where, frame_numbers(total, count), patches)
    if total < count:
        notes.append(_fewer(count, total))
    if turned:
        notes.append(f"the file asks for its frames to be turned by {turned:g} degrees: they are not")
    seconds = tuple(number / (rate or _RATE) for number in frame_numbers(total, count))
    return _together(made, seconds, tuple(notes))


def _together(made: Sequence[ImageInputs], seconds: tuple[float, ...], notes: tuple[str, ...]) -> VideoInputs:
    values, positions = ([getattr(one, name) for one in made] for name in ("pixel_values", "pixel_position_ids"))
    return VideoInputs(np.stack(values), np.stack(positions), made[0].tokens, seconds, notes)


def _fewer(count: int, total: int) -> str:
    return f"the video has fewer than {count} frames: all {total} are used"


def _opened(file: BinaryIO) -> Any:
    """The container in ``file``, from its beginning."""
    file.seek(0)
    av = library("av", "reading a video")
    return av.open(file, container_options={"format_whitelist": ",".join(FORMATS)}, io_open=_no_other_file)


def _no_other_file(url: str, *_: Any) -> NoReturn:
    raise PermissionError(f"the video names another file, which is not opened: {url!r}")


def _looked_at(file: BinaryIO, where: str) -> tuple[int, float]:
    """Frames in the file and frames a second, 0 where the file does not say; nothing is decoded."""
    with _opened(file) as container:
        if not container.streams.video:
            raise _KIND.refuse("the file holds no video", where, "it has no video stream", _FIX)
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise _KIND.refuse(
                "the video cannot be decoded", where, "FFmpeg does not know how its frames are coded", _FIX
            )
        _check_size(stream.codec_context.width, stream.codec_context.height, where)
        rate, total = float(stream.average_rate or 0), 0
        for packet in container.demux(stream):
            total += packet.size > 0
            if total > MOST_FRAMES:
                fix = "cut it, or take fewer frames a second"
                raise _KIND.refuse(f"the video is too long: it has more than {MOST_FRAMES:,} frames", where, fix=fix)
    if not total:
        raise _KIND.refuse("the video is empty", where, "it has no frames")
    return total, rate


def _decoded(
    file: BinaryIO, where: str, numbers: list[int], patches: PatchSpec
) -> tuple[list[ImageInputs], int, float]:
    """The frames ``numbers``, as far as they can be decoded; how many were, with those between; and by how many degrees
    the file asks for them to be turned."""
    wanted, made, sizes, turned, found = set(numbers), [], set(), 0.0, 0
    with _opened(file) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # where the container does not state a size
        for found, frame in enumerate(container.decode(stream), 1):
            if found - 1 in wanted:
                _check_size(frame.width, frame.height, where)
                sizes.add(f"{frame.width} x {frame.height}")
                if len(sizes) > 1:
                    why = " and ".join(sorted(sizes))
                    raise _KIND.refuse("the video has frames of several sizes", where, why, "encode it in one size")
                made.append(image_inputs(frame.to_ndarray(format="rgb24"), patches))
                turned = turned or float(frame.rotation)
            if found > numbers[-1]:
                break
    if not found:
        raise _KIND.refuse("the video cannot be decoded", where, "none of its frames can be", _FIX)
    return made, found, turned


def _check_size(width: int, height: int, where: str) -> None:
    if max(width, height) > LARGEST_SIDE or width * height > MOST_PIXELS:
        raise InputError(
            "the frames of the video are too large",
            where=where,
            why=f"they are {width:,} pixels wide and {height:,} high",
            fix=f"make them smaller: a side of at most {LARGEST_SIDE:,} pixels, and at most {MOST_PIXELS:,} in all",
        )
