"""What a model is shown of an item: what no prompt and no rule reads can neither repeat nor give away anything.

show = shown(evalset)
show(item)               # {'subject': …, 'body': …}, without an input that only people look at
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import Environment, nodes

from workbench.evalset import EvalSet, Item, Turns

_MARKS = ".,;:!?()\"'"  # at the ends of words
_QUOTES = {**dict.fromkeys("‘’‚‛′ʼ´", "'"), **dict.fromkeys("“”„‟″«»‹›", '"'), "−": "-"}
_TELLING = ("<super>", "<sub>", "<fraction>")  # "10²" is not "102"
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,30});", re.IGNORECASE)

Shown = Callable[[Item], dict[str, Any]]
Tree = dict[str, "Tree | None"]  # names by name; None for a value that is read as a whole


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


def objects_in(inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object in nested inputs."""
    parts: list[Any] = list(inputs.values())
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield part
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()


def shown(evalset: EvalSet) -> Shown:
    """A function that leaves of an item's inputs what a prompt or a rule reads, of `inputs.meta.plan` the plan."""
    tree: Tree = {}
    for name in evalset.rules.spec.text if evalset.rules is not None else ():
        tree[name] = None
    for variant in evalset.spec.variants.values():
        for message in variant.messages:
            if isinstance(message, Turns):
                tree[message.turns] = None
                continue
            for path in _read(Environment().parse(message.content)):
                if not path:  # a template takes the inputs as a whole
                    return lambda item: item.inputs
                _grow(tree, path)
    return lambda item: {name: _kept(value, tree[name]) for name, value in item.inputs.items() if name in tree}


def _grow(tree: Tree, path: tuple[str, ...]) -> None:
    """Add a path; what is read as a whole stays so."""
    for name in path[:-1]:
        inner = tree.setdefault(name, {})
        if inner is None:
            return
        tree = inner
    tree[path[-1]] = None


def _kept(value: Any, tree: Tree | None) -> Any:
    if tree is None or not isinstance(value, dict):
        return value
    return {name: _kept(part, tree[name]) for name, part in value.items() if name in tree}


def _read(node: nodes.Node) -> Iterator[tuple[str, ...]]:
    """The paths of inputs that a template reads, each as far as it is spelled out."""
    path = _path(node)
    if path is not None:
        yield path
        return
    for child in node.iter_child_nodes():
        yield from _read(child)


def _path(node: nodes.Node) -> tuple[str, ...] | None:
    """`("meta", "plan")` of `inputs.meta.plan`; None of anything else, `inputs.meta.items()` and a position too."""
    if isinstance(node, nodes.Name):
        return () if node.name == "inputs" else None
    name: Any = None
    if isinstance(node, nodes.Getattr) and not hasattr(dict, node.attr):
        name = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        name = node.arg.value
    before = _path(node.node) if isinstance(name, str) and isinstance(node, nodes.Getattr | nodes.Getitem) else None
    return None if before is None else (*before, name)


def words_of(text: str) -> list[str]:
    """The words of a text, spelled plainly, without punctuation at their ends."""
    words = (word.strip(_MARKS) for word in spelled(text).split())
    return [word for word in words if word]


def text_of(inputs: dict[str, Any]) -> str:
    """All text of inputs, without regard to case, white space, and punctuation at the ends of words."""
    return " ".join(words_of(" ".join(strings_in(inputs))))


def spelled(text: str) -> str:
    """A text in one of several spellings that look alike: in lower case, without HTML's and typographers' signs."""
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found.group()), text)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).translate(_SIGNS).casefold())


class _Signs(dict[int, str]):
    """What stands for a sign: "'" for every apostrophe, "-" for every dash, nothing for what cannot be seen."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        if unicodedata.category(sign) == "Cf" or 0xFE00 <= code <= 0xFE0F:  # formats, and variants of emoji
            plain = ""
        elif sign in _QUOTES:
            plain = _QUOTES[sign]
        elif unicodedata.category(sign) == "Pd":
            plain = "-"
        elif unicodedata.decomposition(sign).startswith(_TELLING):
            plain = sign
        else:
            plain = unicodedata.normalize("NFKC", sign)
        self[code] = plain
        return plain


_SIGNS = _Signs()


def fingerprint(value: Any) -> str:
    """The same for values that differ in case, white space, look-alike signs and the order of keys alone."""
    return _printed(value, lambda text: " ".join(spelled(text).split()))


def exact_print(value: Any) -> str:
    """The same for values that differ in nothing that is seen: composed letters, line ends, the order of keys."""
    return _printed(value, lambda text: unicodedata.normalize("NFC", text.replace("\r\n", "\n")))


def _printed(value: Any, plain: Callable[[str], str]) -> str:
    return json.dumps(_each(value, plain), sort_keys=True, ensure_ascii=False)


def _each(value: Any, plain: Callable[[str], str]) -> Any:
    """A value with its texts in another form."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {name: _each(part, plain) for name, part in value.items()}
    return [_each(part, plain) for part in value] if isinstance(value, list) else value
