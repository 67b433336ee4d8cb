"""Filters, tests, methods and calls of Jinja as code of a chat table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from jinja2 import nodes

from g4compile.text_tables.chat_code import (
    FILTER_ALIASES,
    FILTERS,
    METHODS,
    METHODS_WITH_KEYWORDS,
    REQUIRED,
    TEST_ALIASES,
    TESTS,
    TRUTH,
    Constant,
    Op,
    Signature,
)
from g4compile.text_tables.chat_writer import MOST_PARAMETERS, Scope, refused


class Calls:
    """What takes arguments. Those of filters, tests and methods are put on the stack in the order of their parameters,
    and defaults are filled in."""

    def expression(self, node: nodes.Node, scope: Scope) -> None:
        raise NotImplementedError

    def filter(self, node: nodes.Filter, scope: Scope) -> None:
        """Where ``node`` has no value, as at the end of a `set` block, that stands on the stack."""
        if node.name == "safe":
            raise refused(node, "the filter `safe` where its text is not written at once")
        _check_plain(node, f"the filter `{node.name}`")
        name = FILTER_ALIASES.get(node.name, node.name)
        if node.node is not None:
            self.expression(node.node, scope)
        if name == "map":
            self._map(node, scope)
        elif name in ("select", "reject", "selectattr", "rejectattr"):
            self._select(node, scope)
        else:
            signature = _known(node, FILTERS, name, "filter")
            self._arguments(node, signature, node.args, _named(node), scope)
            scope.writer.emit(node, Op.FILTER, signature.number)

    def _map(self, node: nodes.Filter, scope: Scope) -> None:
        keywords = {one.key: one.value for one in _named(node)}
        if node.args:
            name = _word(node, node.args[0], "filter")
            signature = _known(node, FILTERS, FILTER_ALIASES.get(name, name), "filter")
            self._arguments(node, signature, node.args[1:], _named(node), scope)
            scope.writer.emit(node, Op.MAP, signature.number)
        elif "attribute" in keywords and not keywords.keys() - {"attribute", "default"}:
            self._path(node, keywords["attribute"], scope)
            self.expression(keywords.get("default", nodes.Const(None, lineno=node.lineno)), scope)
            scope.writer.emit(node, Op.MAP_ATTRIBUTE)
        else:
            raise refused(node, "`map` with neither a filter nor an attribute")

    def _select(self, node: nodes.Filter, scope: Scope) -> None:
        arguments, flags = list(node.args), int(node.name.startswith("reject"))
        if node.kwargs:
            raise refused(node, f"the filter `{node.name}` with named arguments")
        if node.name.endswith("attr"):
            flags |= 2
            if not arguments:
                raise refused(node, f"the filter `{node.name}` without an attribute")
            self._path(node, arguments.pop(0), scope)
        number = TRUTH
        if arguments:
            name = _word(node, arguments.pop(0), "test")
            signature = _known(node, TESTS, TEST_ALIASES.get(name, name), "test")
            self._arguments(node, signature, arguments, [], scope)
            number = signature.number
        scope.writer.emit(node, Op.SELECT, number, flags)

    def _path(self, node: nodes.Node, attribute: nodes.Expr, scope: Scope) -> None:
        """The parts of `a.0.b`, as a tuple."""
        if not isinstance(attribute, nodes.Const) or type(attribute.value) not in (int, str):
            raise refused(node, "an attribute's name that is computed")
        parts = attribute.value.split(".") if isinstance(attribute.value, str) else [attribute.value]
        for part in parts:
            number = isinstance(part, str) and part.isdigit()
            if number and not part.isascii():
                raise refused(node, f"the attribute `{part}`")
            scope.writer.constant(node, int(part) if number else part)
        scope.writer.many(node, Op.TUPLE, len(parts))

    def test(self, node: nodes.Test, scope: Scope) -> None:
        _check_plain(node, f"the test `{node.name}`")
        self.expression(node.node, scope)
        signature = _known(node, TESTS, TEST_ALIASES.get(node.name, node.name), "test")
        self._arguments(node, signature, node.args, _named(node), scope)
        scope.writer.emit(node, Op.TEST, signature.number)

    def call(self, node: nodes.Call, scope: Scope) -> None:
        """Of a method, or of what a name means."""
        callee = node.node
        if isinstance(callee, nodes.Getattr):
            _check_plain(node, f"the method `{callee.attr}`")
            signature = _known(node, METHODS, callee.attr, "method")
            if node.kwargs and callee.attr not in METHODS_WITH_KEYWORDS:
                raise refused(node, f"the method `{callee.attr}` with named arguments")
            self.expression(callee.node, scope)
            self._arguments(node, signature, node.args, _named(node), scope)
            scope.writer.emit(node, Op.METHOD, signature.number)
        elif isinstance(callee, nodes.Name):
            _check_plain(node, f"the call of `{callee.name}`")
            self.expression(callee, scope)
            for one in node.args:
                self.expression(one, scope)
            for keyword in _named(node):
                scope.writer.constant(node, keyword.key)
                self.expression(keyword.value, scope)
            scope.writer.emit(node, Op.CALL, y=len(node.args), z=len(node.kwargs))
        else:
            raise refused(node, "a call of what is neither a name nor a method")

    def _arguments(
        self,
        node: nodes.Filter | nodes.Test | nodes.Call,
        signature: Signature,
        given: Sequence[nodes.Expr],
        named: Sequence[nodes.Keyword],
        scope: Scope,
    ) -> None:
        parameters = list(signature.parameters)
        bound = dict(zip(parameters, given, strict=False))
        unknown = [one.key for one in named if one.key not in parameters or one.key in bound]
        bound.update({one.key: one.value for one in named})
        missing = [name for name in parameters if name not in bound and signature.parameters[name] is REQUIRED]
        if len(given) > len(parameters) or unknown or missing:
            raise refused(node, "arguments that do not fit the filter, test or method")
        for name in parameters:
            if name == "attribute" and name in bound:
                self._path(node, bound[name], scope)
            elif name in bound:
                self.expression(bound[name], scope)
            else:
                scope.writer.constant(node, cast(Constant, signature.parameters[name]))


def _check_plain(node: nodes.Filter | nodes.Test | nodes.Call, what: str) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise refused(node, f"{what} with arguments that are unpacked")
    if len({one.key for one in _named(node)}) < len(node.kwargs):
        raise refused(node, f"{what} with one name twice")
    if len(node.args) + len(node.kwargs) > MOST_PARAMETERS:
        raise refused(node, f"{what} with more than {MOST_PARAMETERS} arguments")


def _named(node: nodes.Filter | nodes.Test | nodes.Call) -> list[nodes.Keyword]:
    return cast(list[nodes.Keyword], node.kwargs)  # Jinja's types have pairs for those of filters and tests


def _known(node: nodes.Node, table: dict[str, Signature], name: str, what: str) -> Signature:
    if name not in table:
        raise refused(node, f"the {what} `{name}`, which chat tables do not have")
    return table[name]


def _word(node: nodes.Node, given: nodes.Expr, what: str) -> str:
    if not isinstance(given, nodes.Const) or not isinstance(given.value, str):
        raise refused(node, f"the name of a {what} that is computed")
    return given.value
