"""Chat tables through the library of the tests."""

from __future__ import annotations

import ctypes
import json

BAD_ARGUMENT, BAD_BUNDLE, UNSUPPORTED = 1, 2, 3


class Failed(Exception):
    """Words of a failure, and its status."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


class Chat:
    def __init__(self, path):
        c = self._c = ctypes.CDLL(str(path))
        c.chat_open.restype = c.chat_answer.restype = ctypes.c_void_p
        c.chat_open.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)]
        c.chat_close.argtypes = [ctypes.c_void_p]
        c.chat_render.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_longlong]
        c.chat_shown.argtypes = [ctypes.c_double]

    def render(self, table, conversation, steps=0):
        """The text of ``conversation``, an object or its JSON."""
        text = conversation if isinstance(conversation, bytes) else json.dumps(conversation).encode()
        status = ctypes.c_int()
        opened = self._c.chat_open(table, len(table), status)
        if status.value:
            raise Failed(status.value, self._answer())
        try:
            return self._answered(self._c.chat_render(opened, text, len(text), steps))
        finally:
            self._c.chat_close(opened)

    def shown(self, number):
        return self._answered(self._c.chat_shown(number))

    def _answered(self, status):
        if status:
            raise Failed(status, self._answer())
        return self._answer()

    def _answer(self):
        size = ctypes.c_size_t()
        data = self._c.chat_answer(ctypes.byref(size))
        return ctypes.string_at(data, size.value).decode()
