"""Image files: what transformers makes of them, and files that are none."""

import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.image_utils import load_image

from g4compile.errors import G4Error, InputError, MachineError
from g4compile.runtime.media import images
from g4compile.runtime.media.images import LARGEST_SIDE, MOST_PIXELS, decode_image


def picture(mode="RGB", size=(23, 17)):
    """A picture of ``mode`` with all sorts of values."""
    numbers = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 4), np.uint8)
    whole = Image.fromarray(numbers, "RGBA")
    if mode in ("RGBA", "LA", "PA"):
        return whole.convert(mode) if mode != "PA" else whole.convert("RGB").convert("P").convert("PA")
    return whole.convert("RGB").convert(mode)


def saved(image, form, **options):
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def theirs(data, tmp_path):
    """What transformers loads of a file."""
    file = tmp_path / "image"
    file.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about transparency
        return np.asarray(load_image(str(file)))


FILES = [
    *((mode, "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
    *((mode, "JPEG") for mode in ("RGB", "L", "CMYK")),
    *((mode, "WEBP") for mode in ("RGB", "RGBA")),
    *((mode, "TIFF") for mode in ("RGB", "RGBA", "CMYK", "L", "LAB", "P")),
    ("P", "GIF"), ("RGB", "BMP"), ("RGB", "PPM"), ("RGB", "AVIF"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "form"), FILES)
def test_modes_and_formats(mode, form, tmp_path):
    data = saved(picture(mode), form)
    found = decode_image(data)
    assert found.pixels.dtype == np.uint8 and found.pixels.shape == (17, 23, 3)
    np.testing.assert_array_equal(found.pixels, theirs(data, tmp_path))
    assert any("transparent" in note for note in found.notes) == (mode in ("RGBA", "LA"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation(orientation, form, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), form, exif=exif)
    found = decode_image(data).pixels
    np.testing.assert_array_equal(found, theirs(data, tmp_path))
    assert (found.shape == (23, 17, 3)) == (orientation > 4)


def test_a_palette_with_transparency(tmp_path):
    data = saved(picture("P"), "PNG", transparency=bytes(range(256)))
    found = decode_image(data)
    np.testing.assert_array_equal(found.pixels, theirs(data, tmp_path))
    assert "transparent" in found.notes[0]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_images_are_the_first_and_said(form, tmp_path):
    frames = [picture(size=(20, 10)), Image.new("RGB", (20, 10), "red"), Image.new("RGB", (20, 10), "blue")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    found = decode_image(data)
    np.testing.assert_array_equal(found.pixels, theirs(data, tmp_path))
    assert any("the first is used" in note for note in found.notes)


def test_nothing_is_said_of_a_plain_image():
    assert decode_image(saved(picture(), "PNG")).notes == ()


def test_a_file_and_its_bytes_are_the_same(tmp_path):
    data = saved(picture(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), bytearray(data)):
        np.testing.assert_array_equal(decode_image(source).pixels, decode_image(data).pixels)


def deep(dtype):
    return Image.fromarray(np.arange(64).reshape(8, 8).astype(dtype) * 1000)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_refused(form):
    with pytest.raises(InputError, match=r"(?s)more than 8 bits.*I;16.*white.*try: save it with 8 bits"):
        decode_image(saved(deep(np.uint16), form))


def test_grey_of_32_bits_is_refused():
    for dtype in (np.int32, np.float32):
        with pytest.raises(InputError, match="more than 8 bits"):
            decode_image(saved(deep(dtype), "TIFF"))


def header(width, height):
    """A PNG that is nothing but its header."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(
    "size", [(50_000, 2), (2, LARGEST_SIDE + 1), (32_000, MOST_PIXELS // 32_000 + 1), (50_000, 50_000), (2**31 - 1, 9)]
)
def test_too_large_is_refused_before_a_pixel_is_decoded(size, monkeypatch):
    def decoded(*_):
        raise AssertionError("its pixels are decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    with pytest.raises(InputError, match=r"(?s)too large.*try: make it smaller: .* 32,768 pixels"):
        decode_image(header(*size))


def test_the_largest_are_not_refused():
    """Only their pixels are missing."""
    for size in ((LARGEST_SIDE, 1), (1, LARGEST_SIDE), (32_000, MOST_PIXELS // 32_000)):
        with pytest.raises(InputError, match="cannot be decoded"):
            decode_image(header(*size))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the image is empty"),
        (b"no image at all", r"(?s)no image that can be read.*Pillow knows no file that.*try: give an image as PNG"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 99, r"(?s)no image.*HEIF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
        (saved(picture(size=(90, 90)), "PNG")[:-200], "cannot be decoded"),
        (saved(picture(size=(90, 90)), "JPEG")[:-300], r"(?s)cannot be decoded.*truncated"),
        (saved(picture(size=(90, 90)), "GIF")[:1500], "cannot be decoded"),
        (saved(picture(size=(90, 90)), "BMP")[:90], "cannot be decoded"),
    ],
    ids=range(8),
)
def test_no_images(data, message):
    with pytest.raises(InputError, match=message) as found:
        decode_image(data)
    assert found.value.code == 2 and found.value.where


def test_files_that_are_none(tmp_path):
    for path, message in ((tmp_path / "missing.png", "is missing"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=message):
            decode_image(path)
    for source in (5, None, "", ["a.png"]):
        with pytest.raises(InputError, match="the image is"):
            decode_image(source)


def test_a_file_with_too_many_bytes(tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate((128 << 20) + 1)
    with pytest.raises(InputError, match="more than the 134,217,728"):
        decode_image(tmp_path / "large.png")


def test_without_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MachineError, match=r"(?s)needs .* PIL, .*pip install 'g4compile\[media\]'") as found:
        decode_image(b"x")
    assert found.value.code == 3


def test_without_memory(monkeypatch):
    def none(_):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", none)
    with pytest.raises(MachineError, match="not enough memory"):
        decode_image(saved(picture(), "PNG"))


SEEDS = [saved(picture(mode), form) for mode, form in FILES]


def mutated(data, edits):
    data = bytearray(data)
    for place, value in edits:
        data[place % len(data)] = value
    return bytes(data)


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12)


def check_any_bytes(seed, edits, cut):
    try:
        pixels = decode_image(mutated(SEEDS[seed], edits)[:cut]).pixels
    except G4Error as error:
        assert error.code in (2, 3)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.size <= 3 * MOST_PIXELS


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, len(SEEDS) - 1), edits=EDITS, cut=st.one_of(st.none(), st.integers(1, 4000)))
def test_any_bytes_are_an_image_or_an_error_of_ours(seed, edits, cut):
    check_any_bytes(seed, edits, cut)


@pytest.mark.nightly
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, len(SEEDS) - 1), edits=EDITS, cut=st.one_of(st.none(), st.integers(1, 4000)))
def test_many_more_bytes(seed, edits, cut):
    check_any_bytes(seed, edits, cut)


def test_only_formats_that_are_named_are_opened():
    """Pillow has some 40 more, one of which runs a program."""
    assert set(images.FORMATS) <= set(Image.OPEN)
    for form in ("ICO", "TGA", "SGI", "PCX", "DDS"):
        with pytest.raises(InputError, match="no image that can be read"):
            decode_image(saved(picture(size=(16, 16)), form))
