"""Templates, which come with eval sets and so are untrusted: jinja in a sandbox, on a budget of work and of text.

filled("Hi {{ inputs.name }}", {"name": "Ann"})        # 'Hi Ann'
filled("{{ 'a' * 10 ** 9 }}", {})                      # a SecurityError, before anything is made

jinja's own sandbox keeps a template from Python's insides, not from repeating and padding without end. Here every loop,
call, filter and operator pays for the size of what it takes and what it makes, so a template ends, soon and in bounds.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, ItemsView, KeysView, Mapping, ValuesView
from functools import lru_cache
from typing import Any, cast

from jinja2 import StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

_ALLOWANCE = 2_000_000  # characters or entries that a template may take and make, whatever its inputs
_SHARE = 16  # and as often as that all that is in its inputs
_STEP = 20  # what a loop's turn or a call costs by itself
_HOLDER = 10  # what a list or a mapping counts besides its entries
_LISTS = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)
# A prompt is the same every time; the last two take time by the square, or repeat an argument for every link.
_REMOVED_FILTERS = ("random", "striptags", "urlize")
_REMOVED_METHODS = frozenset({"format_map", "maketrans", "striptags", "translate"})
_WIDE_FORMAT = re.compile(r"\d{4}|%[^a-zA-Z%]*\*|\{[^{}]*\{")
_LONGEST_NUMBER = 10_000  # bits


class _Budget(threading.local):
    left = 0


_budget = _Budget()


def filled(source: str, inputs: Mapping[str, Any]) -> str:
    """A template filled in with `inputs`.

    Raises:
        Exception: of whatever kind; jinja2's TemplateError where the template is broken, names what is not there, or
            does too much.
    """
    template = compiled(source)
    if isinstance(template, str):
        return template
    _budget.left = _ALLOWANCE + _SHARE * _size(inputs, 1 << 40)
    # `shared` spares a merge of all globals for every render.
    context = template.new_context({**template.environment.globals, "inputs": inputs}, shared=True)
    text = "".join(template.root_render_func(context))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TemplateRuntimeError("it writes half a character (a lone surrogate)") from None
    return text


@lru_cache(maxsize=512)
def compiled(source: str) -> Template | str:
    """The compiled template; the text itself where there is nothing to fill in."""
    return ENVIRONMENT.from_string(source) if "{" in source or "\r" in source else source


def _spend(amount: int) -> None:
    _budget.left -= amount
    if _budget.left < 0:
        raise SecurityError("it loops, repeats or pads so much that it would not end soon")


def _size(value: Any, limit: int | None = None) -> int:
    """How much a value is once it is written out, a part that stands there twice counted twice; up to a limit."""
    if type(value) is str:
        return len(value)
    limit = _budget.left if limit is None else limit
    total, parts = 0, [value]
    while parts and total <= limit:
        part = parts.pop()
        total += 1
        if isinstance(part, str | bytes | range):
            total += len(part)
        elif isinstance(part, int):
            total += part.bit_length() >> 2
        elif isinstance(part, Mapping):
            total += _HOLDER + len(part)
            parts += [*part.keys(), *part.values()]
        elif isinstance(part, _LISTS):
            total += _HOLDER + len(part)
            parts += part
        elif isinstance(part, Namespace):
            total += _HOLDER
            parts.append(object.__getattribute__(part, "_Namespace__attrs"))
    return total


# What filters and methods of these names make of little, from their own arguments.
_GROWTH: dict[str, Callable[..., int]] = {
    "batch": lambda value, linecount, *_: linecount,
    "center": lambda text, width=80, *_: width,
    "expandtabs": lambda text, tabsize=8: text.count("\t") * tabsize,
    "format": lambda text, *parts, **named: text.count("%") * max(map(_size, (*parts, *named.values())), default=0),
    "indent": lambda s, width=4, *_, **__: (s.count("\n") + 1) * (width if isinstance(width, int) else len(width)),
    "ljust": lambda text, width, *_: width,
    "replace": lambda s, old, new, *_, **__: str(s).count(str(old)) * len(str(new)),
    "rjust": lambda text, width, *_: width,
    "round": lambda value, precision=0, *_, **__: abs(precision),
    "slice": lambda value, slices, *_, **__: slices,
    "to_bytes": lambda number, length=1, *_, **__: length,
    "tojson": lambda value, indent=None: _size(value) * (indent or 0),
    "wordwrap": lambda s, width=79, long=True, wrapstring=None, *_, **__: len(s) * len(wrapstring or ""),
    "zfill": lambda text, width: width,
}


def _grow(name: str, *args: Any, **kwargs: Any) -> None:
    estimate = _GROWTH.get(name)
    if estimate is not None:
        try:
            amount = estimate(*args, **kwargs)
        except (TypeError, AttributeError):
            return  # the filter itself says what is wrong
        _spend(max(0, amount))


def _metered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that pays for what it takes and makes."""
    takes_context = hasattr(function, "jinja_pass_arg")

    @functools.wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        first, rest = (args[:1], args[1:]) if takes_context else ((), args)
        if name == "join" and rest:
            rest = (_listed(rest[0]), *rest[1:])
            _spend(len(rest[0]) * _size(kwargs.get("d", rest[1] if len(rest) > 1 else "")))
        if name == "format" and rest:
            _refuse_wide(rest[0])
        if name == "sum" and not isinstance(kwargs.get("start", rest[2] if len(rest) > 2 else 0), int | float):
            raise SecurityError("sum adds numbers")
        _spend(_STEP + sum(map(_size, rest)) + sum(map(_size, kwargs.values())))
        _grow(name, *rest, **kwargs)
        made = function(*first, *rest, **kwargs)
        _spend(_size(made))
        return made

    return metered


def _listed(values: Any) -> Any:
    """Values that can be counted: those of a generator are taken out of it."""
    return values if hasattr(values, "__len__") else list(values)


def _refuse_wide(text: Any) -> None:
    if isinstance(text, str) and _WIDE_FORMAT.search(text):
        raise SecurityError("a format that pads to thousands, or to a width that is not written in it")


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            optimized=False,  # would run filters on constants while compiling
            finalize=_paid,
        )
        for name in _REMOVED_FILTERS:
            del self.filters[name]
        del self.globals["lipsum"]
        self.filters = {name: _metered(name, function) for name, function in self.filters.items()}
        self.filters[_Metering.filter] = _pay

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _REMOVED_METHODS and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        made = super().wrap_str_format(value)
        if made is None:
            return None
        text = value.__self__

        def within(*args: Any, **kwargs: Any) -> str:
            _refuse_wide(text)
            _spend(text.count("{") * max(map(_size, (*args, *kwargs.values())), default=0))
            return made(*args, **kwargs)

        return within

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        _spend(_STEP + sum(map(_size, args)) + sum(map(_size, kwargs.values())))
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str | bytes | int):
            _spend(_size(owner))
            if function.__name__ == "join" and args:
                args = (_listed(args[0]),)
                _spend(len(args[0]) * _size(owner))
            _grow(function.__name__, owner, *args, **kwargs)
        made = super().call(context, function, *args, **kwargs)
        _spend(_size(made))
        return made

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        amount = _size(left) + _size(right)
        numbers = isinstance(left, int) and isinstance(right, int)
        if operator == "*" and not numbers:
            times = next((side for side in (left, right) if isinstance(side, int)), 1)
            amount *= max(1, times)
        if operator == "**" and numbers and left.bit_length() * right > _LONGEST_NUMBER:
            raise SecurityError("a power that is too large")
        if operator == "%" and isinstance(left, str):
            _refuse_wide(left)
            amount += left.count("%") * _size(right)
        _spend(amount)
        return super().call_binop(context, operator, left, right)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Metering().visit(source), *args, **kwargs)


class _Metering(NodeTransformer):
    """Lets loops and macros pay for every turn, and lists for being made."""

    filter = "inputs "  # no template can name it

    def visit_For(self, node: nodes.For) -> nodes.Node:
        return self._paying(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._paying(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._paying(node)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._weighed(self.generic_visit(node))

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._weighed(self.generic_visit(node))

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        made = self.generic_visit(node)
        return self._weighed(made) if node.ctx == "load" else made

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = self._weighed(node.expr)
        for operand in node.ops:
            operand.expr = self._weighed(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._weighed(node.node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """`a ~ b` is not an operator to jinja that could be intercepted; a sum of texts is."""
        self.generic_visit(node)
        total: nodes.Expr = self._filter("string", node.nodes[0], [])
        for each in node.nodes[1:]:
            total = nodes.Add(total, self._filter("string", each, []), lineno=node.lineno)
        return total

    def _paying(self, node: Any) -> nodes.Node:
        written = sum(len(data.data) for part in node.body for data in self._data(part))
        self.generic_visit(node)
        cost = nodes.Const(_STEP + written, lineno=node.lineno)
        nothing = nodes.Const(None, lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(self._filter(self.filter, nothing, [cost]), lineno=node.lineno))
        return cast(nodes.Node, node)

    def _data(self, node: nodes.Node) -> list[nodes.TemplateData]:
        return [node] if isinstance(node, nodes.TemplateData) else list(node.find_all(nodes.TemplateData))

    def _weighed(self, node: nodes.Node) -> nodes.Filter:
        return self._filter(self.filter, node, [])

    def _filter(self, name: str, node: nodes.Node, args: list[nodes.Node]) -> nodes.Filter:
        made = nodes.Filter(node, name, args, [], None, None, lineno=node.lineno)
        made.set_environment(ENVIRONMENT)
        return made


def _pay(value: Any, cost: int = 0) -> Any:
    _spend(cost + _size(value))
    return value


@pass_context
def _paid(context: Context, value: Any) -> Any:
    """What stands between braces, paid for as it is written."""
    _spend(1 + _size(value))
    return value


ENVIRONMENT = _Environment()
