"""The list of scorers and their settings, written out of their docstrings.

.venv/bin/python docs/scorers.py                 # writes docs/scorers.md
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from pathlib import Path

from pydantic import BaseModel

from workbench.scorers.base import SCORERS, FieldScorer, Scorer
from workbench.scorers.facts import FactField
from workbench.scorers.texts import TextScorer
from workbench.scorers.values import FieldSpec

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Scorers

`scorers` of an `evalset.yaml` lists how answers are scored; an item's score is the mean by weight. A setting that a
scorer does not have, or an expectation that it cannot use, is an error that names the line when the set is loaded.

```yaml
scorers:
  - {type: label}                        # makes the score
  - {type: rouge, weight: 0}             # a further figure, `metric.rouge` of the outcomes
```

This page is written out of the code by `docs/scorers.py`. A scorer of your own is a function or a class with
`@wb.scorer`, in a notebook or behind an entry point `workbench.scorers`."""
COMMON: dict[type[BaseModel], tuple[str, str]] = {
    Scorer: ("every scorer", "Every scorer has these settings."),
    FieldScorer: ("scorers of one value", "These look at one value of the answer, and have besides:"),
    TextScorer: ("scorers of texts", "These hold a text against accepted ones, and have besides:"),
    FieldSpec: ("types of fields", "What `json_fields` and `set_f1` compare, a type's name or an object:"),
    FactField: ("fields of facts", "What a list in the `fields` of `facts` is, an object:"),
}
_LINKS = {
    "values.FieldSpec": "[types of fields](#types-of-fields)",
    "facts.FactField": "[fields of facts](#fields-of-facts)",
}
_SETTING = re.compile(r"^(\w+(?:, \w+)*): (.*)$")
_EXAMPLE = re.compile(r"(?:scorers|expectations): |\s+[{\[]")


def page() -> str:
    """The page: what scorers have in common, and each of them."""
    common = [
        f"## {name.capitalize()}\n\n{text}\n\n" + "\n".join(settings(cls)) for cls, (name, text) in COMMON.items()
    ]
    return "\n\n".join([HEAD, *common, *map(part, ours())]) + "\n"


def ours() -> list[str]:
    """The scorers that come along; one made of a function is somebody's own."""
    modules = {name: SCORERS.find(name).__module__ for name in SCORERS.names()}
    return [name for name, module in modules.items() if re.fullmatch(r"workbench\.scorers\.(?!base$)\w+", module)]


def part(name: str) -> str:
    """A scorer: what it is for, how it is written, its settings."""
    cls = SCORERS.find(name)
    title, _, rest = (inspect.getdoc(sys.modules[cls.__module__]) or "").partition("\n\n")
    example = [line for line in rest.splitlines() if _EXAMPLE.match(line)]
    more = "\n".join(line for line in rest.splitlines() if line not in example).strip()
    base = next((base for base in (TextScorer, FieldScorer) if issubclass(cls, base)), Scorer)
    kind = COMMON[base][0]
    listed = [*settings(cls), f"- what [{kind}](#{kind.replace(' ', '-')}) have" if base is not Scorer else ""]
    code = "\n".join(example)
    blocks = [f"## `{name}`", title, f"```yaml\n{code}\n```", more, about(cls), "\n".join(filter(None, listed))]
    return "\n\n".join(filter(None, blocks))


def about(cls: type) -> str:
    """What a class's docstring says before its settings, but for what the page links to."""
    said = (inspect.getdoc(cls) or "").partition("Attributes:")[0].strip()
    said = re.sub(r" See `\w+`; (\w)", lambda rest: f" {rest[1].upper()}", said)
    return re.sub(r" See `\w+`\.", "", said)


def settings(cls: type[BaseModel]) -> list[str]:
    """A class's settings and their defaults as lines of a list, out of the section Attributes of its docstring."""
    _, _, section = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in textwrap.dedent(section.partition("\n\n")[0]).splitlines():
        if match := _SETTING.match(line):
            found[name := match[1]] = match[2]
        elif found:
            found[name] += f" {line.strip()}"
    linked = {
        name: re.sub(r"see `(\w+\.\w+)`", lambda spec: f"see {_LINKS[spec[1]]}", text) for name, text in found.items()
    }
    return [f"- `{name}`{_default(cls, name)}: {text}" for name, text in linked.items()]


def _default(cls: type[BaseModel], name: str) -> str:
    """A setting's default as YAML has it; nothing where it is none, or empty."""
    field = cls.model_fields[name]
    default = None if field.is_required() else field.default
    if default is None or default in ([], {}):
        return " (required)" if field.is_required() and name != "type" else ""
    plain = default.model_dump(exclude_defaults=True) if isinstance(default, BaseModel) else default
    return f" (`{plain if isinstance(plain, str) else json.dumps(plain)}`)"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
