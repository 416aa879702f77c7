"""What a model is shown of an item: what no prompt and no rule reads can neither repeat nor give away anything.

show = shown(evalset)
show(item)               # {'subject': …, 'body': …}, without an input that only people look at
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import Environment, nodes

from workbench.evalset import EvalSet, Item, Turns

_MARKS = ".,;:!?()\"'“”„‘’«»"

Shown = Callable[[Item], dict[str, Any]]


def strings_in(value: Any) -> Iterator[str]:
    """Every text and number in nested inputs."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings_in(part)


def shown(evalset: EvalSet) -> Shown:
    """A function that leaves of an item's inputs what a prompt or a rule reads."""
    names = _names(evalset)
    if names is None:
        return lambda item: item.inputs
    return lambda item: {name: value for name, value in item.inputs.items() if name in names}


def _names(evalset: EvalSet) -> set[str] | None:
    """The inputs that are read; None where a template takes them as a whole."""
    names = set(evalset.rules.spec.text) if evalset.rules is not None else set()
    for variant in evalset.spec.variants.values():
        for message in variant.messages:
            if isinstance(message, Turns):
                names.add(message.turns)
                continue
            tree = Environment().parse(message.content)
            read = [node.attr for node in tree.find_all(nodes.Getattr) if _is_inputs(node.node)]
            if any(hasattr(dict, name) for name in read):  # inputs.items() and the like
                return None
            for node in tree.find_all(nodes.Getitem):
                if _is_inputs(node.node) and isinstance(node.arg, nodes.Const):
                    read.append(str(node.arg.value))
            if len(read) < sum(map(_is_inputs, tree.find_all(nodes.Name))):
                return None
            names.update(read)
    return names


def _is_inputs(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "inputs"


def text_of(inputs: dict[str, Any]) -> str:
    """All text of inputs, without regard to case, white space, and punctuation at the ends of words."""
    words = (word.strip(_MARKS) for word in " ".join(strings_in(inputs)).casefold().split())
    return " ".join(word for word in words if word)


def fingerprint(value: Any) -> str:
    """The same for values that differ in case, white space and the order of keys alone."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
