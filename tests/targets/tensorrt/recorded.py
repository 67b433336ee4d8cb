"""As much of `tensorrt.plugin` as our plugins use, with numbers for shapes: gives the PTX and launch that an engine
would get."""

from __future__ import annotations

from types import SimpleNamespace


class Made:
    """A plugin that was asked for: ``describe`` and ``build`` as TensorRT would call them."""

    def __init__(self, plugin, operands, text):
        self._plugin, self._operands, self._text = plugin, operands, text

    def describe(self):
        return self._plugin.described(*self._operands, launch=self._text)

    def build(self):
        return self._plugin.built(*self._operands, self._text, (), 0)


class Recorded(SimpleNamespace):
    """The module of plugins, and that of TensorRT."""

    def __init__(self):
        super().__init__(TensorDesc=object, SymExprs=object, SymInt32=int, KernelLaunchParams=SimpleNamespace)
        self.bfloat16, self.float32, self.int32 = "bfloat16", "float32", "int32"
        self.SymIntExprs = lambda count: [None] * count
        self.cdiv = lambda first, second: -(-first // second)
        self.from_shape_expr = lambda shape, dtype: SimpleNamespace(shape=shape, dtype=dtype)
        self._plugins, self.op = {}, SimpleNamespace(g4=SimpleNamespace())

    def register(self, name, lazy_register):
        def keep(function):
            short = name.removeprefix("g4::")
            plugin = self._plugins[short] = SimpleNamespace(described=function)
            setattr(self.op.g4, short, lambda *operands, launch: Made(plugin, operands, launch))

        return keep

    def aot_impl(self, name):
        return lambda function: setattr(self._plugins[name.removeprefix("g4::")], "built", function)
