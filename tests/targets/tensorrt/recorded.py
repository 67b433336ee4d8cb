"""As much of `tensorrt.plugin` as our plugins use, with numbers for shapes: gives the PTX and launch that an engine
would get."""

from __future__ import annotations

from types import SimpleNamespace


class Recorded(SimpleNamespace):
    """``aot``: by plugin, what makes its kernel."""

    __hash__ = object.__hash__  # a module has one

    def __init__(self):
        super().__init__(aot={}, TensorDesc=object, SymExprs=object, ShapeExpr=int, SymInt32=int)
        self.KernelLaunchParams = SimpleNamespace
        self.SymIntExprs = lambda count: [None] * count
        self.cdiv = lambda first, second: -(-first // second)

    def register(self, name, lazy_register):
        return lambda function: function

    def aot_impl(self, name):
        return lambda function: self.aot.setdefault(name.removeprefix("g4::"), function)
