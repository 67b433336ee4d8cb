"""The classes of native/src/rt/text over ctypes: what a tokenizer's table gives, and how it fails."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_void_p

BAD_ARGUMENT, BAD_BUNDLE, UNSUPPORTED = 1, 2, 3  # of g4rt_status
_NO_ROOM = 5


class Failed(Exception):
    """A status other than G4RT_OK, and its words."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


class TextLibrary:
    def __init__(self, file):
        loaded = ctypes.CDLL(str(file))
        sized = (c_size_t, POINTER(c_size_t))
        signatures = {
            "open": (c_char_p, c_size_t, c_int64, POINTER(c_void_p)),
            "encode": (c_void_p, c_char_p, c_size_t, POINTER(c_int32), *sized),
            "decode": (c_void_p, POINTER(c_int32), c_size_t, c_char_p, *sized),
            "stream": (c_void_p, POINTER(c_void_p)),
            "push": (c_void_p, c_int32, POINTER(c_void_p), POINTER(c_size_t)),
            "split": (c_char_p, c_size_t, c_char_p, c_size_t, POINTER(c_int32), *sized),
            "close": (c_void_p,),
            "end_stream": (c_void_p,),
        }
        for name, types in signatures.items():
            function = getattr(loaded, f"parts_{name}")
            function.argtypes, function.restype = types, None if name in ("close", "end_stream") else ctypes.c_int
            setattr(self, f"_{name}", function)
        self._words = loaded.parts_last_error
        self._words.restype = c_char_p

    def call(self, name, *arguments):
        status = getattr(self, f"_{name}")(*arguments)
        if status and status != _NO_ROOM:
            raise Failed(status, self._words().decode())
        return status

    def sized(self, name, kind, capacity, *arguments):
        """What a function writes into an array of ``kind``, which grows to the size that it asks for."""
        count = c_size_t()
        room = (kind * capacity)()
        if self.call(name, *arguments, room, capacity, ctypes.byref(count)):
            return self.sized(name, kind, count.value, *arguments)
        return room[: count.value]

    def tokenizer(self, table, vocab_size=1 << 31):
        return NativeTokenizer(self, table, vocab_size)

    def words(self, table, text):
        """The words into which the pre-tokenizer of a table cuts ``text``."""
        data = text.encode()
        bounds = self.sized("split", c_int32, 2 * len(data), table, len(table), data, len(data))
        return [data[start:end].decode() for start, end in zip(bounds[::2], bounds[1::2], strict=True)]


class NativeTokenizer:
    def __init__(self, library, table, vocab_size):
        self._library, self._table = library, table  # whose bytes are borrowed
        self._made = c_void_p()
        library.call("open", table, len(table), vocab_size, ctypes.byref(self._made))

    def __del__(self):
        self._library._close(self._made)

    def encode(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        return self._library.sized("encode", c_int32, len(data), self._made, data, len(data))

    def decode(self, ids):
        given = (c_int32 * len(ids))(*ids)
        return self._library.sized("decode", ctypes.c_char, 4 * len(ids), self._made, given, len(ids)).decode()

    def stream(self, ids):
        """What each id makes certain, and what the end does."""
        made, text, size = c_void_p(), c_void_p(), c_size_t()
        self._library.call("stream", self._made, ctypes.byref(made))
        try:
            pieces = []
            for token in [*ids, -1]:
                self._library.call("push", made, token, ctypes.byref(text), ctypes.byref(size))
                pieces.append(ctypes.string_at(text, size.value).decode())
            return pieces
        finally:
            self._library._end_stream(made)
