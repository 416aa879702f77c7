"""Other tools' templates over bare names, and ours over `inputs`: there, back, and rendered in the sandbox.

over_inputs("Hi {{ name }}")                  # 'Hi {{ inputs.name }}'
over_bare_names("Hi {{ inputs.name }}")       # 'Hi {{name}}'; None where it cannot be said
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, meta

from workbench.formats.shared.ledger import Unusable
from workbench.templates import ENVIRONMENT, compiled, filled

_NAME = r"[A-Za-z_]\w*"
_SIMPLE = re.compile(rf"\{{\{{(-?)\s*({_NAME})((?:\.{_NAME})*)\s*(-?)\}}\}}")
_KEY = rf"(?:\.{_NAME}|\[\"{_NAME}\"\])"
_OURS = re.compile(rf"\{{\{{(-?)\s*inputs({_KEY}+)(?:\s*\|\s*default\(''\))?\s*(-?)\}}\}}")
_RAW = re.compile(r"\{% raw %\}((?:(?!endraw).)*)\{% endraw %\}", re.DOTALL)
_SET = re.compile(rf"\{{% set ({_NAME}) = inputs(?:{_KEY}(?: \| default\(''\))?|\.get\(\"{_NAME}\", ''\)) %\}}")


def is_template(text: str) -> bool:
    """Whether a text holds anything to fill in."""
    return "{{" in text or "{%" in text or "{#" in text


def literal(text: str) -> str:
    """Text that a template shows as it is."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if is_template(text) else text


def bare_names(template: str) -> set[str]:
    """The names that a template takes from outside.

    Raises:
        Unusable: it does not compile.
    """
    try:
        compiled(template)
        return meta.find_undeclared_variables(ENVIRONMENT.parse(template))
    except (TemplateError, RecursionError) as failure:
        raise Unusable(_brief(failure)) from None


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """A template over bare names, filled in.

    Raises:
        Unusable: it does not compile, names a value that is not there, or does too much.
    """
    ours = _ours(template)
    try:
        return filled(ours, values)
    except Exception as failure:  # noqa: BLE001  (a filter may raise anything)
        said = _brief(failure)
        quoted = [one or two for one, two in re.findall(r"'([^']*)'|\"([^\"]*)\"", said)]
        if isinstance(failure, TemplateError) and all(part in ours or part.endswith("object") for part in quoted):
            raise Unusable(said) from None
        raise Unusable(f"it cannot be rendered ({type(failure).__name__})") from None


def raw(value: Any) -> Any:
    """A value whose texts `filled_in`, and tools that also read a text that names a file, show as they are.

    Raises:
        Unusable: a text cannot be marked so.
    """
    if isinstance(value, list):
        return [raw(each) for each in value]
    if isinstance(value, dict):
        return {key: raw(each) for key, each in value.items()}
    if not isinstance(value, str) or not (is_template(value) or value.startswith("file://")):
        return value
    if "endraw" in value:
        raise Unusable("a text with a template that ends a raw block, which would be filled in")
    return f"{{% raw %}}{value}{{% endraw %}}"


def filled_in(value: Any, values: Mapping[str, Any]) -> Any:
    """A value with the templates over bare names in its texts filled in.

    Raises:
        Unusable: one cannot be.
    """
    if isinstance(value, str):
        if whole := _RAW.fullmatch(value):
            return whole[1]  # jinja would make every line end a \n
        return rendered(value, values) if is_template(value) else value
    if isinstance(value, list):
        return [filled_in(each, values) for each in value]
    return {key: filled_in(each, values) for key, each in value.items()} if isinstance(value, dict) else value


@lru_cache(maxsize=512)
def _ours(template: str) -> str:
    return over_inputs(template)


def _brief(failure: Exception) -> str:
    said = (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(".")
    return said[:80]


def reference(name: str) -> str:
    """How a template of ours names an input, whatever it is called."""
    return "inputs" + _step(name)


def _step(name: str) -> str:
    # A mapping's own methods go before its keys in `inputs.items`.
    plain = re.fullmatch(_NAME, name) and name.isascii() and not hasattr(dict, name)
    return f".{name}" if plain else f"[{json.dumps(name, ensure_ascii=False)}]"


def over_inputs(template: str, missing: Collection[str] = ()) -> str:
    """A template over bare names as one over `inputs`.

    Args:
        missing: names that some items do not have: they are empty there.

    Raises:
        Unusable: it does not compile.
    """
    names = bare_names(template)

    def ours(match: re.Match[str]) -> str:
        left, name, rest, right = match.groups()
        steps = "".join(_step(part) for part in rest.split(".")[1:])
        empty = " | default('')" if name in missing else ""
        return f"{{{{{left} {reference(name)}{steps}{empty} {right}}}}}"

    simple = _SIMPLE.sub(ours, template)
    deep = any(match.group(3) and match.group(2) in missing for match in _SIMPLE.finditer(template))
    methods = any(hasattr(dict, name) for name in names & set(missing))
    # With statements there may be names of the template's own, and text that is none of it.
    if not deep and not methods and "{%" not in template and _reads_only_inputs(simple):
        return simple
    # `inputs` itself comes last: until then it is ours.
    heads = sorted(names, key=lambda name: (name == "inputs", name))
    return "".join(f"{{% set {name} = {expression(name, name in missing)} %}}" for name in heads) + template


def expression(name: str, missing: bool) -> str:
    """What stands for an input in a template of ours; empty for an item that does not have it."""
    if missing and hasattr(dict, name):  # where the key is missing, jinja takes the method
        return f"inputs.get({json.dumps(name)}, '')"
    return reference(name) + (" | default('')" if missing else "")


def _reads_only_inputs(template: str) -> bool:
    try:
        return bare_names(template) <= {"inputs"}
    except Unusable:
        return False


def over_bare_names(template: str) -> str | None:
    """A template over `inputs` as one over bare names; None where it does more than name them."""
    body = template
    while match := _SET.match(body):
        body = body[match.end() :]
    if body != template:
        return body if "set inputs =" in template or not re.search(r"\binputs\b", body) else None
    found = _OURS.sub(lambda match: f"{{{{{match[1]}{_dotted(match[2])}{match[3]}}}}}", template)
    try:
        if "inputs" not in bare_names(template):
            return template  # it fills in nothing
        return found if "{%" not in found and "inputs" not in bare_names(_OURS.sub("", template)) else None
    except Unusable:
        return None


def _dotted(keys: str) -> str:
    return ".".join(re.findall(_NAME, keys))
