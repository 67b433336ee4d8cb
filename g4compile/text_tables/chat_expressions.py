"""Expressions of Jinja as code of a chat table: each leaves its value on the stack."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import nodes
from jinja2.idtracking import VAR_LOAD_PARAMETER

from g4compile.text_tables.chat_calls import Calls
from g4compile.text_tables.chat_code import Binary, Compare, LoopAttribute, Op, Unary
from g4compile.text_tables.chat_writer import Scope, refused

_BINARY = {
    nodes.Add: Binary.ADD, nodes.Sub: Binary.SUB, nodes.Mul: Binary.MUL, nodes.Div: Binary.DIV,
    nodes.FloorDiv: Binary.FLOORDIV, nodes.Mod: Binary.MOD,
}  # fmt: skip
_UNARY = {nodes.Neg: Unary.NEGATIVE, nodes.Pos: Unary.POSITIVE, nodes.Not: Unary.NOT}
_COMPARE = {
    "eq": Compare.EQ, "ne": Compare.NE, "lt": Compare.LT, "lteq": Compare.LE, "gt": Compare.GT, "gteq": Compare.GE,
    "in": Compare.IN, "notin": Compare.NOT_IN,
}  # fmt: skip
# Of Jinja, and of transformers, that tables do not have.
_NO_NAMES = ("caller", "cycler", "joiner", "kwargs", "lipsum", "loop", "self", "strftime_now", "super", "varargs")


class Expressions(Calls):
    """Of one template."""

    def expression(self, node: nodes.Node, scope: Scope) -> None:
        """Code that puts the value of ``node`` on the stack. Raises NoTable."""
        write = self._WRITE.get(type(node))
        if write is None:
            raise refused(node, f"{_words(node)}, which chat tables do not have")
        write(self, node, scope)

    def _constant(self, node: nodes.Const, scope: Scope) -> None:
        scope.writer.constant(node, node.value)

    def _text(self, node: nodes.TemplateData, scope: Scope) -> None:
        scope.writer.constant(node, node.data)

    def _name(self, node: nodes.Name, scope: Scope) -> None:
        if node.name in _NO_NAMES and (
            node.name in ("loop", "caller", "kwargs", "varargs") or scope.resolved(node.name)
        ):
            what = "`loop` other than for one of its attributes" if node.name == "loop" else f"`{node.name}`"
            raise refused(node, f"{what}, which chat tables do not have")
        outer, slot = scope.place(node, scope.symbols.ref(node.name))
        name = scope.writer.pool.string(node.name)
        scope.writer.emit(node, Op.LOAD_OUTER if outer else Op.LOAD, y=slot, z=name)

    def _items(self, node: nodes.List | nodes.Tuple, scope: Scope) -> None:
        for item in node.items:
            self.expression(item, scope)
        scope.writer.many(node, Op.LIST if isinstance(node, nodes.List) else Op.TUPLE, len(node.items))

    def _dict(self, node: nodes.Dict, scope: Scope) -> None:
        for pair in node.items:
            if isinstance(pair.key, nodes.Const) and not isinstance(pair.key.value, str):
                raise refused(pair, "a dict with a key that is no string")
            self.expression(pair.key, scope)
            self.expression(pair.value, scope)
        scope.writer.many(node, Op.DICT, len(node.items))

    def _concat(self, node: nodes.Concat, scope: Scope) -> None:
        for part in node.nodes:
            self.expression(part, scope)
        scope.writer.many(node, Op.CONCAT, len(node.nodes))

    def _binary(self, node: nodes.BinExpr, scope: Scope) -> None:
        self.expression(node.left, scope)
        self.expression(node.right, scope)
        scope.writer.emit(node, Op.BINARY, _BINARY[type(node)])

    def _unary(self, node: nodes.UnaryExpr, scope: Scope) -> None:
        self.expression(node.node, scope)
        scope.writer.emit(node, Op.UNARY, _UNARY[type(node)])

    def _both(self, node: nodes.And | nodes.Or, scope: Scope) -> None:
        self.expression(node.left, scope)
        over = scope.writer.emit(node, Op.AND if isinstance(node, nodes.And) else Op.OR)
        self.expression(node.right, scope)
        scope.writer.land(over)

    def _compare(self, node: nodes.Compare, scope: Scope) -> None:
        """`a < b < c` is `a < b and b < c` with one `b`."""
        writer, exits = scope.writer, []
        self.expression(node.expr, scope)
        for operand in node.ops:
            self.expression(operand.expr, scope)
            if operand is not node.ops[-1]:
                writer.emit(node, Op.CHAIN)
                writer.emit(node, Op.COMPARE, _COMPARE[operand.op])
                exits.append(writer.emit(node, Op.AND))
            else:
                writer.emit(node, Op.COMPARE, _COMPARE[operand.op])
        if exits:
            over = writer.emit(node, Op.JUMP)
            writer.land(*exits)
            writer.emit(node, Op.DROP_UNDER)
            writer.land(over)

    def _choice(self, node: nodes.CondExpr, scope: Scope) -> None:
        writer = scope.writer
        self.expression(node.test, scope)
        no = writer.emit(node, Op.JUMP_IF_FALSE)
        self.expression(node.expr1, scope)
        over = writer.emit(node, Op.JUMP)
        writer.land(no)
        if node.expr2 is None:
            why = "the inline `if` is false and has no `else`"
            writer.emit(node, Op.UNDEFINED, z=writer.pool.string(why))
        else:
            self.expression(node.expr2, scope)
        writer.land(over)

    def _attribute(self, node: nodes.Getattr, scope: Scope) -> None:
        if isinstance(node.node, nodes.Name) and node.node.name == "loop":
            self._of_loop(node, node.attr, scope)
            return
        if node.attr.startswith("__"):
            raise refused(node, f"the attribute `{node.attr}`")
        self.expression(node.node, scope)
        scope.writer.emit(node, Op.ATTRIBUTE, z=scope.writer.pool.string(node.attr))

    def _of_loop(self, node: nodes.Getattr, name: str, scope: Scope) -> None:
        identifier = scope.symbols.ref("loop")
        which = scope.writer.loops.get(identifier)
        if which is None or scope.symbols.find_load(identifier) != (VAR_LOAD_PARAMETER, None):
            raise refused(node, "`loop` outside of a loop")
        if name.upper() not in LoopAttribute.__members__ or not name.islower():
            raise refused(node, f"`loop.{name}`, which chat tables do not have")
        scope.writer.emit(node, Op.LOOP_ATTRIBUTE, LoopAttribute[name.upper()], which)

    def _item(self, node: nodes.Getitem, scope: Scope) -> None:
        self.expression(node.node, scope)
        if not isinstance(node.arg, nodes.Slice):
            self.expression(node.arg, scope)
            scope.writer.emit(node, Op.ITEM)
            return
        parts = 0
        for bit, part in ((1, node.arg.start), (2, node.arg.stop), (4, node.arg.step)):
            if part is not None:
                self.expression(part, scope)
                parts |= bit
        scope.writer.emit(node, Op.SLICE, parts)

    _WRITE: dict[type[nodes.Node], Callable[..., None]] = {
        nodes.Const: _constant,
        nodes.TemplateData: _text,
        nodes.Name: _name,
        nodes.List: _items,
        nodes.Tuple: _items,
        nodes.Dict: _dict,
        nodes.Concat: _concat,
        **dict.fromkeys(_BINARY, _binary),
        **dict.fromkeys(_UNARY, _unary),
        nodes.And: _both,
        nodes.Or: _both,
        nodes.Compare: _compare,
        nodes.CondExpr: _choice,
        nodes.Getattr: _attribute,
        nodes.Getitem: _item,
        nodes.Filter: Calls.filter,
        nodes.Test: Calls.test,
        nodes.Call: Calls.call,
    }


def _words(node: nodes.Node) -> str:
    return "the operator `**`" if isinstance(node, nodes.Pow) else f"an expression of the kind {type(node).__name__}"
