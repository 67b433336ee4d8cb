"""What libg4rt knows of media, by ctypes: `native/tests/rt_media_parts.cc`."""

from __future__ import annotations

import ctypes

import numpy as np

from g4compile.bundle.media import MelSpec

BAD_ARGUMENT, BAD_BUNDLE, UNSUPPORTED = 1, 2, 3  # g4rt_status


class Refused(Exception):
    """A status of g4rt.h other than 0, and its words."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def int64(values):
    return np.ascontiguousarray(values, np.int64)


class Parts:
    def __init__(self, file):
        self._library = ctypes.CDLL(str(file))
        self._library.made_text.restype = ctypes.c_void_p
        for name in ("made_bytes", "made_values", "made_integers"):
            getattr(self._library, name).restype = ctypes.c_size_t

    def _call(self, name, *given):
        """Arrays go as pointers, integers as 64 bits."""
        held = [ctypes.c_int64(one) if isinstance(one, int) else one for one in given]
        status = getattr(self._library, name)(*(pointer(one) if isinstance(one, np.ndarray) else one for one in held))
        if status:
            raise Refused(status, self._text())

    def _text(self):
        length = ctypes.c_size_t()
        text = self._library.made_text(ctypes.byref(length))
        return ctypes.string_at(text, length.value).decode()

    def _integers(self):
        made = np.empty(self._library.made_integers(None), np.int64)
        self._library.made_integers(pointer(made))
        return made

    def _values(self):
        columns, tokens = ctypes.c_size_t(), ctypes.c_int64()
        rows = self._library.made_values(None, ctypes.byref(columns), ctypes.byref(tokens))
        made = np.empty((rows, columns.value), np.float32)
        self._library.made_values(pointer(made), ctypes.byref(columns), ctypes.byref(tokens))
        return made, tokens.value

    def resize(self, pixels, height, width):
        self._call("media_resize", pixels, pixels.shape[1], pixels.shape[0], width, height)
        made = np.empty((height, width, 3), np.uint8)
        assert self._library.made_bytes(None) == made.size
        self._library.made_bytes(pointer(made))
        return made

    def target_size(self, height, width, spec):
        self._call("media_target_size", width, height, _patch_spec(spec))
        return tuple(self._integers().tolist())

    def patches(self, pixels, spec, budget=0):
        """Values, positions, tokens."""
        height, width = pixels.shape[:2]
        return self.patches_of(np.ascontiguousarray(pixels), width, height, spec, budget)

    def patches_of(self, memory, width, height, spec, budget=0):
        self._call("media_patches", memory, width, height, _patch_spec(spec), budget)
        values, tokens = self._values()
        return values, self._integers().reshape(-1, 2), tokens

    def sound(self, wave, spec):
        """Values and tokens."""
        mel = isinstance(spec, MelSpec)
        names = ["frame_length", "hop_length", "fft_length", "feature_size", "audio_samples_per_token"]
        integers = int64([spec.sampling_rate, spec.max_samples, *(getattr(spec, name, 0) for name in names)])
        doubles = np.array([getattr(spec, name, 0.0) for name in ("min_frequency", "max_frequency", "mel_floor")])
        self._call("media_sound", np.ascontiguousarray(wave), len(wave), int(mel), integers, doubles)
        return self._values()

    def write_out(self, text, items):
        """``items``: pairs of a kind, 0 for images and 1 for sounds, and tokens."""
        written = np.frombuffer(text.encode() or b" ", np.uint8)
        self._call("media_write_out", written, len(text.encode()), *_items(items))
        return self._text()

    def check_written_out(self, ids, items):
        self._call("media_check_written_out", np.ascontiguousarray(ids, np.int32), len(ids), *_items(items))

    def places(self, ids, items):
        """Of each item, and of all images."""
        self._call("media_places", np.ascontiguousarray(ids, np.int32), len(ids), *_items(items))
        found, ends = self._integers(), np.cumsum([tokens for _, tokens in items], dtype=np.int64)
        return [part.tolist() for part in np.split(found, ends)]

    def blocks(self, places, length, new):
        self._call("media_blocks", int64(places), len(places), length, new)
        return self._integers().reshape(2, new)

    def pieces(self, ends, chunk):
        self._call("media_pieces", int64(ends), len(ends), chunk)
        return [slice(*pair) for pair in self._integers().reshape(-1, 2).tolist()]


def _patch_spec(spec):
    return int64([spec.patch_size, spec.pooling_kernel_size, spec.max_soft_tokens, spec.positions])


def _items(items):
    kinds, tokens = zip(*items, strict=True) if items else ((), ())
    return int64(kinds), int64(tokens), len(items)
