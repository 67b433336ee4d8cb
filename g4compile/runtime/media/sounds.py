"""Sound files as a wave: one channel, at the rate of the model.

Source: transformers `audio_utils._load_audio_soundfile`: libsndfile decodes, channels are averaged, and soxr resamples
at high quality to `ceil(samples * rate / rate of the file)` samples. What the header states is held against the limits
first. transformers cuts what is longer than 30 seconds; here that is an error, since what is cut off is never heard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from g4compile.errors import G4Error, InputError, MachineError
from g4compile.inputs.files import Kind
from g4compile.runtime import arguments
from g4compile.runtime.media.libraries import library
from g4compile.runtime.media.records import Array
from g4compile.runtime.media.sources import Source, read_source, refuse

FORMATS = ("WAV", "FLAC", "OGG", "MP3")
MOST_CHANNELS, RATES = 8, (1000, 384_000)  # hertz
_WAVES = ("WAV", "WAVEX", "RF64")  # what libsndfile calls forms of WAV
_KIND = Kind("the sound", 256 << 20)
_FIX = f"give the whole file, as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_LOUDEST = 1_000_000  # some programs write integers as floats; of what is larger, squares and sums overflow
_BLOCK = 1 << 16  # samples of each channel that are decoded at a time


@dataclass(frozen=True)
class DecodedSound:
    """``wave``: float32 [samples], at the rate that was asked for. ``notes``: what was done to the file."""

    wave: Array
    notes: tuple[str, ...] = ()


def decode_sound(source: Source, sampling_rate: int, max_samples: int) -> DecodedSound:
    """The sound in a file, or in bytes, as one channel of ``sampling_rate`` hertz and at most ``max_samples``.

    Raises InputError for what is no sound, broken, empty, too long, of more than 8 channels, of an odd rate, and for
    samples that are no numbers of a wave (NaN, infinity, beyond 1,000,000); MachineError without soundfile, soxr or
    memory.
    """
    soundfile = library("soundfile", "reading a sound")
    data, where = read_source(source, _KIND)
    try:
        with soundfile.SoundFile(BytesIO(data)) as opened:
            _check_header(opened, sampling_rate, max_samples, where)
            rate, channels, stated = opened.samplerate, opened.channels, opened.frames
            wave = _mono(opened, max_samples * rate // sampling_rate + 1)
    except G4Error:
        raise
    except MemoryError as error:
        raise MachineError("there is not enough memory to decode the sound", where=where) from error
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        refuse(_KIND, where, error, _FIX)
    check_wave(wave, where)
    notes = [f"{channels} channels were averaged to one"] if channels > 1 else []
    if len(wave) < stated or _is_cut(data):
        notes.append(f"the file ends before the sound that it states: {len(wave):,} samples are left")
    if rate != sampling_rate:
        notes.append(f"resampled from {rate:,} Hz to {sampling_rate:,} Hz")
        wave = _resampled(wave, rate, sampling_rate)
    check_length(len(wave), sampling_rate, max_samples, where)
    return DecodedSound(wave, tuple(notes))


def sound_of(samples: Array, rate: int, sampling_rate: int, max_samples: int) -> DecodedSound:
    """``samples``, floats at ``rate`` hertz, as a wave of ``sampling_rate`` hertz.

    Raises InputError for what `check_wave` and `check_length` refuse, and for an odd rate; MachineError without soxr.
    """
    rate = arguments.integer("sampling_rate", rate, *RATES)
    check_wave(samples)
    check_length(len(samples), rate, max_samples * rate // sampling_rate)
    wave = np.ascontiguousarray(samples, np.float32)
    if rate == sampling_rate:
        return DecodedSound(wave)
    return DecodedSound(_resampled(wave, rate, sampling_rate), (f"resampled from {rate:,} Hz to {sampling_rate:,} Hz",))


def check_wave(wave: Array, where: str = "") -> None:
    """Raise InputError when ``wave`` is not float [samples], is empty, or holds what is no number of a wave."""
    if not isinstance(wave, np.ndarray) or wave.ndim != 1 or wave.dtype.kind != "f":
        found = f"{wave.dtype} {list(wave.shape)}" if isinstance(wave, np.ndarray) else type(wave).__name__
        raise InputError(f"a wave must be an array of floats [samples], got {found}")
    if not len(wave):
        raise InputError("the sound is empty", where=where, why="it has no samples")
    usable = np.abs(wave) <= _LOUDEST  # false for NaN
    if not usable.all():
        first = int(np.argmin(usable))
        raise InputError(
            "the sound has samples that are no numbers of a wave",
            where=where,
            why=f"sample {first:,} is {wave[first]:g}, the first of {len(wave) - int(usable.sum()):,}",
            fix=f"mend what wrote it: samples are from -1 to 1, and never beyond {_LOUDEST:,}",
        )


def check_length(samples: int, rate: int, most: int, where: str = "") -> None:
    """Raise InputError when ``samples`` are more than ``most``, both at ``rate`` hertz."""
    if samples > most:
        raise InputError(
            f"the sound is longer than the {most / rate:g} seconds that the model takes",
            where=where,
            why=f"it has {samples / rate:,.2f} seconds",
            fix="cut it, or give it in parts",
        )


def _check_header(opened: Any, sampling_rate: int, max_samples: int, where: str) -> None:
    form, rate, channels = opened.format, opened.samplerate, opened.channels
    if form not in (*FORMATS, *_WAVES):
        raise _KIND.refuse(f"the sound is a {form} file, which is not read", where, fix=_FIX)
    if not RATES[0] <= rate <= RATES[1]:
        why = f"it states {rate:,} samples a second"
        raise _KIND.refuse("the sound has an odd rate", where, why, f"resample it: {RATES[0]:,} to {RATES[1]:,} Hz")
    if channels > MOST_CHANNELS:
        fix = f"mix it to at most {MOST_CHANNELS} channels"
        raise _KIND.refuse(f"the sound has {channels:,} channels", where, fix=fix)
    check_length(math.ceil(opened.frames * sampling_rate / rate), sampling_rate, max_samples, where)


def _is_cut(data: bytes) -> bool:
    """Whether a WAV is shorter than its header says, which libsndfile corrects. A writer to a pipe states no size, and
    some leave out the last byte, which fills up to an even count."""
    stated = int.from_bytes(data[4:8], "little")
    return data[:4] == b"RIFF" and len(data) - 7 < stated < 0xFFFFFF00


def _mono(opened: Any, most: int) -> Array:
    """The mean of all channels, float32 [samples], at most ``most`` of them whatever the header states."""
    blocks: list[Array] = []
    with np.errstate(invalid="ignore"):  # of what is not finite; `check_wave` names it
        while sum(map(len, blocks)) < most:
            block = opened.read(_BLOCK, dtype="float32", always_2d=True).T
            if not block.size:
                break
            blocks.append(block.mean(axis=0) if len(block) > 1 else block[0])
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _resampled(wave: Array, rate: int, wanted: int) -> Array:
    soxr = library("soxr", "resampling a sound")
    samples = math.ceil(len(wave) * wanted / rate)
    made: Array = soxr.resample(wave, rate, wanted, quality="soxr_hq")
    return np.ascontiguousarray(np.pad(made, (0, max(0, samples - len(made))))[:samples], np.float32)
