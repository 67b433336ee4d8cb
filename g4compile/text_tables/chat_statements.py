"""Statements of Jinja as code of a chat table, in the scopes that Jinja's own compiler gives them.

Source: `CodeGenerator` of jinja2's `compiler.py` (3.1): which scope a name is looked up in, when a variable begins, and
that a loop's `else` runs where no body came to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jinja2 import nodes
from jinja2.compiler import find_undeclared
from jinja2.idtracking import Symbols

from g4compile.text_tables.chat_code import Instruction, Op
from g4compile.text_tables.chat_expressions import Expressions
from g4compile.text_tables.chat_writer import (
    MOST_LOOPS,
    MOST_PARAMETERS,
    MOST_SLOTS,
    OpenLoop,
    Pool,
    Scope,
    Writer,
    check_text,
    refused,
)

_SPECIAL = ("caller", "kwargs", "varargs")  # that Jinja gives to macros whose bodies have these names


class Statements(Expressions):
    """Of one template. ``routines``: macros, and the template itself, in the order in which they are begun."""

    def __init__(self, pool: Pool, number: int) -> None:
        """``number``: of routines of other templates of the table, that stand in front."""
        self.pool, self.number = pool, number
        self.routines: list[Writer] = []

    def template(self, tree: nodes.Template) -> None:
        """Write the code of ``tree``. Raises NoTable."""
        writer = self._begin("template", None)
        names = {node.name for node in tree.find_all(nodes.Name)}
        if len(names) > MOST_SLOTS:  # before Jinja's analysis, which copies them for every `if`
            raise refused(tree, f"more than {MOST_SLOTS:,} variables")
        symbols = Symbols()
        symbols.analyze_node(tree)
        scope = Scope(writer, symbols, toplevel=True)
        scope.enter(tree)
        self._body(tree.body, scope)
        writer.emit(tree, Op.RETURN)

    def _begin(self, name: str, outer: Writer | None) -> Writer:
        self.routines.append(Writer(name, self.pool, outer))
        self.pool.string(name)
        return self.routines[-1]

    def _body(self, body: Sequence[nodes.Node], scope: Scope) -> None:
        for node in body:
            write = self._STATEMENTS.get(type(node))
            if write is None:
                kind = (
                    "an `autoescape` block"
                    if isinstance(node, nodes.Scope)
                    else f"a statement of the kind {type(node).__name__}"
                )
                raise refused(node, f"{kind}, which chat tables do not have")
            write(self, node, scope)

    def _output(self, node: nodes.Output, scope: Scope) -> None:
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                check_text(part, part.data)
                scope.writer.emit(part, Op.TEXT, z=self.pool.string(part.data))
                continue
            value: nodes.Expr | None = part
            while isinstance(value, nodes.Filter) and value.name == "safe":  # changes what is joined, not what is shown
                value = value.node
            if value is None:
                raise refused(part, "the filter `safe` without a value")
            self.expression(value, scope)
            scope.writer.emit(part, Op.WRITE)

    def _if(self, node: nodes.If, scope: Scope) -> None:
        writer, exits = scope.writer, []
        for branch in (node, *node.elif_):
            self.expression(branch.test, scope)
            no = writer.emit(branch, Op.JUMP_IF_FALSE)
            self._body(branch.body, scope)
            exits.append(writer.emit(branch, Op.JUMP))
            writer.land(no)
        self._body(node.else_, scope)
        writer.land(*exits)

    def _for(self, node: nodes.For, scope: Scope) -> None:
        writer = scope.writer
        if node.recursive:
            raise refused(node, "a recursive loop")
        if writer.depth >= MOST_LOOPS:
            raise refused(node, f"more than {MOST_LOOPS} loops in each other")
        if any(name.ctx == "store" and name.name == "loop" for name in node.find_all(nodes.Name)):
            raise refused(node, "a variable with the name `loop`")
        with_loop = "loop" in find_undeclared(node.body, ("loop",))

        def names(symbols: Symbols) -> None:
            if with_loop:
                writer.loops[symbols.declare_parameter("loop")] = writer.depth
            symbols.analyze_node(node, for_branch="body")

        loop = scope.inner(names)
        self.expression(node.iter, scope)
        begin = writer.emit(node, Op.LOOP, int(node.test is not None))
        if node.test is not None:
            self._accept(node, node.test, scope, begin)
        writer.depth += 1
        this = OpenLoop(len(writer.code), writer.buffers)
        writer.open.append(this)
        end = writer.emit(node, Op.NEXT)
        self._store(node.target, loop)
        loop.enter(node)
        self._body(node.body, loop)
        writer.emit(node, Op.DONE)
        writer.depth -= 1
        writer.emit(node, Op.JUMP, z=this.begin)
        writer.land(end, *this.exits)
        writer.open.pop()
        over = writer.emit(node, Op.END, int(bool(node.else_)))
        if node.else_:
            otherwise = scope.inner(lambda symbols: symbols.analyze_node(node, for_branch="else"))
            otherwise.enter(node)
            self._body(node.else_, otherwise)
        writer.land(over)

    def _accept(self, node: nodes.For, test: nodes.Node, scope: Scope, begin: int) -> None:
        """The code that accepts items of a loop: one is on the stack. As in Jinja it runs when an item is asked for."""
        writer = scope.writer
        writer.tests += 1
        inner = scope.inner(lambda symbols: symbols.analyze_node(node, for_branch="test"), f"test {writer.tests} ")
        over = writer.emit(node, Op.JUMP)
        writer.land(begin)
        self._store(node.target, inner)
        inner.enter(node)
        self.expression(test, inner)
        no = writer.emit(node, Op.JUMP_IF_FALSE)
        self._load(node.target, inner)
        writer.emit(node, Op.ACCEPT)
        writer.land(no)
        writer.emit(node, Op.PULL)
        writer.land(over)

    def _load(self, target: nodes.Node, scope: Scope) -> None:
        if isinstance(target, nodes.Tuple):
            for one in target.items:
                self._load(one, scope)
            scope.writer.many(target, Op.TUPLE, len(target.items))
        elif isinstance(target, nodes.Name):
            self.expression(nodes.Name(target.name, "load", lineno=target.lineno), scope)

    def _store(self, target: nodes.Node, scope: Scope) -> None:
        """Code that takes a value from the stack into ``target``."""
        writer = scope.writer
        if isinstance(target, nodes.Name):
            _, slot = scope.place(target, scope.symbols.ref(target.name))
            writer.emit(target, Op.STORE, y=slot)
        elif isinstance(target, nodes.NSRef):
            outer, slot = scope.place(target, scope.symbols.ref(target.name))
            writer.emit(target, Op.SET_ATTRIBUTE, int(outer), slot, self.pool.string(target.attr))
        elif isinstance(target, nodes.Tuple):
            writer.many(target, Op.UNPACK, len(target.items))
            for one in target.items:
                self._store(one, scope)
        else:
            raise refused(target, "an assignment to what is no name")

    def _need_namespaces(self, node: nodes.Assign | nodes.AssignBlock, scope: Scope) -> None:
        for target in node.target.find_all(nodes.NSRef) if not isinstance(node.target, nodes.NSRef) else [node.target]:
            outer, slot = scope.place(target, scope.symbols.ref(target.name))
            scope.writer.emit(target, Op.NEED_NAMESPACE, int(outer), slot)

    def _assign(self, node: nodes.Assign, scope: Scope) -> None:
        self._need_namespaces(node, scope)
        self.expression(node.node, scope)
        self._store(node.target, scope)

    def _assign_block(self, node: nodes.AssignBlock, scope: Scope) -> None:
        writer = scope.writer
        self._need_namespaces(node, scope)
        block = scope.inner(lambda symbols: symbols.analyze_node(node))
        block.enter(node)
        writer.emit(node, Op.BUFFER)
        writer.buffers += 1
        self._body(node.body, block)
        writer.buffers -= 1
        writer.emit(node, Op.CAPTURE)
        if node.filter is not None:
            self.filter(node.filter, block)
        self._store(node.target, scope)

    def _leave(self, node: nodes.Break | nodes.Continue, scope: Scope) -> None:
        writer = scope.writer
        loop = writer.open[-1] if writer.open else None
        if loop is None:
            raise refused(node, f"`{type(node).__name__.lower()}` where no loop is, or out of a `generation` block")
        if writer.buffers > loop.buffers:
            writer.emit(node, Op.DISCARD, z=writer.buffers - loop.buffers)
        if isinstance(node, nodes.Continue):
            writer.emit(node, Op.JUMP, z=loop.begin)
        else:
            loop.exits.append(writer.emit(node, Op.JUMP))

    def _macro(self, node: nodes.Macro, scope: Scope) -> None:
        if not scope.toplevel:
            raise refused(node, f"the macro `{node.name}` in a loop, a block or a macro")
        if len(node.args) > MOST_PARAMETERS:
            raise refused(node, f"a macro with more than {MOST_PARAMETERS} parameters")
        _check_special(node)
        number = self.number + len(self.routines)
        writer = self._begin(node.name, scope.writer)
        symbols = Symbols(parent=scope.symbols)
        for _ in range(2):  # as Jinja does
            symbols.analyze_node(node)
        inner = Scope(writer, symbols)
        writer.parameters = tuple(one.name for one in node.args)
        if len(set(writer.parameters)) < len(node.args):
            raise refused(node, "a macro with one parameter twice")
        for parameter in node.args:
            self.pool.string(parameter.name)
            inner.place(parameter, symbols.ref(parameter.name))
        inner.enter(node)
        for index, parameter in enumerate(node.args):
            slot = inner.place(parameter, symbols.ref(parameter.name))[1]
            given = writer.emit(parameter, Op.SKIP_GIVEN, y=slot)
            if index >= len(node.args) - len(node.defaults):
                self.expression(node.defaults[index - len(node.args)], inner)
            else:
                why = self.pool.string(f"the parameter '{parameter.name}' of '{node.name}' is not given")
                writer.emit(parameter, Op.UNDEFINED, z=why)
            writer.emit(parameter, Op.STORE, y=slot)
            writer.land(given)
        self._body(node.body, inner)
        writer.emit(node, Op.RETURN)
        scope.writer.emit(node, Op.MACRO, z=number)
        scope.writer.emit(node, Op.STORE, y=scope.place(node, scope.symbols.ref(node.name))[1])

    def _call_block(self, node: nodes.CallBlock, scope: Scope) -> None:
        """`generation` alone: what stands in it, in a scope of its own."""
        callee = node.call.node
        if not isinstance(callee, nodes.ExtensionAttribute) or node.args or node.defaults:
            raise refused(node, "a `call` block")
        _check_special(node)

        def names(symbols: Symbols) -> None:
            for _ in range(2):  # as Jinja does
                symbols.analyze_node(node)

        inner = scope.inner(names)
        inner.enter(node)
        scope.writer.open.append(None)
        self._body(node.body, inner)
        scope.writer.open.pop()

    _STATEMENTS: dict[type[nodes.Node], Callable[..., None]] = {
        nodes.Output: _output,
        nodes.If: _if,
        nodes.For: _for,
        nodes.Assign: _assign,
        nodes.AssignBlock: _assign_block,
        nodes.Break: _leave,
        nodes.Continue: _leave,
        nodes.Macro: _macro,
        nodes.CallBlock: _call_block,
    }


def _check_special(node: nodes.Macro | nodes.CallBlock) -> None:
    found = find_undeclared(node.body, _SPECIAL) | {one.name for one in node.args if one.name in _SPECIAL}
    if found:
        raise refused(node, f"`{min(found)}` in a macro or block")


def joined(routines: Sequence[Writer]) -> tuple[list[Instruction], list[tuple[int, int]], list[tuple[int, int]]]:
    """The code of all ``routines`` behind each other, its lines, and where each routine begins and ends."""
    jumps = {Op.SKIP_GIVEN, Op.JUMP, Op.JUMP_IF_FALSE, Op.AND, Op.OR, Op.LOOP, Op.NEXT, Op.END}
    code: list[Instruction] = []
    lines: list[tuple[int, int]] = []
    bounds = []
    for routine in routines:
        first = len(code)
        code += [one._replace(z=one.z + first) if one.op in jumps else one for one in routine.code]
        lines += [(place + first, line) for place, line in routine.lines]
        bounds.append((first, len(code)))
    return code, lines, bounds
