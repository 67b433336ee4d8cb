"""Image files as pixels: upright, RGB, 8 bits a channel.

Source: transformers `image_utils.load_image`: Pillow opens the file, the orientation of EXIF is applied, and
`convert("RGB")` does the rest. Where that would lose the picture (grey of 16 bits, which it clips to 255), the file is
refused. What is opened has a size that its header states, which is checked before a pixel is decoded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from g4compile.errors import G4Error, MachineError
from g4compile.inputs.files import Kind
from g4compile.runtime.media.libraries import library
from g4compile.runtime.media.records import Array
from g4compile.runtime.media.sources import Source, read_source, refuse

LARGEST_SIDE, MOST_PIXELS = 32_768, 80_000_000
# Of Pillow's formats: not those that run another program (EPS) or that nobody sends.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_KIND = Kind("the image", 128 << 20)
_FIX = f"give an image as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1")  # of cameras; Pillow reads none of them
_CLIPPED = ("I", "F")  # modes with more than 8 bits a channel


@dataclass(frozen=True)
class DecodedImage:
    """``pixels``: uint8 [height, width, 3]. ``notes``: what of the file is not in them."""

    pixels: Array
    notes: tuple[str, ...] = ()


def decode_image(source: Source) -> DecodedImage:
    """The image in a file, or in bytes. The first one, where the file holds several.

    Raises InputError for what is no image, broken or too large (a side of more than 32,768 pixels, more than 80 million
    in all, a file of more than 128 MiB), and for grey values of more than 8 bits; MachineError without Pillow, or
    memory.
    """
    pillow = library("PIL.Image", "reading an image")
    turned = library("PIL.ImageOps", "reading an image").exif_transpose
    data, where = read_source(source, _KIND)
    pillow.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files; what matters of them is an error or a note
            opened = pillow.open(BytesIO(data), formats=[name for name in FORMATS if name in pillow.OPEN])
            _check_size(opened.size[0], opened.size[1], where)
            _check_mode(opened.mode, where)
            notes = _notes(opened)
            pixels = np.asarray(turned(opened).convert("RGB"))
    except G4Error:
        raise
    except MemoryError as error:
        raise MachineError("there is not enough memory to decode the image", where=where) from error
    except pillow.DecompressionBombError as error:  # Pillow's own limit, which is above ours
        raise _too_large(where, str(error)) from error
    except pillow.UnidentifiedImageError as error:
        heif = data[8:12] in _HEIF
        why = "it is a HEIF image, which Pillow does not read" if heif else "Pillow knows no file that begins so"
        raise _KIND.refuse("the file is no image that can be read", where, why, _FIX) from error
    except Exception as error:  # Pillow reads many formats in Python, and bad bytes lead it to any error there is
        refuse(_KIND, where, error, "give the whole file, or save the image again")
    return DecodedImage(pixels, notes)


def _check_size(width: int, height: int, where: str) -> None:
    if max(width, height) > LARGEST_SIDE or width * height > MOST_PIXELS:
        raise _too_large(where, f"it is {width:,} pixels wide and {height:,} high")


def _too_large(where: str, why: str) -> G4Error:
    most = f"a side of at most {LARGEST_SIDE:,} pixels, and at most {MOST_PIXELS:,} in all"
    return _KIND.refuse("the image is too large", where, why, f"make it smaller: {most}")


def _check_mode(mode: str, where: str) -> None:
    if mode.startswith(_CLIPPED):
        raise _KIND.refuse(
            "the image has grey values of more than 8 bits",
            where,
            f"its mode in Pillow is {mode}, of which transformers makes white wherever a value is above 255",
            "save it with 8 bits a channel",
        )


def _notes(opened: Any) -> tuple[str, ...]:
    notes = []
    if getattr(opened, "is_animated", False):
        notes.append("the file holds several images: the first is used")
    if opened.has_transparency_data:
        notes.append("the image has transparent places: they are shown in the colours that the file has there")
    return tuple(notes)
