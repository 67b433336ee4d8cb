"""libg4rt through ctypes: what `g4rt.h` declares, as tests call it. A status other than 0 is raised as `Refused`."""

from __future__ import annotations

import ctypes
import json
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)
from pathlib import Path

import numpy as np
import onnxruntime

STATUSES = [
    "ok",
    "bad-argument",
    "bad-bundle",
    "unsupported",
    "machine",
    "no-room",
    "context-full",
    "busy",
    "cancelled",
    "defect",
]
ON_TOKEN = ctypes.CFUNCTYPE(c_int32, c_void_p, c_int32, c_void_p, c_size_t)


def onnxruntime_library():
    """The library inside the package that the tests run with."""
    return next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))


class Refused(Exception):
    def __init__(self, status, words):
        super().__init__(f"{status}: {words}")
        self.status, self.words = status, words


class Options(Structure):
    _fields_ = [
        ("threads", c_int32),
        ("capacity", c_int32),
        ("kv_dtype", c_char_p),
        ("cache_folder", c_char_p),
        ("onnxruntime", c_char_p),
        ("ops", c_char_p),
    ]


class Facts(Structure):
    _fields_ = [
        *((name, c_int32) for name in ("vocab_size", "context", "bos_token_id", "pad_token_id")),
        *((name, c_int32) for name in ("text", "chat", "image", "audio")),
        ("target", c_char_p),
        ("kv_dtype", c_char_p),
        ("weight_bytes", c_uint64),
        ("kv_bytes_per_token", c_uint64),
    ]


class Memory(Structure):
    _fields_ = [(name, c_uint64) for name in ("weight_bytes", "kv_bytes", "anonymous_bytes", "resident_bytes")]


class Sampling(Structure):
    _fields_ = [
        ("temperature", c_double),
        ("top_k", c_int32),
        ("top_p", c_double),
        ("seeded", c_int32),
        ("seed", c_uint64),
    ]


def sampling(temperature=0.0, top_k=0, top_p=1.0, seed=None):
    return Sampling(temperature, top_k, top_p, int(seed is not None), seed or 0)


def _ids(ids):
    array = np.ascontiguousarray(ids, np.int32)
    return array, array.ctypes.data_as(POINTER(c_int32)), array.size


class G4rt:
    """The library in a ``file``; ``ops``: that of libg4ops."""

    def __init__(self, file, ops=None):
        self.file, self.ops = Path(file), ops
        self.c = ctypes.CDLL(str(file))
        for name in ("g4rt_version", "g4rt_last_error", "g4rt_status_name"):
            getattr(self.c, name).restype = c_char_p
        self.c.g4rt_session_length.restype = c_size_t
        self.c.g4rt_session_length.argtypes = [c_void_p]
        for name in ("model", "session", "media", "sampler", "stream"):
            done = "g4rt_close" if name == "model" else f"g4rt_{name}_destroy"
            if hasattr(self.c, done):
                getattr(self.c, done).argtypes = [c_void_p]
                getattr(self.c, done).restype = None

    def call(self, name, *arguments):
        status = getattr(self.c, name)(*arguments)
        if status:
            raise Refused(STATUSES[status], self.c.g4rt_last_error().decode())

    def open(self, folder, threads=1, capacity=0, kv_dtype=None, cache=None, onnxruntime=None):
        encoded = [None if text is None else str(text).encode() for text in (kv_dtype, cache)]
        files = [
            None if file is None else str(file).encode() for file in (onnxruntime or onnxruntime_library(), self.ops)
        ]
        made = c_void_p()
        self.call("g4rt_open", str(folder).encode(), byref(Options(threads, capacity, *encoded, *files)), byref(made))
        return Model(self, made)

    def sampler(self, **settings):
        made = c_void_p()
        self.call("g4rt_sampler_create", byref(sampling(**settings)), byref(made))
        return Sampler(self, made)


class Handle:
    destroy = ""

    def __init__(self, library, handle):
        self.library, self.handle = library, handle

    def call(self, name, *arguments):
        self.library.call(name, self.handle, *arguments)

    def close(self):
        if self.handle:
            getattr(self.library.c, self.destroy)(self.handle)
            self.handle = None

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()

    def variable(self, name, kind, *arguments):
        """A result of variable size: its size is asked for first."""
        count = c_size_t()
        try:
            self.call(name, *arguments, None, c_size_t(0), byref(count))
        except Refused as refused:
            if refused.status != "no-room":
                raise
        room = (kind * max(1, count.value))()
        self.call(name, *arguments, room, c_size_t(count.value), byref(count))
        return room[: count.value]


class Model(Handle):
    destroy = "g4rt_close"

    @property
    def facts(self):
        found = Facts()
        self.call("g4rt_model_facts", byref(found))
        return found

    @property
    def stop_tokens(self):
        return list(self.variable("g4rt_model_stop_tokens", c_int32))

    def session(self):
        made = c_void_p()
        self.call("g4rt_session_create", byref(made))
        return Session(self.library, made)

    def image(self, rgb, budget=0):
        pixels = np.ascontiguousarray(rgb, np.uint8)
        made = c_void_p()
        height, width = pixels.shape[:2]
        self.call("g4rt_image_create", pixels.ctypes.data_as(c_void_p), width, height, budget, byref(made))
        return Media(self.library, made)

    def sound(self, samples):
        wave = np.ascontiguousarray(samples, np.float32)
        made = c_void_p()
        self.call("g4rt_audio_create", wave.ctypes.data_as(c_void_p), c_size_t(wave.size), byref(made))
        return Media(self.library, made)

    def encode(self, text, media=()):
        data = text if isinstance(text, bytes) else text.encode()
        handles = (c_void_p * max(1, len(media)))(*(one.handle for one in media))
        return list(self.variable("g4rt_encode", c_int32, data, c_size_t(len(data)), handles, c_size_t(len(media))))

    def decode(self, ids):
        _kept, data, count = _ids(ids)
        return bytes(self.variable("g4rt_decode", ctypes.c_char, data, c_size_t(count))).decode()

    def render_chat(self, conversation):
        data = conversation if isinstance(conversation, bytes) else json.dumps(conversation).encode()
        return bytes(self.variable("g4rt_render_chat", ctypes.c_char, data, c_size_t(len(data)))).decode()

    def stream(self):
        made = c_void_p()
        self.call("g4rt_stream_create", byref(made))
        return Stream(self.library, made)


class Stream(Handle):
    destroy = "g4rt_stream_destroy"

    def _piece(self, name, *arguments):
        text, size = c_void_p(), c_size_t()
        self.call(name, *arguments, byref(text), byref(size))
        return ctypes.string_at(text, size.value).decode() if size.value else ""

    def push(self, token):
        return self._piece("g4rt_stream_push", token)

    def end(self):
        return self._piece("g4rt_stream_end")


class Media(Handle):
    destroy = "g4rt_media_destroy"

    @property
    def tokens(self):
        return self.library.c.g4rt_media_tokens(self.handle)

    @property
    def values(self):
        """float32 [rows, columns], and of an image int64 [rows, 2], else None."""
        values, positions, rows, columns = POINTER(c_float)(), POINTER(c_int64)(), c_size_t(), c_size_t()
        self.call("g4rt_media_values", byref(values), byref(rows), byref(columns), byref(positions))
        found = np.ctypeslib.as_array(values, (rows.value, columns.value)).copy()
        return found, np.ctypeslib.as_array(positions, (rows.value, 2)).copy() if positions else None


class Sampler(Handle):
    destroy = "g4rt_sampler_destroy"

    def choose(self, logits):
        values = np.ascontiguousarray(logits, np.float32)
        found = c_int32()
        self.call("g4rt_sampler_choose", values.ctypes.data_as(c_void_p), c_size_t(values.size), byref(found))
        return found.value


class Session(Handle):
    destroy = "g4rt_session_destroy"

    @property
    def length(self):
        return self.library.c.g4rt_session_length(self.handle)

    @property
    def logits(self):
        values, count = POINTER(c_float)(), c_size_t()
        self.call("g4rt_session_logits", byref(values), byref(count))
        return np.ctypeslib.as_array(values, (count.value,)).copy()

    @property
    def memory(self):
        found = Memory()
        self.call("g4rt_session_memory", byref(found))
        return found

    def _prompt(self, ids, media):
        self._kept, data, count = _ids(ids)
        handles = (c_void_p * max(1, len(media)))(*(one.handle for one in media))
        return data, c_size_t(count), handles, c_size_t(len(media))

    def prefill(self, ids, media=()):
        self.call("g4rt_session_prefill", *self._prompt(ids, media))

    def decode(self, token):
        self.call("g4rt_session_decode", token)

    def rewind(self, tokens):
        self.call("g4rt_session_rewind", c_size_t(tokens))

    def reset(self):
        self.call("g4rt_session_reset")

    def cancel(self):
        self.library.c.g4rt_session_cancel(self.handle)

    def save(self, path):
        self.call("g4rt_session_save", str(path).encode())

    def restore(self, path):
        self.call("g4rt_session_restore", str(path).encode())

    def generate(self, ids, most=64, media=(), stop_after=None, **settings):
        """Token ids, and the text of the pieces. ``stop_after``: the callback ends the answer behind so many."""
        tokens, pieces, count = [], [], c_size_t()

        def take(user, token, text, size):
            if token >= 0:
                tokens.append(token)
            pieces.append(ctypes.string_at(text, size) if size else b"")
            return int(stop_after is not None and len(tokens) >= stop_after)

        given = byref(sampling(**settings)) if settings else None
        prompt = self._prompt(ids, media)
        try:
            self.call("g4rt_session_generate", *prompt, given, c_size_t(most), ON_TOKEN(take), None, byref(count))
        finally:
            self.generated, self.pieces = tokens, pieces
        assert count.value == len(tokens)
        return tokens
