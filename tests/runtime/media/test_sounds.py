"""Sound files: the wave that transformers loads, and files that are none."""

import io
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.audio_utils import load_audio

from g4compile.errors import G4Error, InputError, MachineError
from g4compile.runtime.media.sounds import MOST_CHANNELS, check_wave, decode_sound

LIMIT = 480_000


def tone(samples, rate=16_000, channels=1, seed=0):
    """Tones and noise, float32 [samples, channels]."""
    random = np.random.default_rng(seed)
    time = np.arange(samples)[:, None] / rate
    wave = 0.4 * np.sin(2 * np.pi * np.array([[440.0 * (1 + one) for one in range(channels)]]) * time)
    return (wave + 0.05 * random.standard_normal((samples, channels))).astype(np.float32)


def saved(wave, rate=16_000, form="WAV", subtype=None):
    data = io.BytesIO()
    soundfile.write(data, wave, rate, format=form, subtype=subtype)
    return data.getvalue()


def theirs(data, tmp_path, suffix="wav"):
    """What transformers loads of a file."""
    file = tmp_path / f"sound.{suffix}"
    file.write_bytes(data)
    return load_audio(str(file), 16_000, backend="soundfile")


FILES = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("WAV", "PCM_U8"), ("WAV", "ULAW"), ("WAVEX", "PCM_16"),
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "subtype"), FILES)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(form, subtype, channels, tmp_path):
    data = saved(tone(8000, channels=channels), form=form, subtype=subtype)
    found = decode_sound(data, 16_000, LIMIT)
    assert found.wave.dtype == np.float32 and found.wave.ndim == 1
    np.testing.assert_array_equal(found.wave, theirs(data, tmp_path, form.lower()))
    assert found.notes == (("2 channels were averaged to one",) if channels == 2 else ())


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 6])
def test_rates(rate, channels, tmp_path):
    data = saved(tone(rate // 3, rate, channels), rate)
    found = decode_sound(data, 16_000, LIMIT)
    np.testing.assert_array_equal(found.wave, theirs(data, tmp_path))
    assert f"resampled from {rate:,} Hz to 16,000 Hz" in found.notes


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 5000), rate=st.integers(1000, 60_000), channels=st.integers(1, 3))
def test_any_length_and_rate(samples, rate, channels, tmp_path_factory):
    data = saved(tone(samples, rate, channels), rate)
    found = decode_sound(data, 16_000, LIMIT).wave
    np.testing.assert_array_equal(found, theirs(data, tmp_path_factory.mktemp("sounds")))


def test_many_blocks_are_one_wave(tmp_path):
    data = saved(tone(400_000, 44_100, 2), 44_100)
    np.testing.assert_array_equal(decode_sound(data, 16_000, LIMIT).wave, theirs(data, tmp_path))


@pytest.mark.parametrize("rate", [16_000, 44_100, 8000])
def test_thirty_seconds_and_no_more(rate):
    assert len(decode_sound(saved(np.zeros(30 * rate), rate), 16_000, LIMIT).wave) == LIMIT
    for more in (1, 3 * rate):
        with pytest.raises(InputError, match=r"(?s)longer than the 30 seconds.*it has 3[03].\d\d seconds.*try: cut it"):
            decode_sound(saved(np.zeros(30 * rate + more), rate), 16_000, LIMIT)


def test_what_is_too_long_is_not_decoded(monkeypatch):
    def decoded(*_, **__):
        raise AssertionError("it is decoded")

    data = saved(np.zeros(16_000 * 60), form="FLAC")
    monkeypatch.setattr(soundfile.SoundFile, "read", decoded)
    with pytest.raises(InputError, match="longer than the 30 seconds"):
        decode_sound(data, 16_000, LIMIT)


def test_a_header_that_states_too_little_is_not_believed(monkeypatch):
    """Whatever it says, no more is kept than the limit."""
    data = saved(np.zeros(16_000 * 40))
    monkeypatch.setattr(soundfile.SoundFile, "frames", 5)
    monkeypatch.setattr(
        soundfile.SoundFile, "seekable", lambda self: False
    )  # else soundfile itself reads no more than it says
    with pytest.raises(InputError, match="longer than the 30 seconds"):
        decode_sound(data, 16_000, LIMIT)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("MP3", "MPEG_LAYER_III")])
def test_a_file_that_is_cut_says_so(form, subtype):
    whole = saved(tone(60_000), form=form, subtype=subtype)
    found = decode_sound(whole[: len(whole) // 2], 16_000, LIMIT)
    assert found.notes == (f"the file ends before the sound that it states: {len(found.wave):,} samples are left",)
    assert decode_sound(whole, 16_000, LIMIT).notes == ()


def test_a_wave_file_without_a_size_is_whole():
    """As a program writes it that cannot go back to its beginning."""
    data = bytearray(saved(tone(600)))
    data[4:8] = b"\xff" * 4
    assert decode_sound(bytes(data), 16_000, LIMIT).notes == ()


def with_value(value):
    wave = tone(2000)
    wave[700] = value
    return saved(wave, subtype="FLOAT")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the sound is empty"),
        (
            b"no sound at all",
            r"(?s)cannot be decoded.*Error opening the file: .*try: give the whole file, as WAV",
        ),
        (saved(np.zeros(0)), r"(?s)the sound is empty.*no samples"),
        (with_value(np.nan), r"(?s)no numbers of a wave.*sample 700 is nan, the first of 1"),
        (with_value(-np.inf), r"(?s)no numbers of a wave.*sample 700 is -inf"),
        (with_value(1e30), r"(?s)no numbers of a wave.*sample 700 is 1e\+30.*never beyond 1,000,000"),
        (saved(tone(99), form="AIFF"), "is a AIFF file, which is not read"),
        (saved(tone(99), form="AU"), "is a AU file"),
        (saved(tone(99, channels=9)), "has 9 channels"),
        (saved(tone(99), 500), r"(?s)odd rate.*500 samples a second"),
        (saved(tone(99), 400_000), "odd rate"),
        (saved(tone(9999), form="OGG")[:60], "cannot be decoded"),
        (saved(tone(9999), form="FLAC")[:30], "cannot be decoded"),
        (saved(tone(9999), form="FLAC")[:9999], r"(?s)cannot be decoded.*try: give the whole file"),
    ],
    ids=range(14),
)
def test_no_sounds(data, message):
    with pytest.raises(InputError, match=message) as found:
        decode_sound(data, 16_000, LIMIT)
    assert found.value.code == 2 and found.value.where


def test_the_most_channels(tmp_path):
    data = saved(tone(999, channels=MOST_CHANNELS))
    np.testing.assert_array_equal(decode_sound(data, 16_000, LIMIT).wave, theirs(data, tmp_path))


def test_files_that_are_none(tmp_path):
    for path, message in ((tmp_path / "missing.wav", "is missing"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=message):
            decode_sound(path, 16_000, LIMIT)
    with pytest.raises(InputError, match="the sound is 5"):
        decode_sound(5, 16_000, LIMIT)


@pytest.mark.parametrize("module", ["soundfile", "soxr"])
def test_without_a_library(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MachineError, match=rf"(?s){module}.*pip install 'g4compile\[media\]'"):
        decode_sound(NARROW, 16_000, LIMIT)


NARROW = saved(tone(800), 8000)


def test_soxr_is_asked_only_when_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert len(decode_sound(saved(tone(800)), 16_000, LIMIT).wave) == 800


def test_without_memory(monkeypatch):
    def none(*_, **__):
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", none)
    with pytest.raises(MachineError, match="not enough memory"):
        decode_sound(NARROW, 16_000, LIMIT)


@pytest.mark.parametrize(
    "wave", [None, [0.5], np.zeros((2, 2), np.float32), np.zeros(9, np.int16), np.float32(0)], ids=range(5)
)
def test_waves_that_are_none(wave):
    with pytest.raises(InputError, match=r"a wave must be an array of floats \[samples\], got"):
        check_wave(wave)


SEEDS = [saved(tone(3000, channels=2), form=form, subtype=subtype) for form, subtype in FILES]
EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12)


def check_any_bytes(seed, edits, cut):
    data = bytearray(SEEDS[seed])
    for place, value in edits:
        data[place % len(data)] = value
    try:
        wave = decode_sound(bytes(data[:cut]), 16_000, LIMIT).wave
    except G4Error as error:
        assert error.code in (2, 3)
    else:
        assert 0 < len(wave) <= LIMIT and np.isfinite(wave).all()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, len(SEEDS) - 1), edits=EDITS, cut=st.one_of(st.none(), st.integers(1, 4000)))
def test_any_bytes_are_a_sound_or_an_error_of_ours(seed, edits, cut):
    check_any_bytes(seed, edits, cut)


@pytest.mark.nightly
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, len(SEEDS) - 1), edits=EDITS, cut=st.one_of(st.none(), st.integers(1, 4000)))
def test_many_more_bytes(seed, edits, cut):
    check_any_bytes(seed, edits, cut)
