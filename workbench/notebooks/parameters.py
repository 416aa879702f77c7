"""A notebook's parameters are typed, and one that it does not have is an error.

check_parameters()                                   # in a kernel: papermill's cell against the tagged one
values = typed(declared(source), {"sample": "4"}, where)   # before a kernel is started
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError
from workbench.strict import Unusable, brief, parse_json

_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
_INJECTED = "# Parameters"  # how papermill's own cell begins


@dataclass(frozen=True)
class Parameter:
    """A name of the tagged cell, and what it may be.

    Attributes:
        annotation: as it is written; empty where there is none.
        types: what is accepted; empty where any value is.
    """

    name: str
    annotation: str = ""
    types: tuple[type, ...] = ()

    def fits(self, value: Any) -> bool:
        """Whether a value is of the annotated type. A whole number is a float as well; True is no number."""
        if not self.types or type(value) in self.types:
            return True
        return type(value) is int and float in self.types

    def read(self, text: str) -> Any:
        """A value as it is typed on a command line.

        Raises:
            ValueError: it is no value of the annotated type.
        """
        if not self.types or self.types == (str,):
            return text
        if type(None) in self.types and text.lower() in ("none", "null"):
            return None
        if bool in self.types and text.lower() in ("true", "false"):
            return text.lower() == "true"
        for kind in (int, float):
            if kind in self.types:
                try:
                    return kind(text)
                except ValueError:
                    continue
        if list in self.types or dict in self.types:
            try:
                value = parse_json(text)
            except Unusable:
                value = None
            if type(value) in self.types:
                return value
        if str in self.types:
            return text
        raise ValueError(text)


def declared(source: str) -> dict[str, Parameter] | None:
    """The parameters of a cell; None where the cell is none that declares some.

    Such a cell only assigns to plain names, and at least one has an annotation.
    """
    statements = _statements(source)
    if not any(isinstance(statement, ast.AnnAssign) for statement in statements or ()):
        return None
    found = {}
    for statement in statements or ():
        annotation = statement.annotation if isinstance(statement, ast.AnnAssign) else None
        written = "" if annotation is None else ast.unparse(annotation)
        for name in _targets(statement):
            found[name] = Parameter(name, written, _accepted(annotation) or ())
    return found


def typed(parameters: Mapping[str, Parameter], given: Mapping[str, str], where: str) -> dict[str, Any]:
    """What was given as text, in the types that the notebook declares.

    Raises:
        InputError: a name that it does not have, or a value of another type.
    """
    _known(parameters, given, where)
    values = {}
    for name, text in given.items():
        try:
            values[name] = parameters[name].read(text)
        except ValueError:
            raise _mistyped(parameters[name], text, where) from None
    return values


def check_values(parameters: Mapping[str, Parameter], values: Mapping[str, Any], where: str) -> None:
    """Hold values against what a notebook declares.

    Raises:
        InputError: a name that it does not have, or a value of another type.
    """
    _known(parameters, values, where)
    for name, value in values.items():
        if not parameters[name].fits(value):
            raise _mistyped(parameters[name], value, where)


def check_parameters() -> None:
    """Hold this notebook's parameters against its tagged cell, however they were set.

    The notebook's first cell after the parameters calls it. papermill puts a cell behind the tagged one, and only warns
    of a name that the notebook does not have; a value of another type goes unseen. Outside a notebook nothing is
    checked.

    Raises:
        InputError: a name that it does not have, or a value of another type.
    """
    shell = _shell()
    if shell is None:
        return
    parameters, injected = _history(list(shell.user_ns.get("In", ()))[:-1])
    names = [name for name in (injected or parameters) if name in shell.user_ns]
    own = [name for name in parameters if name in shell.user_ns]
    check_values(parameters, {name: shell.user_ns[name] for name in dict.fromkeys([*names, *own])}, "this notebook")


def _shell() -> Any:
    """IPython's shell where this is a kernel or a terminal of it. It is not imported for the question."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module else None


def _history(cells: Sequence[str]) -> tuple[dict[str, Parameter], list[str]]:
    """What the last parameters cell declares, and the names that a cell of papermill's after it sets."""
    injected: list[str] = []
    for source in reversed(cells):
        parameters = declared(source)
        if parameters is not None:
            return parameters, injected
        if source.lstrip().startswith(_INJECTED):
            injected = [name for statement in _statements(source) or () for name in _targets(statement)]
    return {}, []


def _statements(source: str) -> list[ast.stmt] | None:
    """The statements of a cell that only assigns to plain names, but for texts; None of any other cell."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    kept = [line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
    return kept if all(_targets(statement) for statement in kept) else None


def _targets(statement: ast.stmt) -> list[str]:
    """The plain names that a statement assigns to; none where it does anything else."""
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if len(names) == len(targets) else []


def _accepted(annotation: ast.expr | None) -> tuple[type, ...] | None:
    """The types that an annotation names; None where it is one that is not checked."""
    if isinstance(annotation, ast.Constant):
        return (type(None),) if annotation.value is None else None
    if isinstance(annotation, ast.Subscript):  # list[str] is checked to be a list
        return _accepted(annotation.value)
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        left, right = _accepted(annotation.left), _accepted(annotation.right)
        return (*left, *right) if left and right else None
    kind = _TYPES.get(annotation.id) if isinstance(annotation, ast.Name) else None
    return (kind,) if kind else None


def _known(parameters: Mapping[str, Parameter], given: Iterable[str], where: str) -> None:
    for name in given:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1, cutoff=0.65)
            mend = f"Did you mean '{near[0]}'?" if near else "Leave it out."
            listed = ", ".join(parameters) or "none"
            raise InputError(f"{where}: there is no parameter '{brief(name, 60)}'. {mend} Its parameters: {listed}.")


def _mistyped(parameter: Parameter, value: Any, where: str) -> InputError:
    kind = "text" if isinstance(value, str) else f"of type {type(value).__name__}"
    hint = " papermill's -r passes text as it is." if parameter.types == (str,) else ""
    return InputError(
        f"{where}: parameter '{parameter.name}' is {brief(repr(value), 60)}, which is {kind}; "
        f"it must be {parameter.annotation}.{hint}"
    )
